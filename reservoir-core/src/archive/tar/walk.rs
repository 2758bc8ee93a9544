//! The walk over members, and the end that must be there.

use super::{
    TarRoot,
    header::Header,
    input::{BLOCK, Input},
    link,
    pax::{self, Pax},
};
use crate::{
    archive::{
        Limits, Member, MemberKind, Take, Visitor,
        names::{self, Format, Kind, Names, shown},
    },
    error::{Error, Result},
};

/// The most that one pax header or long name may have.
const EXTENSION: u64 = 1 << 20;
/// The largest size that eleven octal digits hold.
const OCTAL_SIZE: u64 = (1 << 33) - 1;
const BUFFER: usize = 128 * BLOCK;

/// Reads all members, then the end.
pub(super) fn walk<V: Visitor>(
    what: &str,
    input: Input<'_>,
    root: TarRoot,
    limits: &Limits,
    mut visitor: V,
) -> Result<V> {
    let names = Names::new(Format::Tar, what, limits);
    let (pending, buffer) = (Pending::default(), vec![0; BUFFER]);
    let mut walk = Walk { what, input, root, limits, names, pending, buffer };
    while let Some(header) = walk.header()? {
        match header.kind {
            b'x' | b'g' | b'L' | b'K' => walk.extension(&header)?,
            _ => walk.member(header, &mut visitor)?,
        }
    }
    walk.end()?;
    Ok(visitor)
}

/// What headers before a member say about it.
#[derive(Debug, Default)]
struct Pending {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

struct Walk<'a> {
    what: &'a str,
    input: Input<'a>,
    root: TarRoot,
    limits: &'a Limits,
    names: Names,
    pending: Pending,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    fn refuse<T>(&self, rule: &'static str, detail: impl Into<String>) -> Result<T> {
        Err(Error::malformed(self.what, rule, detail))
    }

