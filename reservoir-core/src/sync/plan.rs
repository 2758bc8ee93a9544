//! What an import would bring, without pulling it.

use std::{collections::BTreeSet, sync::Mutex};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{SyncReport, Syncer, pull::revision_error};
use crate::{
    catalog::FileRow,
    depends::Closure,
    ecosystem::{Chosen, Requirement},
    error::{Error, Result},
    lifecycle::{ArtifactLifecycle as _, RevisionId},
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

/// Revisions looked at at once.
const REVISIONS_AT_ONCE: usize = 16;
/// Revisions that a plan names; the others only count.
const NAMED: usize = 10_000;

/// What an import would bring.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Files that would be pulled.
    pub files: u64,
    /// Their bytes, as far as registries tell.
    pub bytes: u64,
    /// Of those files, the ones whose size no registry tells.
    pub unsized_files: u64,
    /// Files that are chosen and here already.
    pub kept_files: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Files of which only the bytes tell what they need: what that is, is not in the plan.
    pub unread_files: u64,
    /// What is chosen, in the order of names; of more than ten thousand the first found.
    pub revisions: Vec<Planned>,
}

/// A revision that an import would bring, or has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Planned {
    /// Its artifact.
    pub artifact: ArtifactName,
    /// Its name.
    pub revision: RevisionName,
    /// The files that are chosen of it.
    pub files: Vec<ContentPath>,
    /// Their bytes, as far as known.
    pub bytes: u64,
}

/// A plan that is being made.
#[derive(Debug, Default)]
pub(crate) struct Planning {
    plan: Mutex<Plan>,
    /// Whether registries are not asked for sizes that their pages do not tell.
    asks_nobody: bool,
}

impl Planning {
    /// A plan by the sizes that are known.
    pub(super) fn of_known_sizes() -> Self {
        Self { asks_nobody: true, ..Self::default() }
    }

    /// The plan.
    pub(super) fn finish(&self) -> Plan {
        let mut plan = self.with(std::mem::take);
        plan.revisions.sort_unstable();
        plan
    }

    fn with<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.plan.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Syncer<'_> {
    /// Notes what would be brought in.
    pub(super) async fn plan(
        &self,
        planning: &Planning,
        wanted: Vec<(RevisionId, Vec<ContentPath>)>,
    ) -> Result<()> {
        let mut work = Vec::with_capacity(wanted.len());
        for (id, paths) in wanted {
            let plan = async move {
                self.task.checkpoint()?;
                let revision = self.catalog.revision(id).await?;
                let mut files = self.catalog.files(id).await?;
                files.retain(|file| paths.contains(&file.path));
                let mut planned = Planned {
                    artifact: revision.artifact,
                    revision: revision.revision,
                    files: paths,
                    bytes: 0,
                };
                planned.files.sort_unstable();
                for file in &files {
                    let size = self.size_of(file, planning.asks_nobody).await?;
                    planned.bytes += size.unwrap_or_default();
                    planning.with(|plan| plan.count(file, size));
                }
                planning.with(|plan| {
                    if plan.revisions.len() < NAMED {
                        plan.revisions.push(planned);
                    }
                });
                Ok::<_, Error>(())
            };
            work.push(plan.boxed());
        }
        stream::iter(work).buffer_unordered(REVISIONS_AT_ONCE).try_collect().await
    }

    /// Asks for the size of a file when its registry's page does not tell.
    async fn size_of(&self, file: &FileRow, ask_nobody: bool) -> Result<Option<u64>> {
        let known = file.blob.map(|blob| blob.size).or(file.size);
        if known.is_some() || ask_nobody {
            return Ok(known);
        }
        let fetcher = &self.source_of(file)?.fetcher;
        let head = revision_error(self.task.or_cancelled(fetcher.head(&file.url)).await)?;
        Ok(head.ok().flatten().and_then(|head| head.size))
    }

    /// Adds what the files of a pick ask for to the closure, by what their registry says of them.
    pub(super) async fn follow_unpulled(
        &self,
        planning: &Planning,
        (requirement, chosen): &(Requirement, Vec<Chosen>),
        closure: &mut Closure,
        report: &mut SyncReport,
    ) -> Result<()> {
        let Some(dependencies) = self.ecosystem.dependencies() else { return Ok(()) };
        for pick in chosen {
            let revision = self.catalog.revision(pick.id).await?;
            if revision.status.is_refused() {
                continue;
            }
            let owner = format!("{}@{}", revision.artifact, revision.revision);
            let mut seen: BTreeSet<Vec<String>> = BTreeSet::new();
            let reads = pick.paths.iter().map(|path| self.peek_at(dependencies, pick.id, path).boxed());
            let reads: Vec<_> = reads.collect();
            let reads: Vec<_> = stream::iter(reads).buffered(REVISIONS_AT_ONCE).collect().await;
            for read in reads {
                let Ok(Some(inspection)) = revision_error(read)? else {
                    planning.with(|plan| plan.unread_files += 1);
                    continue;
                };
                if !seen.insert(inspection.requirements.clone()) {
                    continue;
                }
                let asked =
                    dependencies.requirements(&self.repository.config, requirement, &owner, &inspection);
                match revision_error(asked)? {
                    Ok(asked) => asked.into_iter().try_for_each(|needed| closure.push(needed))?,
                    Err(error) => report.refused(&error),
                }
            }
        }
        Ok(())
    }
}

impl Plan {
    fn count(&mut self, file: &FileRow, size: Option<u64>) {
        if file.blob.is_some() {
            self.kept_files += 1;
            self.kept_bytes += size.unwrap_or_default();
            return;
        }
        self.files += 1;
        match size {
            Some(size) => self.bytes += size,
            None => self.unsized_files += 1,
        }
    }
}
