//! Versions that go together, picked before anything is pulled.
//!
//! Where only a file itself says what it needs, the universe is found out while it is solved: what was not read
//! counts as needing nothing, the solver picks, what it picked is read, and so on until everything that is picked was
//! read. So little more is read than what is picked in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::{
    Syncer,
    pull::{is_absence, revision_error},
    report::SyncReport,
};
use crate::{
    blocking,
    catalog::FileRow,
    depends::{Dependencies, Draft, Explanation, PackageId, Peek, Proposal, Solution, Solver},
    ecosystem::{Chosen, Inspection, PulledFile, Requirement},
    error::{Error, Result, chain},
    lifecycle::{ArtifactLifecycle as _, RevisionId},
    name::ArtifactName,
    path::ContentPath,
    task::Progress,
};

/// Times that the solver is asked for one target.
const ROUNDS: usize = 2_000;
/// Files looked into at once; the fetcher limits transfers a registry.
const FILES_AT_ONCE: usize = 16;
/// Times that another version of an artifact is tried before several are read ahead.
const PATIENT: u32 = 3;
/// Most versions read ahead.
const AHEAD: usize = 32;

/// What was found out, for all targets.
#[derive(Debug, Default)]
pub(super) struct Known {
    asked: BTreeSet<ArtifactName>,
    told: HashMap<ContentPath, Result<Inspection, String>>,
}

/// The files that one target needs, or why there are none.
type Solved = Result<Vec<(RevisionId, Vec<ContentPath>)>, Explanation>;