    /// The next header; `None` at the first zero block.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        match self.input.read_up_to(&mut block)? {
            BLOCK if block.iter().all(|&byte| byte == 0) => Ok(None),
            BLOCK => Header::parse(self.what, &block).map(Some),
            0 => self.refuse("tar-no-end", "it ends without two zero blocks; it may be cut short"),
            _ => self.refuse("tar-truncated", "it ends within a header"),
        }
    }

    /// One zero block was read. Another must follow, then zeros only.
    fn end(mut self) -> Result<()> {
        if !self.pending.is_empty() {
            return self.refuse("tar-dangling-header", "it ends after a header that tells of a next member");
        }
        let mut block = [0; BLOCK];
        match self.input.read_up_to(&mut block)? {
            BLOCK if block.iter().all(|&byte| byte == 0) => {}
            BLOCK => return self.refuse("tar-lone-zero-block", "it goes on after one zero block"),
            _ => return self.refuse("tar-no-end", "it ends with one zero block; it may be cut short"),
        }
        loop {
            let count = self.input.read_up_to(&mut self.buffer)?;
            if self.buffer[..count].iter().any(|&byte| byte != 0) {
                return self.refuse("tar-trailing-data", "bytes follow its end");
            }
            if count < self.buffer.len() {
                return self.input.finish();
            }
        }
    }

    /// A header about the next member. Two that speak of the same thing are one too many.
    fn extension(&mut self, header: &Header) -> Result<()> {
        self.input.meter.entry("of pax or GNU", 0)?;
        if header.size > EXTENSION {
            let what = format!("a pax header or long name of {}", self.what);
            return Err(Error::LimitExceeded { what, limit: format!("{EXTENSION} bytes") });
        }
        let pending = &self.pending;
        let (taken, mixed) = match header.kind {
            b'x' => (pending.pax.is_some(), pending.name.is_some() || pending.link.is_some()),
            b'g' => (false, !pending.is_empty()),
            b'L' => (pending.name.is_some(), pending.pax.is_some()),
            _ => (pending.link.is_some(), pending.pax.is_some()),
        };
        if taken {
            return self.refuse("tar-header-twice", "two headers of one kind tell of the same member");
        }
        if mixed {
            return self.refuse("tar-header-mix", "headers of pax and GNU tell of the same member");
        }
        let body = self.body(header.size)?;
        match header.kind {
            b'x' => self.pending.pax = Some(pax::parse(self.what, &body)?),
            b'g' => pax::check_global(self.what, &body)?,
            kind => {
                let text = body.strip_suffix(b"\0").filter(|text| !text.is_empty() && !text.contains(&0));
                let Some(text) = text else {
                    return self.refuse("tar-long-name", "a long name is empty or does not end at its NUL");
                };
                if text.len() > self.limits.name {
                    return self.refuse("tar-name-long", "a long name is too long");
                }
                let slot = if kind == b'L' { &mut self.pending.name } else { &mut self.pending.link };
                *slot = Some(text.to_vec());
            }
        }
        Ok(())
    }

    fn body(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut body = vec![0; size.next_multiple_of(BLOCK as u64) as usize];
        self.input.read(&mut body)?;
        body.truncate(size as usize);
        Ok(body)
    }

    fn member<V: Visitor>(&mut self, header: Header, visitor: &mut V) -> Result<()> {
        let Pending { pax, name, link } = std::mem::take(&mut self.pending);
        let pax = pax.unwrap_or_default();
        let size = self.size(header.size, pax.size)?;
        let name = self.text(pax.path.map(String::into_bytes).or(name).unwrap_or(header.name))?;
        let link = self.text(pax.linkpath.map(String::into_bytes).or(link).unwrap_or(header.link))?;
        self.input.meter.entry(&name, size)?;

        let plain = name.strip_prefix("./").unwrap_or(&name);
        let path = plain.strip_suffix('/').unwrap_or(plain);
        if header.kind == b'5' && matches!(&*name, "." | "./") {
            // The folder that is unpacked into.
            return if size == 0 { Ok(()) } else { self.refuse_size(&name) };
        }
        let format = if self.root == TarRoot::System { Format::System } else { Format::Tar };
        names::check(format, self.what, path, self.limits.name)?;
        let is_slashed = path.len() != plain.len();
        let (kind, known) = match header.kind {
            b'0' | 0 if is_slashed => {
                let detail = format!("{} is a file by type and a folder by name", shown(&name));
                return self.refuse("tar-directory-kind", detail);
            }
            b'0' | 0 => (MemberKind::File, Kind::File),
            b'5' => (MemberKind::Directory, Kind::Directory),
            b'1' | b'2' if is_slashed => {
                let detail = format!("{} is a link by type and a folder by name", shown(&name));
                return self.refuse("tar-directory-kind", detail);
            }
            b'1' => {
                let target = link.strip_prefix("./").unwrap_or(&link);
                if !self.names.is_file(target) {
                    let detail = format!("{} links to {}, no file before it", shown(&name), shown(target));
                    return self.refuse("tar-hardlink-target", detail);
                }
                (MemberKind::Hardlink { target }, Kind::File)
            }
            b'2' => {
                let fits = match self.root {
                    TarRoot::Folder => link::stays_inside(path, &link),
                    TarRoot::System => !link.is_empty() && !link.chars().any(names::is_control),
                };
                if !fits || link.len() > self.limits.name {
                    let detail = format!("{} points to {}, outside", shown(&name), shown(&link));
                    return self.refuse("tar-link-escape", detail);
                }
                (MemberKind::Symlink { target: &link }, Kind::Link)
            }
            b'3' | b'4' | b'6' => {
                let detail = format!("{} is a device or a pipe", shown(&name));
                return self.refuse("tar-special-file", detail);
            }
            b'S' => return self.refuse("tar-sparse", format!("{} is a sparse file", shown(&name))),
            other => {
                let detail = format!("{} has the type `{}`", shown(&name), other.escape_ascii());
                return self.refuse("tar-kind", detail);
            }
        };
        if kind != MemberKind::File && size != 0 {
            return self.refuse_size(&name);
        }
        self.names.add(path, known)?;

        let member = Member { name: path, kind, size, mode: Some(header.mode) };
        let take = visitor.member(&member)?;
        self.data(size, take, visitor)
    }

    fn refuse_size<T>(&self, name: &str) -> Result<T> {
        self.refuse("tar-size", format!("{} is no file and yet has a size", shown(name)))
    }

    /// CVE-2025-62518: two readers that take one the size of pax and the other that of the header
    /// see different members. They must agree, unless the header cannot hold the size.
    fn size(&self, header: u64, pax: Option<u64>) -> Result<u64> {
        match pax {
            None => Ok(header),
            Some(size) if size == header => Ok(size),
            Some(size) if size > OCTAL_SIZE && header == 0 => Ok(size),
            Some(size) => {
                let detail = format!("a member has {size} bytes by its pax header and {header} by its own");
                self.refuse("tar-pax-size", detail)
            }
        }
    }

    fn text(&self, bytes: Vec<u8>) -> Result<String> {
        String::from_utf8(bytes).or_else(|error| {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            self.refuse("tar-name-encoding", format!("the name {} is not UTF-8", shown(&text)))
        })
    }

    /// Reads the data of a member and its padding.
    fn data<V: Visitor>(&mut self, size: u64, take: Take, visitor: &mut V) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            // Blocks are whole: what is behind the last byte is padding.
            let blocks = count.next_multiple_of(BLOCK);
            self.input.read(&mut self.buffer[..blocks])?;
            if take == Take::Read {
                visitor.data(&self.buffer[..count])?;
            }
            left -= count as u64;
        }
        if take == Take::Read {
            visitor.end()?;
        }
        Ok(())
    }
}
