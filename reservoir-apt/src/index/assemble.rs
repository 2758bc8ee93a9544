//! Index files out of members: new ones rendered here, known ones copied from the parent's files.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reservoir_core::{
    Error, Result, blocking,
    digest::Sha256Digest,
    snapshot::{Contents, IndexWriter},
    store::{Blob, ByteStream, Store},
};
use sha2::{Digest as _, Sha256};

use super::{
    PRIVATE,
    ledger::{IndexFile, Known, Ledger, PageMembers},
    listing::{Facts, Listing},
    plan::Plan,
    render::{self, Rendered},
};

/// Pages that are rendered at the same time, at most.
const WORKERS: usize = 8;
/// Bytes read of the spool at a time.
const PIECE: usize = 256 << 10;

/// Writes every index file of the plan and lists it; the files in the order of the plan.
pub(super) async fn files(
    contents: &Contents<'_>,
    plan: &Arc<Plan>,
    out: &IndexWriter<'_>,
    listing: &mut Listing,
) -> Result<Vec<IndexFile>> {
    let fingerprint = plan.fingerprint();
    let parent = Ledger::of_parent(contents, fingerprint).await?;
    let mut state = State::new(contents, plan)?;
    let known = Arc::new(parent.by_page());

    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
    let jobs = contents.content.pages().into_iter().enumerate().map(|(index, page)| {
        let (content, plan, known) = (contents.content.clone(), Arc::clone(plan), Arc::clone(&known));
        async move {
            if let Some(members) = known.get(&page) {
                return Ok((page, Given::Known(members.clone())));
            }
            let entries = content.page_entries(index).await?;
            let rendered = blocking::run(move || render::page(&plan, &entries).map_err(failed)).await?;
            Ok::<_, Error>((page, Given::Rendered(rendered)))
        }
    });
    let mut pages = stream::iter(jobs).buffered(workers);
    while let Some((page, given)) = pages.try_next().await? {
        state = match given {
            Given::Known(members) => state.copy(page, &members),
            Given::Rendered(rendered) => {
                blocking::run(move || state.add(page, &rendered).map_err(failed)).await?
            }
        };
    }

    let State { spool, building, pages, .. } = state;
    let spool = Arc::new(spool);
    let mut files = Vec::with_capacity(building.len());
    for (index, file) in building.into_iter().enumerate() {
        let known = parent.files.get(index);
        let file = match known.filter(|_| file.is_whole(&parent, index)) {
            Some(known) => known.clone(),
            None => file.write(&spool, contents.store(), known.map(|known| known.packed), out).await?,
        };
        let at = &plan.files[index];
        if at.is_listed(file.size) {
            listing.add_by_hash(&plan.folder(at), &format!("{}.gz", at.name()), file.packed)?;
        }
        files.push(file);
    }
    let ledger = Ledger { plan: Some(fingerprint), files: files.clone(), pages };
    let blob = out.store(ledger.encode()?).await?;
    listing.add(&Ledger::path(), blob, Facts::new())?;
    debug_assert!(Ledger::path().starts_with(PRIVATE), "clients do not see it");
    Ok(files)
}

/// What a page gives.
enum Given {
    Known(Vec<Known>),
    Rendered(Vec<Rendered>),
}

/// All index files while the pages are gone through, in order.
struct State {
    /// New members, one after the other: they are too many for memory and not yet in the order of their files.
    spool: File,
    end: u64,
    building: Vec<Building>,
    pages: Vec<PageMembers>,
}

#[derive(Default, Clone)]
struct Building {
    parts: Vec<Part>,
    members: usize,
    size: u64,
    /// The text's digest so far, while every member was new; those copied are hashed when they are read.
    text: Sha256,
    copied: bool,
}

/// Bytes of one index file that lie together somewhere.
#[derive(Clone, Copy)]
struct Part {
    is_new: bool,
    offset: u64,
    length: u64,
}

impl State {
    fn new(contents: &Contents<'_>, plan: &Plan) -> Result<Self> {
        let spool = match contents.scratch {
            // The first publication of a home may be the first that needs it.
            Some(folder) => std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder)),
            None => tempfile::tempfile(),
        };
        let spool = spool.map_err(Error::io("create a temporary file for indexes"))?;
        let building = vec![Building::default(); plan.files.len()];
        Ok(Self { spool, end: 0, building, pages: Vec::new() })
    }

    fn copy(mut self, page: Sha256Digest, members: &[Known]) -> Self {
        for member in members {
            let file = &mut self.building[member.file];
            file.copied = true;
            file.push(Part { is_new: false, offset: member.offset, length: member.packed }, member.size);
        }
        let members = members.iter().map(|member| (member.file, member.size, member.packed)).collect();
        self.pages.push(PageMembers { page, members });
        self
    }

    fn add(mut self, page: Sha256Digest, rendered: &[Rendered]) -> io::Result<Self> {
        let mut members = Vec::with_capacity(rendered.len());
        for member in rendered {
            let (size, packed) = (member.text.len() as u64, member.packed.len() as u64);
            self.spool.write_all(&member.packed)?;
            let file = &mut self.building[member.file];
            if !file.copied {
                file.text.update(member.text.as_bytes());
            }
            file.push(Part { is_new: true, offset: self.end, length: packed }, size);
            self.end += packed;
            members.push((member.file, size, packed));
        }
        self.pages.push(PageMembers { page, members });
        Ok(self)
    }
}

