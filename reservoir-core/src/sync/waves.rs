//! From what a selection asks for to all that it takes: waves of discover, choose, import and follow, until no
//! requirement is left.

use std::{collections::BTreeSet, mem};

use super::{Depth, Planning, SyncReport, Syncer, pull::revision_error};
use crate::{
    depends::Closure,
    digest::Sha256Digest,
    ecosystem::{Candidate, Chosen, Registry, Requirement, Scope},
    error::{Error, Result},
    lifecycle::{RevisionId, Status},
    name::ArtifactName,
    path::ContentPath,
};

/// Distinct requirements one closure may grow to.
const CLOSURE_LIMIT: usize = 200_000;
/// Artifacts chosen from and pulled together, where a selection wants all there are.
const EVERYTHING_AT_ONCE: u32 = 500;
/// Revisions whose requirements are read together.
const FOLLOWED_AT_ONCE: usize = 200;

/// What it means that nothing satisfies a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Something is missing.
    Needed,
    /// Nothing: a selection of everything does not want everything of each artifact.
    IfAny,
}

/// How a sync goes that looks whether there is anything to do at all.
struct Goal {
    depth: Depth,
    /// Nothing was asked for by name.
    all: bool,
    /// What a sync that left nothing to do depended on.
    complete: String,
    /// What is noted while this one is under way.
    running: String,
}

/// How far one sync has come.
struct Walk {
    closure: Closure,
    /// What registries were asked about.
    asked: BTreeSet<(ArtifactName, String)>,
    chosen: BTreeSet<(RevisionId, ContentPath)>,
    /// Artifacts that say what clients can have.
    promising: Vec<Requirement>,
    /// All that say something of others.
    statements: BTreeSet<ArtifactName>,
    report: SyncReport,
}

