//! Working out a bundle: what the destination has, what is new, and how it is laid out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{ExportOptions, Exported, known::Known, patch, reach::Reached, report_of};
use crate::{
    Engine,
    bundle::{
        AuditCheckpoint, BlobSet, CarriedRef, FORMAT, Header, Kind, Layout, ObjectsWriter, Part,
        RecordsWriter, SortedBlobs, check_parity, inventory::Inventory,
    },
    catalog::{Repository, SentBundle, SentRef},
    digest::Sha256Digest,
    error::{Error, Result},
    name::RefName,
    store::Blob,
};

/// A bundle that is worked out and not yet written.
pub(in crate::engine) struct Plan {
    pub(in crate::engine) header: Header,
    /// The refs of the whole stream after it.
    pub(in crate::engine) refs: Vec<SentRef>,
    pub(in crate::engine) folder: PathBuf,
    pub(in crate::engine) report: Exported,
    is_streamed: bool,
}

impl Plan {
    /// What the ledger says of it while it is written.
    pub(in crate::engine) fn begun(&self) -> Result<SentBundle> {
        Ok(SentBundle {
            stream: self.header.stream,
            sequence: self.header.sequence,
            header: Sha256Digest::of(&self.header.encode()?),
            kind: self.header.kind,
            refs: self.refs.clone(),
            created_at: self.header.created,
            finished: false,
            streamed: self.is_streamed,
        })
    }
}

/// What travels with the refs.
struct Gathered {
    reached: Reached,
    records: Part,
    /// What of it is metadata only.
    told: Exported,
    /// Whether something is new.
    changed: bool,
}

impl Engine {
    /// Works out a bundle; the report alone when there is nothing new. `is_streamed` where it goes down a stream, so that
    /// nobody here sees how much of it arrives.
    pub(in crate::engine) async fn plan(
        &self,
        options: &ExportOptions,
        have: Option<Inventory>,
        stream: Uuid,
        is_streamed: bool,
        folder: PathBuf,
    ) -> Result<std::result::Result<Plan, Box<Exported>>> {
        // What is committed from here on is for the next bundle.
        let moment = self.inner.catalog.moment().await?;
        let sent = self.inner.catalog.sent_bundles(stream, 2).await?;
        let last = sent.iter().find(|bundle| bundle.finished);
        let known = self.known_there(options, have, stream, last).await?;
        check_selection(options, &known, last)?;
        let repositories = self.selected(options, last).await?;
        let refs = self.main_refs(&repositories, &known).await?;
        let others = self.other_refs(&repositories, &refs, &known).await?;
        let gathered = self.gather(options, &known, &repositories, (&refs, &others), &folder).await?;
        let Gathered { reached, records, told, changed } = gathered;
        if known.kind == Kind::Delta && !changed {
            return Ok(Err(Box::new(Exported { site: options.site.clone(), stream, ..told })));
        }
        let base: BTreeSet<Sha256Digest> = refs.iter().filter_map(|carried| carried.parent).collect();
        let blobs = reached.blobs.sorted()?;
        let (objects, layout) = list_objects(&folder, &blobs, &known, options.volume_size)?;
        options.parity.map_or(Ok(()), |percent| check_parity(percent, &layout))?;
        let header = Header {
            format: FORMAT.into(),
            stream,
            site: options.site.clone(),
            sequence: next_number(&sent, &known, is_streamed),
            follows: known.follows.map(|(sequence, _)| sequence),
            previous: known.follows.map(|(_, header)| header),
            kind: known.kind,
            base: base.into_iter().collect(),
            created: moment.at,
            expires: options.expires.map(|life| moment.at.plus(life)),
            refs: refs.clone(),
            other_refs: Some(others.clone()),
            policy: policy(&repositories)?,
            scanner_data: self.scanner_data().await,
            audit_checkpoint: AuditCheckpoint { seq: moment.seq, hash: moment.hash },
            records,
            objects,
            volumes: layout,
            patches: reached.patches.unwrap_or_default().into_values().collect(),
            parity: options.parity,
            more: BTreeMap::new(),
        };
        let report = report_of(&header);
        let patched = (report.patched.0, reached.saved);
        let Exported { metadata_only, missing, .. } = told;
        let report = Exported { patched, metadata_only, missing, ..report };
        // Refs of the stream that this bundle does not touch stay where they are.
        let mut all = last.map(|last| last.refs.clone()).unwrap_or_default();
        all.retain(|before| refs.iter().all(|carried| carried.repository != before.carried.repository));
        let told = |carried| SentRef { carried, told_at: Some(moment.at), told_seq: Some(moment.seq) };
        all.extend(refs.into_iter().chain(others).map(told));
        Ok(Ok(Plan { header, refs: all, folder, report, is_streamed }))
    }

