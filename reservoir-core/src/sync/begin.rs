//! Beginning with many revisions at once: what is known of them is read, the bytes that are wanted are pinned, and the
//! revisions are PULLING, in a few statements for all.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::{
    Syncer,
    judge::{Outcome, Said},
    pull::revision_error,
};
use crate::{
    catalog::{FileRow, steps},
    digest::Sha256Digest,
    error::{Error, Result},
    lifecycle::{Revision, RevisionId, Status},
    path::ContentPath,
};

/// Revisions that begin together, at most; a sync that ends leaves so many PULLING.
const AT_ONCE: usize = 32;

/// A revision and the files wanted of it.
pub(super) type WantedFiles = (RevisionId, Vec<ContentPath>);

/// What became of beginning with a revision.
#[derive(Debug)]
pub(super) enum Begun {
    /// There is nothing to do.
    Over(Box<Outcome>),
    /// It can be looked at.
    Going(Box<Going>),
}

/// A revision that is to be looked at.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) revision: Revision,
    /// Those that are wanted; what is known of their bytes is pinned.
    pub(super) files: Vec<FileRow>,
    /// What was said of those whose digest is known.
    pub(super) said: Said,
}

/// Revisions that begin together, as soon as the first of them does.
#[derive(Debug)]
pub(super) struct Part {
    wanted: Vec<WantedFiles>,
    begun: OnceCell<Mutex<Vec<Option<Begun>>>>,
}

/// One revision of those that begin together.
#[derive(Debug)]
pub(super) struct Share {
    part: Arc<Part>,
    index: usize,
}

impl Part {
    /// Every revision once, in this order.
    pub(super) fn each_of(mut wanted: Vec<WantedFiles>) -> impl Iterator<Item = Share> {
        let parts = std::iter::from_fn(move || {
            let rest = wanted.split_off(wanted.len().min(AT_ONCE));
            let wanted = std::mem::replace(&mut wanted, rest);
            (!wanted.is_empty()).then(|| Arc::new(Self { wanted, begun: OnceCell::new() }))
        });
        parts.flat_map(|part| {
            (0..part.wanted.len()).map(move |index| Share { part: Arc::clone(&part), index })
        })
    }
}

impl Share {
    /// Which revision it is.
    pub(super) fn id(&self) -> RevisionId {
        self.part.wanted[self.index].0
    }
}

impl Syncer<'_> {
    /// What became of beginning with one of a part: the first who asks begins with all of them. Each is had once.
    pub(super) async fn begun(&self, share: &Share) -> Result<Option<Begun>> {
        let Share { part, index } = share;
        let begin_all =
            || async { Ok(Mutex::new(self.begin_with(&part.wanted).await?.into_iter().map(Some).collect())) };
        let all: &Mutex<Vec<Option<Begun>>> = part.begun.get_or_try_init(begin_all).await?;
        Ok(all.lock().unwrap_or_else(PoisonError::into_inner)[*index].take())
    }

    /// Some revisions, each with its files in the order they became known, in a few queries.
    pub(super) async fn rows_of(
        &self,
        ids: impl Iterator<Item = RevisionId>,
    ) -> Result<HashMap<RevisionId, (Revision, Vec<FileRow>)>> {
        let ids: Vec<RevisionId> = ids.collect::<BTreeSet<_>>().into_iter().collect();
        let revisions = self.catalog.revisions_of(&ids).await?.into_iter();
        let mut rows: HashMap<_, _> =
            revisions.map(|revision| (revision.id, (revision, Vec::new()))).collect();
        for file in self.catalog.files_of(&ids).await? {
            if let Some((_, files)) = rows.get_mut(&file.revision) {
                files.push(file);
            }
        }
        Ok(rows)
    }

    /// Begins with some revisions, in this order. A person who changes one meanwhile ends its way, not the sync.
    pub(super) async fn begin_with(&self, wanted: &[WantedFiles]) -> Result<Vec<Begun>> {
        let mut rows = self.rows_of(wanted.iter().map(|(id, _)| *id)).await?;
        let mut begun = Vec::with_capacity(wanted.len());
        for (id, paths) in wanted {
            let (revision, mut files) = rows.remove(id).ok_or_else(|| Error::not_found("revision", id.0))?;
            files.retain(|file| paths.contains(&file.path));
            begun.push(match revision.status {
                status if status.is_refused() => {
                    let mut outcome = Outcome::new(revision);
                    outcome.waiting = self.last_reason(*id).await?;
                    Begun::Over(Box::new(outcome))
                }
                Status::Available if files.iter().all(|file| file.admitted) => {
                    Begun::Over(Box::new(Outcome::new(revision)))
                }
                _ => Begun::Going(Box::new(Going { revision, files, said: Said::default() })),
            });
        }
        self.begin_pulling(&mut begun).await?;
        self.pin_and_recall(&mut begun).await?;
        Ok(begun)
    }

    /// Makes those PULLING that have not begun yet.
    async fn begin_pulling(&self, begun: &mut [Begun]) -> Result<()> {
        let mut new: Vec<&mut Begun> = begun.iter_mut().filter(|begun| begun.is_new()).collect();
        let changes: Vec<_> = new
            .iter()
            .filter_map(|begun| begun.going())
            .flat_map(|going| steps(&going.revision, &[Status::Pulling], &self.actor, WANTED))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        if let Ok(now) = revision_error(self.catalog.begin(&changes, &self.fence).await)? {
            for (begun, now) in new.into_iter().zip(now) {
                if let Begun::Going(going) = begun {
                    going.revision = now;
                }
            }
            return Ok(());
        }
        // One of them is to blame; the others go on.
        for begun in &mut new {
            let Begun::Going(going) = &mut **begun else { continue };
            if let Err(error) = revision_error(self.begin(&mut going.revision, WANTED).await)? {
                **begun = Begun::Over(Box::new(self.ended_by(going.revision.id, error).await?));
            }
        }
        Ok(())
    }

    /// Protects the bytes that are here already, or may be, and recalls what scanners said of them.
    async fn pin_and_recall(&self, begun: &mut [Begun]) -> Result<()> {
        let files = begun.iter().filter_map(Begun::going).flat_map(|going| &going.files);
        let digests: Vec<Sha256Digest> = files.flat_map(FileRow::known_digests).collect();
        if digests.is_empty() {
            return Ok(());
        }
        self.store.pin_all(&digests).await?;
        let said = self.recall(&digests).await?;
        for begun in begun {
            if let Begun::Going(going) = begun {
                let own = going.files.iter().flat_map(FileRow::known_digests);
                going.said = own.filter_map(|digest| Some((digest, said.get(&digest)?.clone()))).collect();
            }
        }
        Ok(())
    }
}

/// Why a revision is PULLING.
const WANTED: &str = "wanted by the selection";

impl Begun {
    fn going(&self) -> Option<&Going> {
        match self {
            Self::Over(_) => None,
            Self::Going(going) => Some(going),
        }
    }

    fn is_new(&self) -> bool {
        self.going().is_some_and(|going| matches!(going.revision.status, Status::Scanned | Status::Failed))
    }
}