impl Syncer<'_> {
    /// [`run`](Self::run), once it is known that it is not too much.
    pub(super) async fn go(&self, depth: Depth, specs: &[String]) -> Result<SyncReport> {
        if depth == Depth::Solve {
            return self.go_solved(specs).await;
        }
        let running = format!("running {}", self.fence.token);
        let goal = Goal { depth, all: specs.is_empty(), complete: self.complete()?, running };
        let mut walk = Walk {
            closure: Closure::new(CLOSURE_LIMIT),
            asked: BTreeSet::new(),
            chosen: BTreeSet::new(),
            promising: Vec::new(),
            statements: BTreeSet::new(),
            report: SyncReport::default(),
        };
        for root in self.ecosystem.roots(&self.repository.config, specs)? {
            walk.closure.push(root)?;
        }
        loop {
            let wave = walk.closure.take_wave();
            if wave.is_empty() {
                break;
            }
            if self.is_done_already(&wave, &goal, &mut walk).await? {
                return Ok(walk.report);
            }
            // Without the bytes the dependencies of a revision are not known: a scan ends with the roots.
            if depth == Depth::Import {
                self.take(wave, &mut walk).await?;
            }
        }
        if depth == Depth::Import {
            self.take_the_rest(&goal, &mut walk).await?;
        }
        self.end(&goal, walk.report).await
    }

    /// Picks versions that go together before anything is pulled.
    async fn go_solved(&self, specs: &[String]) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let (picks, known) = self.solve(specs, &mut report).await?;
        self.refuse_too_much(&picks).await?;
        self.import(&picks, &mut BTreeSet::new(), &mut report).await?;
        self.compare(&picks, &known, &mut report).await?;
        report.planned = self.planning.as_ref().map(Planning::finish);
        Ok(report)
    }

    /// Asks the registries what they have of a wave that they were not asked about; whether there is nothing to do,
    /// because nothing changed since a sync that left nothing.
    async fn is_done_already(&self, wave: &[Requirement], goal: &Goal, walk: &mut Walk) -> Result<bool> {
        let first = walk.asked.is_empty();
        let unasked = |requirement: &&Requirement| {
            let by = if self.ecosystem.asks_by_constraint() { &*requirement.constraint } else { "" };
            walk.asked.insert((requirement.artifact.clone(), by.to_owned()))
        };
        let new: BTreeSet<ArtifactName> =
            wave.iter().filter(unasked).map(|requirement| requirement.artifact.clone()).collect();
        if !first && self.ecosystem.scope() != Scope::Artifacts {
            return Ok(false);
        }
        let changed = self.discover(new.into_iter().collect(), wave, &mut walk.report).await?;
        if !first || self.ecosystem.scope() != Scope::Registry {
            return Ok(false);
        }
        let whole = goal.depth == Depth::Import && goal.all && self.planning.is_none();
        if whole
            && !changed
            && self.catalog.complete(self.repository.id).await?.as_ref() == Some(&goal.complete)
        {
            return Ok(true);
        }
        if whole || changed {
            self.note_complete(None, whole.then_some(&*goal.running)).await?;
        }
        Ok(false)
    }

    /// Brings in what satisfies a wave, but for artifacts that say what clients can have.
    async fn take(&self, wave: Vec<Requirement>, walk: &mut Walk) -> Result<()> {
        self.note_statements(&wave, &mut walk.statements);
        let (last, wave): (Vec<_>, Vec<_>) =
            wave.into_iter().partition(|requirement| self.promises(&requirement.artifact));
        walk.promising.extend(last);
        let (everything, wave): (Vec<_>, Vec<_>) =
            wave.into_iter().partition(|requirement| requirement.artifact == Requirement::everything());
        self.satisfy(&wave, Wanted::Needed, walk).await?;
        for requirement in &everything {
            self.satisfy_everything(requirement, walk).await?;
        }
        Ok(())
    }

    /// The same for all artifacts that are known.
    async fn satisfy_everything(&self, requirement: &Requirement, walk: &mut Walk) -> Result<()> {
        let mut after: Option<ArtifactName> = None;
        loop {
            let page = self.catalog.artifacts(self.repository.id, after.as_ref(), EVERYTHING_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            let page: Vec<Requirement> = page
                .into_iter()
                .filter(|row| !self.promises(&row.name))
                .map(|row| Requirement { artifact: row.name, ..requirement.clone() })
                .collect();
            self.satisfy(&page, Wanted::IfAny, walk).await?;
        }
    }

    /// Brings in what is known to be needed only now that the closure is here, and last of all what tells clients of it.
    async fn take_the_rest(&self, goal: &Goal, walk: &mut Walk) -> Result<()> {
        if self.decides_ahead() {
            let needed = self.choose_ahead(&walk.chosen, &mut walk.report).await?;
            self.import(&[(Requirement::of_others(), needed)], &mut walk.chosen, &mut walk.report).await?;
        }
        if self.ecosystem.brings_along(&self.repository.config) {
            let along = self.along(&walk.chosen).await?;
            self.satisfy(&along, Wanted::Needed, walk).await?;
        }
        // What was asked for by name is not all that they may say.
        let promising = mem::take(&mut walk.promising);
        let is_all_here = goal.all && walk.report.unsettled == 0;
        let wanted = if is_all_here { promising } else { walk.report.withhold(promising) };
        self.satisfy(&wanted, Wanted::Needed, walk).await?;
        self.let_go(&walk.statements).await
    }

    /// Notes a sync that left nothing to do.
    async fn end(&self, goal: &Goal, mut report: SyncReport) -> Result<SyncReport> {
        let nothing_left = report.failed.is_empty()
            && report.alarms.is_empty()
            && report.missing.is_empty()
            && !self.depends_on_others()?;
        report.planned = self.planning.as_ref().map(Planning::finish);
        if goal.depth == Depth::Import && goal.all && nothing_left && report.planned.is_none() {
            self.note_complete(Some(&goal.running), Some(&goal.complete)).await?;
        }
        Ok(report)
    }

    /// What a sync that left nothing to do depends on, as a digest.
    fn complete(&self) -> Result<String> {
        let registries: Vec<&Registry> = self.sources.iter().map(|source| &source.registry).collect();
        let text = serde_json::to_vec(&(&self.repository.config, registries))
            .map_err(|error| Error::invalid("configuration", error.to_string()))?;
        Ok(Sha256Digest::of(&text).to_string())
    }

    async fn note_complete(&self, since: Option<&str>, complete: Option<&str>) -> Result<()> {
        // Where artifacts are asked for one by one, each has its own cursor, and nothing is saved.
        if self.ecosystem.scope() == Scope::Artifacts {
            return Ok(());
        }
        self.catalog.note_complete(self.repository.id, since, complete, &self.fence).await
    }

    /// Chooses for each requirement, brings in what was chosen, and adds what that asks for to the closure.
    async fn satisfy(&self, wave: &[Requirement], wanted: Wanted, walk: &mut Walk) -> Result<()> {
        let Walk { closure, chosen, report, .. } = walk;
        let picks = self.choose(wave, wanted, report).await?;
        self.import(&picks, chosen, report).await?;
        if self.repository.config.dependencies && !self.decides_ahead() {
            match &self.planning {
                None => self.follow(&picks, closure, report).await?,
                Some(planning) => {
                    for pick in &picks {
                        self.follow_unpulled(planning, pick, closure, report).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Which files satisfy each requirement of a wave.
    async fn choose(
        &self,
        wave: &[Requirement],
        wanted: Wanted,
        report: &mut SyncReport,
    ) -> Result<Vec<(Requirement, Vec<Chosen>)>> {
        let mut picks = Vec::with_capacity(wave.len());
        for requirement in wave {
            self.task.checkpoint()?;
            let candidates = self.catalog.candidates(self.repository.id, &requirement.artifact).await?;
            let mut chosen = self.ecosystem.choose(&self.repository.config, requirement, &candidates)?;
            if chosen.is_empty() {
                // What would satisfy it but for a decision is told with that decision.
                let open = candidates.into_iter().map(undecided).collect::<Vec<_>>();
                chosen = self.ecosystem.choose(&self.repository.config, requirement, &open)?;
            }
            if chosen.is_empty() && wanted == Wanted::Needed {
                report.unsatisfied(requirement);
            }
            picks.push((requirement.clone(), chosen));
        }
        Ok(picks)
    }

    /// Adds what the files of some picks ask for to the closure.
    async fn follow(
        &self,
        picks: &[(Requirement, Vec<Chosen>)],
        closure: &mut Closure,
        report: &mut SyncReport,
    ) -> Result<()> {
        let Some(dependencies) = self.ecosystem.dependencies() else { return Ok(()) };
        let picks =
            picks.iter().flat_map(|(requirement, chosen)| chosen.iter().map(move |one| (requirement, one)));
        let picks: Vec<(&Requirement, &Chosen)> = picks.collect();
        for part in picks.chunks(FOLLOWED_AT_ONCE) {
            let rows = self.rows_of(part.iter().map(|(_, pick)| pick.id)).await?;
            for (requirement, pick) in part {
                let (revision, files) =
                    rows.get(&pick.id).ok_or_else(|| Error::not_found("revision", pick.id.0))?;
                if revision.status.is_refused() {
                    continue;
                }
                let owner = format!("{}@{}", revision.artifact, revision.revision);
                let inspected = files.iter().filter(|file| pick.paths.contains(&file.path));
                for inspection in inspected.filter_map(|file| file.inspection.as_ref()) {
                    let asked =
                        dependencies.requirements(&self.repository.config, requirement, &owner, inspection);
                    match revision_error(asked)? {
                        Ok(asked) => asked.into_iter().try_for_each(|needed| closure.push(needed))?,
                        // What one revision asks for must not end the sync of all others.
                        Err(error) => report.refused(&error),
                    }
                }
            }
        }
        Ok(())
    }
}

/// The candidate as if nobody had refused it.
fn undecided(mut candidate: Candidate) -> Candidate {
    if candidate.status.is_refused() {
        candidate.status = Status::Scanned;
    }
    candidate
}