impl Building {
    fn push(&mut self, part: Part, size: u64) {
        self.members += 1;
        self.size += size;
        match self.parts.last_mut() {
            Some(last) if last.is_new == part.is_new && last.offset + last.length == part.offset => {
                last.length += part.length;
            }
            _ => self.parts.push(part),
        }
    }

    /// Whether it is the parent's file, member for member.
    fn is_whole(&self, parent: &Ledger, index: usize) -> bool {
        let all = || {
            let members = parent.pages.iter().flat_map(|page| &page.members);
            members.filter(|(file, ..)| *file == index).count()
        };
        // Known members keep their order, so that as many in one piece from the start are the same ones.
        let in_one = match self.parts.as_slice() {
            [] => true,
            [part] => !part.is_new && part.offset == 0,
            _ => false,
        };
        in_one && self.members == all()
    }

    async fn write(
        self,
        spool: &Arc<File>,
        store: &Arc<dyn Store>,
        parent: Option<Blob>,
        out: &IndexWriter<'_>,
    ) -> Result<IndexFile> {
        if self.parts.is_empty() {
            let packed = out.store(render::gzip(&[]).map_err(failed)?.into()).await?;
            return Ok(IndexFile { packed, size: 0, sha256: Sha256Digest::of(b"") });
        }
        let (size, copied) = (self.size, self.copied);
        let bytes = read(self.parts, Arc::clone(spool), Arc::clone(store), parent);
        if !copied {
            let packed = out.store_stream(bytes).await?;
            return Ok(IndexFile { packed, size, sha256: self.text.into() });
        }
        let hashed = Arc::new(Mutex::new(None));
        let packed = out.store_stream(unpacking(bytes, Arc::clone(&hashed))).await?;
        let text = hashed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let damaged = || Error::Integrity {
            what: "an index file of the parent".into(),
            expected: format!("{size} bytes of text"),
            actual: "something else".into(),
        };
        let Text { hash, length } = text.ok_or_else(damaged)?;
        if length != size {
            return Err(damaged());
        }
        Ok(IndexFile { packed, size, sha256: hash.into() })
    }
}

/// The parts of a file, one after the other.
fn read(parts: Vec<Part>, spool: Arc<File>, store: Arc<dyn Store>, parent: Option<Blob>) -> ByteStream {
    let parts = stream::iter(parts).then(move |part| {
        let (spool, store) = (Arc::clone(&spool), Arc::clone(&store));
        async move {
            match parent {
                _ if part.is_new => Ok(read_spool(spool, part)),
                Some(blob) => store.read(&blob, part.offset..part.offset + part.length).await,
                None => Err(Error::invalid("index member", "is known, but its file is not")),
            }
        }
    });
    parts.try_flatten().boxed()
}

fn read_spool(spool: Arc<File>, part: Part) -> ByteStream {
    let pieces = stream::try_unfold(part, move |mut part| {
        let spool = Arc::clone(&spool);
        async move {
            if part.length == 0 {
                return Ok(None);
            }
            let length = part.length.min(PIECE as u64);
            let bytes = blocking::run(move || {
                let mut buffer = vec![0; length as usize];
                spool.read_exact_at(&mut buffer, part.offset).map_err(failed)?;
                Ok(Bytes::from(buffer))
            });
            let bytes = bytes.await?;
            part.offset += length;
            part.length -= length;
            Ok(Some((bytes, part)))
        }
    });
    pieces.boxed()
}

/// The text behind a stream of members.
#[derive(Default)]
struct Text {
    hash: Sha256,
    length: u64,
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes the bytes on and leaves the digest of what they decompress to in `hashed`, at their end.
fn unpacking(bytes: ByteStream, hashed: Arc<Mutex<Option<Text>>>) -> ByteStream {
    let state = (bytes, Some(MultiGzDecoder::new(Text::default())), hashed);
    let passed = stream::try_unfold(state, |(mut bytes, decoder, hashed)| async move {
        let Some(mut decoder) = decoder else { return Ok(None) };
        let Some(chunk) = bytes.try_next().await? else {
            let text = blocking::run(move || decoder.finish().map_err(failed)).await?;
            *hashed.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            return Ok(None);
        };
        let (chunk, decoder) = blocking::run(move || {
            decoder.write_all(&chunk).map_err(failed)?;
            Ok((chunk, decoder))
        })
        .await?;
        Ok(Some((chunk, (bytes, Some(decoder), hashed))))
    });
    passed.boxed()
}

fn failed(source: io::Error) -> Error {
    Error::io("write an index")(source)
}