    /// Where `main` of each repository points, and what the destination has of it.
    async fn main_refs(&self, repositories: &[Repository], known: &Known) -> Result<Vec<CarriedRef>> {
        let mut refs = Vec::with_capacity(repositories.len());
        for repository in repositories {
            let snapshot = self.inner.catalog.resolve(repository.id, "main").await?;
            let parent = known.of(&repository.config.name);
            refs.push(CarriedRef {
                repository: repository.config.name.clone(),
                ecosystem: repository.config.ecosystem.clone(),
                reference: RefName::main(),
                snapshot: snapshot.content,
                number: snapshot.number,
                parent: parent.map(|parent| parent.carried.snapshot),
            });
        }
        Ok(refs)
    }

    /// Walks from the refs to what the destination does not have: blobs, and what is to be told of them.
    async fn gather(
        &self,
        options: &ExportOptions,
        known: &Known,
        repositories: &[Repository],
        (refs, others): (&[CarriedRef], &[CarriedRef]),
        folder: &Path,
    ) -> Result<Gathered> {
        std::fs::create_dir_all(folder).map_err(Error::io("make a scratch folder"))?;
        // What an earlier plan left is not this one's.
        let _ = std::fs::remove_dir_all(folder.join(patch::FOLDER));
        let mut reached = Reached {
            blobs: BlobSet::new(folder.join("blobs"))?,
            patches: (!options.whole_blobs).then(BTreeMap::new),
            saved: 0,
            folder: folder.join(patch::FOLDER),
        };
        let mut told = Exported::default();
        let mut records = RecordsWriter::new(file(&folder.join("records"))?)?;
        let mut changed = refs.iter().any(|carried| carried.parent != Some(carried.snapshot))
            || !known.has_others(repositories, others);
        let bases = self.bases(known).await?;
        for (repository, carried) in repositories.iter().zip(refs) {
            let mut touched = self.reach(carried, known, &bases, &mut reached).await?;
            let others: Vec<&CarriedRef> =
                others.iter().filter(|other| other.repository == carried.repository).collect();
            for other in &others {
                touched.extend(self.reach(other, known, &bases, &mut reached).await?);
            }
            let carried = (carried, &others[..]);
            changed |= self.record(repository, carried, known, &touched, &mut records, &mut told).await?;
        }
        let (_, records) = records.finish()?;
        Ok(Gathered { reached, records, told, changed })
    }

    /// The refs beside `main`, each told against what the destination has of it, or against the new `main`.
    async fn other_refs(
        &self,
        repositories: &[Repository],
        mains: &[CarriedRef],
        known: &Known,
    ) -> Result<Vec<CarriedRef>> {
        let catalog = &self.inner.catalog;
        let mut others = Vec::new();
        for (repository, main) in repositories.iter().zip(mains) {
            for (reference, number) in catalog.refs(repository.id).await? {
                if reference == RefName::main() {
                    continue;
                }
                let snapshot = catalog.snapshot(repository.id, number).await?.content;
                let sent = known.named(&main.repository, &reference);
                let is_there = sent.is_some_and(|sent| sent.carried.snapshot == snapshot);
                let against = if is_there { snapshot } else { main.snapshot };
                let parent = (known.kind == Kind::Delta).then_some(against);
                others.push(CarriedRef { reference, snapshot, number, parent, ..main.clone() });
            }
        }
        Ok(others)
    }