impl Syncer<'_> {
    /// Picks for every target versions that go together and satisfy `specs` (the configured selection, when empty).
    /// A target for which there are none is told in the report with the reason.
    pub(super) async fn solve(
        &self,
        specs: &[String],
        report: &mut SyncReport,
    ) -> Result<(Vec<(Requirement, Vec<Chosen>)>, Known)> {
        let config = &self.repository.config;
        let unsupported = || Error::Unsupported {
            what: format!("solving for `{}` repositories", config.ecosystem),
            detail: "this ecosystem has no dependencies".into(),
        };
        let dependencies = self.ecosystem.dependencies().ok_or_else(unsupported)?;
        let roots = self.ecosystem.roots(config, specs)?;
        let mut known = Known::default();
        let mut picked: BTreeMap<RevisionId, BTreeSet<ContentPath>> = BTreeMap::new();
        for target in dependencies.targets(config)? {
            self.task.report(Progress::Phase { name: "solve", total: None });
            let mut draft = dependencies.draft(config, &target, &roots)?;
            match self.solve_for(dependencies, &mut *draft, &mut known, report).await? {
                Ok(files) => {
                    for (revision, paths) in files {
                        picked.entry(revision).or_default().extend(paths);
                    }
                }
                Err(why) => report.missing.push(format!("nothing can be installed on `{target}`: {why}")),
            }
        }
        let chosen = picked.into_iter().map(|(id, paths)| Chosen { id, paths: paths.into_iter().collect() });
        Ok((vec![(Requirement::of_others(), chosen.collect())], known))
    }

    async fn solve_for(
        &self,
        dependencies: &dyn Dependencies,
        draft: &mut dyn Draft,
        known: &mut Known,
        report: &mut SyncReport,
    ) -> Result<Solved> {
        let mut offered = BTreeSet::new();
        let mut tries: HashMap<ArtifactName, u32> = HashMap::new();
        for _ in 0..ROUNDS {
            self.task.checkpoint()?;
            let mut proposal = draft.propose();
            while !proposal.missing.is_empty() {
                self.offer(&proposal.missing, draft, &mut offered, known, report).await?;
                proposal = draft.propose();
            }
            let picked = match answer(proposal).await? {
                Solution::Install(picked) => picked,
                Solution::Impossible(why) => return Ok(Err(why)),
            };
            let mut unread: BTreeMap<ContentPath, RevisionId> = BTreeMap::new();
            for package in &picked {
                let Some((revision, _)) = draft.unread(*package, 0).first().cloned() else { continue };
                let artifact = self.catalog.revision(revision).await?.artifact;
                let count = tries.entry(artifact).or_default();
                *count += 1;
                let more = if *count > PATIENT { (1 << (*count - PATIENT).min(5)).min(AHEAD) } else { 0 };
                unread.extend(draft.unread(*package, more).into_iter().map(|(id, path)| (path, id)));
            }
            if unread.is_empty() {
                let files = picked.into_iter().filter_map(|package| draft.files(package));
                return Ok(Ok(files.collect()));
            }
            self.read(dependencies, unread, draft, known, report).await?;
        }
        Err(Error::LimitExceeded { what: "solving".into(), limit: format!("{ROUNDS} attempts") })
    }

    /// Asks the registries about artifacts that were not asked about, and tells the draft what there is.
    async fn offer(
        &self,
        artifacts: &[ArtifactName],
        draft: &mut dyn Draft,
        offered: &mut BTreeSet<ArtifactName>,
        known: &mut Known,
        report: &mut SyncReport,
    ) -> Result<()> {
        let new: Vec<_> = artifacts.iter().filter(|a| known.asked.insert((*a).clone())).cloned().collect();
        if !new.is_empty() {
            let mut asked = SyncReport::default();
            self.discover(new, &[], &mut asked).await?;
            // What no registry knows matters only when nothing can be installed without it, which is told then.
            report.asked += asked.asked;
            report.unchanged += asked.unchanged;
            report.new_files += asked.new_files;
            report.alarms.extend(asked.alarms);
            report.skip(asked.skipped);
        }
        for artifact in artifacts {
            if !offered.insert(artifact.clone()) {
                let detail = format!("the format asks for `{artifact}` again");
                return Err(Error::invalid("solving", detail));
            }
            let candidates = self.catalog.candidates(self.repository.id, artifact).await?;
            draft.offer(artifact, &candidates)?;
            for file in candidates.iter().flat_map(|candidate| &candidate.files) {
                if let Some(told) = known.told.get(&file.path) {
                    draft.describe(&file.path, told);
                }
            }
        }
        Ok(())
    }

    /// Reads what files say of themselves and tells the draft.
    async fn read(
        &self,
        dependencies: &dyn Dependencies,
        unread: BTreeMap<ContentPath, RevisionId>,
        draft: &mut dyn Draft,
        known: &mut Known,
        report: &mut SyncReport,
    ) -> Result<()> {
        let mut work = Vec::with_capacity(unread.len());
        for (path, revision) in unread {
            let read = async move {
                self.task.checkpoint()?;
                let told = revision_error(self.read_one(dependencies, revision, &path).await)?;
                Ok::<_, Error>((path, told))
            };
            work.push(read.boxed());
        }
        let told: Vec<_> = stream::iter(work).buffer_unordered(FILES_AT_ONCE).try_collect().await?;
        for (path, told) in told {
            let told = match told {
                Ok(inspection) => Ok(inspection),
                // A registry that is away must not make an older version win.
                Err(error) if !is_absence(&error) && !matches!(error, Error::Unsupported { .. }) => {
                    return Err(error);
                }
                Err(error) => {
                    let reason = chain(&error);
                    report.skip(vec![format!("`{path}` is passed over: {reason}")]);
                    Err(reason)
                }
            };
            draft.describe(&path, &told);
            known.told.insert(path, told);
        }
        Ok(())
    }

    async fn read_one(
        &self,
        dependencies: &dyn Dependencies,
        revision: RevisionId,
        path: &ContentPath,
    ) -> Result<Inspection> {
        if let Some(told) = self.peek_at(dependencies, revision, path).await? {
            return Ok(told);
        }
        // Only the whole tells. It stays, and is not served unless it is picked.
        let file = self.file_of(revision, path).await?;
        let revision = self.catalog.revision(revision).await?;
        let store = self.store.batched();
        let pulled = self.pull(&file, &store).await?;
        store.settle().await?;
        if !pulled.recorded {
            self.catalog.store_file(file.id, &pulled.blob, Some(&self.fence)).await?;
        }
        let file = PulledFile {
            artifact: &revision.artifact,
            revision: &revision.revision,
            path: &file.path,
            attributes: &file.attributes,
            blob: &pulled.blob,
            store: store.store(),
        };
        self.task.or_cancelled(self.ecosystem.inspect(&file)).await
    }

    /// What a file says of itself, without pulling it; `None` where only the whole tells.
    pub(super) async fn peek_at(
        &self,
        dependencies: &dyn Dependencies,
        revision: RevisionId,
        path: &ContentPath,
    ) -> Result<Option<Inspection>> {
        let file = self.file_of(revision, path).await?;
        if file.inspection.is_some() || file.is_optional() {
            return Ok(Some(file.inspection.unwrap_or_default()));
        }
        let revision = self.catalog.revision(revision).await?;
        let peek = Peek {
            artifact: &revision.artifact,
            revision: &revision.revision,
            path: &file.path,
            url: &file.url,
            size: file.size,
            attributes: &file.attributes,
            fetcher: &self.source_of(&file)?.fetcher,
        };
        self.task.or_cancelled(dependencies.peek(&peek)).await
    }

    async fn file_of(&self, revision: RevisionId, path: &ContentPath) -> Result<FileRow> {
        let mut files = self.catalog.files(revision).await?.into_iter();
        files.find(|file| file.path == *path).ok_or_else(|| Error::not_found("file", path.as_str()))
    }

    /// Says of what was brought in where it needs something else than the registry had said, on which the solution
    /// was built.
    pub(super) async fn compare(
        &self,
        picks: &[(Requirement, Vec<Chosen>)],
        known: &Known,
        report: &mut SyncReport,
    ) -> Result<()> {
        for pick in picks.iter().flat_map(|(_, chosen)| chosen) {
            for file in self.catalog.files(pick.id).await? {
                let FileRow { path, inspection: Some(found), .. } = file else { continue };
                let Some(Ok(told)) = known.told.get(&path) else { continue };
                if told.requirements != found.requirements {
                    report.alarms.push(format!(
                        "`{path}` needs something else than its registry says of it; solve again, now that it is here"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Asks the solver, aside.
async fn answer(proposal: Proposal) -> Result<Solution> {
    blocking::run(move || {
        let Proposal { universe, goals, .. } = proposal;
        let goals: Vec<Vec<PackageId>> = goals;
        Solver::new(&*universe)?.solve(&goals)
    })
    .await
}
