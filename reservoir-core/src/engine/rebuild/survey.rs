//! Reading all that is signed, before any of it is believed.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::RepositoryConfig,
    engine::Engine,
    error::{Error, Result},
    name::RefName,
    snapshot::{
        Brought, Record, Snapshot,
        decision::open_decision,
        record::{choose_line, open_record},
        removal::{Removal, open_removal},
    },
    store::RecordKey,
};

/// What the records say of one repository.
#[derive(Debug)]
pub(super) struct Line {
    /// Its permanent id.
    pub(super) uuid: Uuid,
    /// How it was configured at last.
    pub(super) repository: RepositoryConfig,
    /// The number of its newest snapshot.
    pub(super) newest: u64,
    /// When that was made.
    pub(super) newest_at: Timestamp,
    /// The snapshots whose manifests are stored, the oldest first, each with its ref and its record's digest.
    pub(super) snapshots: Vec<(Snapshot, RefName, Sha256Digest)>,
    /// Snapshots whose manifests are not.
    pub(super) forgotten: u64,
    /// Records that no later one names.
    pub(super) dangling: u64,
    /// What the last of its bundles says, and when that was published, where bundles fill it.
    pub(super) filled: Option<Filled>,
}

/// That bundles fill a repository.
#[derive(Debug, Clone)]
pub(super) struct Filled {
    pub(super) stream: Uuid,
    /// The last bundle; records of before 1.0 name the stream only, in their messages.
    pub(super) last: Option<Brought>,
    pub(super) at: Timestamp,
}

/// Digests of manifests and their pages, and whether the store has them.
type Stored = HashMap<Sha256Digest, bool>;

impl Engine {
    /// Reads and checks everything that `keys` name: what there is of every repository, and the last removal of each.
    pub(super) async fn survey(&self, keys: &[RecordKey]) -> Result<(Vec<Line>, HashMap<Uuid, Removal>)> {
        let trusted = [self.inner.key.public()];
        let (mut lines, mut removals) = (Vec::new(), HashMap::new());
        let mut stored = Stored::new();
        for keys in keys.chunk_by(|a, b| a.line == b.line) {
            let mut records = Vec::with_capacity(keys.len());
            for &key in keys {
                let bytes = self.inner.store.read_record(key).await?;
                let error = match open_record(&bytes, &trusted) {
                    Ok(record) => {
                        records.push((key, record, Sha256Digest::of(&bytes)));
                        continue;
                    }
                    Err(error) => error,
                };
                if let Ok(decision) = open_decision(&bytes, &trusted) {
                    // Read again with its repository; one that never published is not brought back.
                    check_key("decision", key, decision.key(key.fence))?;
                } else if let Ok(removal) = open_removal(&bytes, &trusted) {
                    check_key("removal", key, removal.key(key.fence))?;
                    removals.insert(removal.repository, removal);
                } else {
                    return Err(error);
                }
            }
            let digests: HashMap<RecordKey, Sha256Digest> =
                records.iter().map(|(key, _, digest)| (*key, *digest)).collect();
            let chain = choose_line(records)?;
            let dangling = (digests.len() - chain.len()) as u64;
            if let Some(newest) = chain.last().cloned() {
                let mut line = Line::of(newest, dangling);
                for record in chain {
                    line.filled = Filled::by(&record).or(line.filled);
                    if self.is_whole(&record.snapshot, &mut stored).await? {
                        let digest = digests[&record.key()];
                        line.snapshots.push((record.snapshot, record.reference, digest));
                    } else {
                        line.forgotten += 1;
                    }
                }
                lines.push(line);
            }
        }
        Ok((lines, removals))
    }

    /// Whether both manifests of a snapshot are stored with all their pages.
    async fn is_whole(&self, snapshot: &Snapshot, stored: &mut Stored) -> Result<bool> {
        for root in [snapshot.content, snapshot.publication] {
            let whole = match stored.get(&root) {
                Some(&whole) => whole,
                None => self.has_manifest(root, stored).await?,
            };
            stored.insert(root, whole);
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn has_manifest(&self, root: Sha256Digest, stored: &mut Stored) -> Result<bool> {
        // Asked first: what was decoded before may be in memory still.
        if self.inner.store.stat(&root).await?.is_none() {
            return Ok(false);
        }
        let manifest = match self.inner.pages.open(root).await {
            Ok(manifest) => manifest,
            Err(Error::Integrity { .. } | Error::Malformed { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        for page in manifest.pages() {
            let there = match stored.get(&page) {
                Some(&there) => there,
                None => self.inner.store.stat(&page).await?.is_some(),
            };
            stored.insert(page, there);
            if !there {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Line {
    fn of(newest: Record, dangling: u64) -> Self {
        Self {
            uuid: newest.line,
            repository: newest.repository,
            newest: newest.number,
            newest_at: newest.created_at,
            snapshots: Vec::new(),
            forgotten: 0,
            dangling,
            filled: None,
        }
    }
}

impl Filled {
    fn by(record: &Record) -> Option<Self> {
        let last = record.bundle.clone();
        let stream = match &last {
            Some(last) => last.stream,
            None => stream_of_message(&record.snapshot.message)?,
        };
        Some(Self { stream, last, at: record.created_at })
    }
}

/// The stream in the message of a snapshot that a load made.
fn stream_of_message(message: &str) -> Option<Uuid> {
    let (number, stream) = message.strip_prefix("bundle ")?.split_once(" of stream ")?;
    number.parse::<u64>().ok()?;
    stream.parse().ok()
}

/// What is signed says itself where it belongs: it was not moved there by somebody else.
fn check_key(kind: &str, found: RecordKey, own: RecordKey) -> Result<()> {
    if found == own {
        return Ok(());
    }
    let what = format!("{kind} {}-{} of line {}", found.number, found.fence, found.line);
    Err(Error::malformed(what, "record-key", "it was found under the key of another"))
}