    async fn selected(&self, options: &ExportOptions, last: Option<&SentBundle>) -> Result<Vec<Repository>> {
        let catalog = &self.inner.catalog;
        let mut names = options.repositories.clone();
        if names.is_empty() {
            names = match last {
                Some(last) => last.refs.iter().map(|sent| sent.carried.repository.clone()).collect(),
                None => catalog.repositories().await?.into_iter().map(|all| all.config.name).collect(),
            };
        }
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(Error::invalid(
                "export",
                "there is no repository to export; see `reservoir help apply`",
            ));
        }
        let mut repositories = Vec::with_capacity(names.len());
        for name in names {
            let (repository, _) = self.repository(&name).await?;
            match catalog.resolve(repository.id, "main").await {
                Ok(_) => repositories.push(repository),
                Err(Error::NotFound { .. }) => {
                    let detail = "has no snapshot yet; `reservoir sync` or `reservoir publish` makes one";
                    return Err(Error::invalid(format!("repository `{name}`"), detail));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(repositories)
    }

    async fn scanner_data(&self) -> BTreeMap<String, String> {
        let mut data = BTreeMap::new();
        for scanner in &self.inner.scanners {
            if let Ok(rules) = scanner.rules().await {
                data.insert(scanner.id().to_owned(), rules);
            }
        }
        data
    }
}

/// The number behind all that the destination may have. What went down a stream may have arrived whole, although it was
/// never finished here; and the destination may be further than a ledger that was restored from a backup.
fn next_number(sent: &[SentBundle], known: &Known, is_streamed: bool) -> u64 {
    let is_given = |bundle: &&SentBundle| bundle.finished || bundle.streamed || is_streamed;
    let given = sent.iter().filter(is_given).map(|bundle| bundle.sequence).max();
    let follows = known.follows.map(|(sequence, _)| sequence);
    given.max(follows).unwrap_or(0) + 1
}

/// Refuses to go back to an older bundle for some of the repositories: what was lost on the way was lost of all of them,
/// and the ledger would take the others to be further than they are.
fn check_selection(options: &ExportOptions, known: &Known, last: Option<&SentBundle>) -> Result<()> {
    let Some(last) = last else { return Ok(()) };
    let goes_back = known.kind == Kind::Delta && known.follows != Some((last.sequence, last.header));
    let names = &options.repositories;
    match last.refs.iter().find(|sent| !names.contains(&sent.carried.repository)) {
        Some(left) if goes_back && !names.is_empty() => Err(Error::invalid(
            "REPO",
            format!(
                "bundle {} and later ones of this stream may be lost for `{}` too; name no repositories",
                known.follows.map_or(0, |(sequence, _)| sequence + 1),
                left.carried.repository
            ),
        )),
        _ => Ok(()),
    }
}

/// Puts the blobs that the receiver lacks in order, and lays them out.
fn list_objects(
    folder: &Path,
    blobs: &SortedBlobs,
    known: &Known,
    volume_size: Option<u64>,
) -> Result<(Part, Layout)> {
    let wanted = |prefix: u8| -> Result<Vec<Blob>> {
        let mut bucket = blobs.bucket(prefix)?;
        if let Some(inventory) = &known.inventory {
            bucket.retain(|blob| !inventory.has(&blob.sha256));
        }
        Ok(bucket)
    };
    let mut payload = 0_u64;
    for prefix in 0..=255 {
        payload += wanted(prefix)?.iter().map(|blob| blob.size).sum::<u64>();
    }
    let layout = Layout::new(payload, volume_size)?;
    let mut objects = ObjectsWriter::new(file(&folder.join("objects"))?, layout)?;
    for prefix in 0..=255 {
        wanted(prefix)?.iter().try_for_each(|blob| objects.push(blob))?;
    }
    let (_, part) = objects.finish()?;
    Ok((part, layout))
}

fn file(path: &Path) -> Result<BufWriter<File>> {
    File::create(path).map(BufWriter::new).map_err(Error::io(format!("create `{}`", path.display())))
}

/// The digest of what decided over the content: the repositories' configurations.
fn policy(repositories: &[Repository]) -> Result<Sha256Digest> {
    let configs: Vec<_> = repositories.iter().map(|repository| &repository.config).collect();
    let bytes = serde_json::to_vec(&configs).map_err(|error| Error::invalid("policy", error.to_string()))?;
    Ok(Sha256Digest::of(&bytes))
}
