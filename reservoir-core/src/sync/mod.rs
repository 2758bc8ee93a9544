//! discover -> select -> pull -> inspect -> gate; the engine publishes what came through.

mod ahead;
mod begin;
mod discover;
mod judge;
mod limit;
mod lock;
mod one;
mod partial;
mod plan;
mod pull;
mod receive;
mod report;
mod solve;
mod statements;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{Semaphore, mpsc};

pub use self::plan::{Plan, Planned};
pub use self::report::{FileProblem, SyncReport, Waiting};
use self::{
    begin::{Part, WantedFiles},
    judge::Looked,
};
pub(crate) use self::{partial::Partials, plan::Planning};
use crate::{
    catalog::{Catalog, Fence, Repository},
    depends::Closure,
    digest::Sha256Digest,
    ecosystem::{Candidate, Chosen, Ecosystem, Registry, Requirement, Scope, SystemRegistry},
    engine::pinned::PinnedStore,
    error::{Error, ErrorKind, Result},
    fetch::{Arriving, Fetcher, without_userinfo},
    gate::Scanner,
    lifecycle::{RevisionId, Status},
    name::{Actor, ArtifactName, RegistryName},
    path::ContentPath,
    task::{Progress, TaskContext},
};

/// Revisions recorded in one transaction, at most.
const RECORDED_AT_ONCE: usize = 128;
/// How long those that were judged wait for others, to be recorded together.
const GATHERED_FOR: Duration = Duration::from_millis(50);
/// Revisions worked on at once; the fetcher limits transfers a registry.
const REVISIONS_AT_ONCE: usize = 8;
/// Revisions whose requirements are read together.
const FOLLOWED_AT_ONCE: usize = 200;
/// Distinct requirements one closure may grow to.
const CLOSURE_LIMIT: usize = 200_000;
/// Artifacts chosen from and pulled together, where a selection wants all there are.
const EVERYTHING_AT_ONCE: u32 = 500;

/// A registry, ready to be read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) registry: Registry,
    pub(crate) fetcher: Fetcher,
}

/// Everything one sync of one repository needs.
#[derive(Debug)]
pub(crate) struct Syncer<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) store: PinnedStore,
    pub(crate) ecosystem: Arc<dyn Ecosystem>,
    pub(crate) scanners: &'a [Arc<dyn Scanner>],
    pub(crate) partials: Partials,
    pub(crate) sources: Vec<Source>,
    pub(crate) repository: &'a Repository,
    pub(crate) task: &'a TaskContext,
    pub(crate) fence: Fence,
    pub(crate) actor: Actor,
    /// Told where the partial file of a download is and how far it has come.
    pub(crate) follower: Option<Follower<'a>>,
    /// Where to note what would be pulled, when nothing is to be.
    pub(crate) planning: Option<Planning>,
}

/// Who follows a partial file while it grows.
#[derive(Clone, Copy)]
pub(crate) struct Follower<'a>(pub(crate) &'a (dyn Fn(&Path, Arriving) + Sync));

impl std::fmt::Debug for Follower<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Follower")
    }
}

/// What a sync does beyond asking the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Only record what the registries offer.
    Scan,
    /// Pull what the selection wants, too.
    Import,
    /// Pull versions that go together, picked for each target before anything is pulled.
    Solve,
}

/// What it means that nothing satisfies a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Something is missing.
    Needed,
    /// Nothing: a selection of everything does not want everything of each artifact.
    IfAny,
}

/// Resolves `url = "system"` and scopes a fetcher for each registry.
pub(crate) async fn sources(
    catalog: &Catalog,
    ecosystem: &dyn Ecosystem,
    fetcher: &Fetcher,
    registries: &[RegistryName],
) -> Result<Vec<Source>> {
    let mut sources = Vec::with_capacity(registries.len());
    let mut system: Option<SystemRegistry> = None;
    for name in registries {
        let mut registry = catalog.registry(name).await?;
        let mut found = None;
        if registry.url.is_none() {
            if system.is_none() {
                system = Some(ecosystem.system_registry().await?);
            }
            found = system.as_ref();
            registry.url = found.map(|system| system.url.clone());
        }
        let fetcher = fetcher.scoped(&registry, found)?;
        // The fetcher keeps the credentials; nobody else sees them.
        registry.url = registry.url.as_ref().map(without_userinfo);
        sources.push(Source { registry, fetcher });
    }
    Ok(sources)
}

impl Syncer<'_> {
    /// [`run`](Self::run), once it is known that it is not too much.
    async fn go(&self, depth: Depth, specs: &[String]) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        if depth == Depth::Solve {
            let (picks, known) = self.solve(specs, &mut report).await?;
            self.refuse_too_much(&picks).await?;
            self.import(&picks, &mut BTreeSet::new(), &mut report).await?;
            self.compare(&picks, &known, &mut report).await?;
            report.planned = self.planning.as_ref().map(Planning::finish);
            return Ok(report);
        }
        let mut closure = Closure::new(CLOSURE_LIMIT);
        for root in self.ecosystem.roots(&self.repository.config, specs)? {
            closure.push(root)?;
        }
        let mut asked = BTreeSet::new();
        let mut chosen_before: BTreeSet<(RevisionId, ContentPath)> = BTreeSet::new();
        let complete = self.complete()?;
        let running = format!("running {}", self.fence.token);
        // Artifacts that say what clients can have; and all that say something of others.
        let mut promising: Vec<Requirement> = Vec::new();
        let mut statements: BTreeSet<ArtifactName> = BTreeSet::new();
        loop {
            let wave = closure.take_wave();
            if wave.is_empty() {
                break;
            }
            let first = asked.is_empty();
            let unasked = |requirement: &&Requirement| {
                let by = if self.ecosystem.asks_by_constraint() { &*requirement.constraint } else { "" };
                asked.insert((requirement.artifact.clone(), by.to_owned()))
            };
            let new: BTreeSet<ArtifactName> =
                wave.iter().filter(unasked).map(|requirement| requirement.artifact.clone()).collect();
            if first || self.ecosystem.scope() == Scope::Artifacts {
                let changed = self.discover(new.into_iter().collect(), &wave, &mut report).await?;
                if first && self.ecosystem.scope() == Scope::Registry {
                    let whole = depth == Depth::Import && specs.is_empty() && self.planning.is_none();
                    if whole
                        && !changed
                        && self.catalog.complete(self.repository.id).await?.as_ref() == Some(&complete)
                    {
                        return Ok(report);
                    }
                    if whole || changed {
                        self.note_complete(None, whole.then_some(&*running)).await?;
                    }
                }
            }
            if depth == Depth::Scan {
                // Without the bytes the dependencies of a revision are not known: a scan ends with the roots.
                continue;
            }
            self.note_statements(&wave, &mut statements);
            let (last, wave): (Vec<_>, Vec<_>) =
                wave.into_iter().partition(|requirement| self.promises(&requirement.artifact));
            promising.extend(last);
            let (everything, wave): (Vec<_>, Vec<_>) =
                wave.into_iter().partition(|requirement| requirement.artifact == Requirement::everything());
            self.satisfy(&wave, Wanted::Needed, &mut closure, &mut chosen_before, &mut report).await?;
            for requirement in &everything {
                let mut after: Option<ArtifactName> = None;
                loop {
                    let page = self
                        .catalog
                        .artifacts(self.repository.id, after.as_ref(), EVERYTHING_AT_ONCE)
                        .await?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.name.clone());
                    let page: Vec<Requirement> = page
                        .into_iter()
                        .filter(|row| !self.promises(&row.name))
                        .map(|row| Requirement { artifact: row.name, ..requirement.clone() })
                        .collect();
                    self.satisfy(&page, Wanted::IfAny, &mut closure, &mut chosen_before, &mut report).await?;
                }
            }
        }
        if depth == Depth::Import && self.decides_ahead() {
            let needed = self.choose_ahead(&chosen_before, &mut report).await?;
            self.import(&[(Requirement::of_others(), needed)], &mut chosen_before, &mut report).await?;
        }
        if depth == Depth::Import && self.ecosystem.brings_along(&self.repository.config) {
            let along = self.along(&chosen_before).await?;
            self.satisfy(&along, Wanted::Needed, &mut closure, &mut chosen_before, &mut report).await?;
        }
        if depth == Depth::Import {
            // What was asked for by name is not all that they may say.
            let is_all_here = specs.is_empty() && report.unsettled == 0;
            let wanted = if is_all_here { promising } else { report.withhold(promising) };
            self.satisfy(&wanted, Wanted::Needed, &mut closure, &mut chosen_before, &mut report).await?;
            self.let_go(&statements).await?;
        }
        let nothing_left = report.failed.is_empty()
            && report.alarms.is_empty()
            && report.missing.is_empty()
            && !self.depends_on_others()?;
        report.planned = self.planning.as_ref().map(Planning::finish);
        if depth == Depth::Import && specs.is_empty() && nothing_left && report.planned.is_none() {
            self.note_complete(Some(&running), Some(&complete)).await?;
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
    async fn satisfy(
        &self,
        wave: &[Requirement],
        wanted: Wanted,
        closure: &mut Closure,
        chosen_before: &mut BTreeSet<(RevisionId, ContentPath)>,
        report: &mut SyncReport,
    ) -> Result<()> {
        let picks = self.choose(wave, wanted, report).await?;
        self.import(&picks, chosen_before, report).await?;
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

    /// Inspects and judges files of revisions whose bytes are here, because they were uploaded.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) async fn take_in(&self, uploads: &[(RevisionId, Vec<ContentPath>)]) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        for (id, paths) in uploads {
            report.add(self.bring_or_say_why(*id, paths).await?);
        }
        Ok(report)
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

    /// Pulls, inspects and judges what was chosen and not looked at in this sync before.
    async fn import(
        &self,
        picks: &[(Requirement, Vec<Chosen>)],
        done: &mut BTreeSet<(RevisionId, ContentPath)>,
        report: &mut SyncReport,
    ) -> Result<()> {
        let mut wanted: HashMap<RevisionId, Vec<ContentPath>> = HashMap::new();
        for chosen in picks.iter().flat_map(|(_, chosen)| chosen) {
            for path in &chosen.paths {
                if done.insert((chosen.id, path.clone())) {
                    wanted.entry(chosen.id).or_default().push(path.clone());
                }
            }
        }
        if let Some(planning) = &self.planning {
            return self.plan(planning, wanted.into_iter().collect()).await;
        }
        let total = wanted.values().map(|paths| paths.len() as u64).sum();
        let mut order: Vec<WantedFiles> = wanted.into_iter().collect();
        order.sort_unstable_by_key(|(id, _)| *id);
        self.refuse_too_much_more(&order, report.fetched_bytes).await?;
        self.task.report(Progress::Phase { name: "pull", total: Some(total) });
        // Whatever was judged while the last ones were being recorded is recorded together. Both sides are polled all
        // the time, as one that looks may be holding the catalog's write lock, which the other waits for: so nothing
        // waits for room to send, and whoever begins to look waits for a place instead, before it holds anything.
        let places = Semaphore::new(RECORDED_AT_ONCE + REVISIONS_AT_ONCE);
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let places = &places;
        let look = async move {
            let looks = Part::each_of(order).map(|share| {
                let look = async move {
                    // It is never closed.
                    let place = places.acquire().await.map_err(|_| Error::Cancelled)?;
                    self.task.checkpoint()?;
                    Ok((self.look_or_say_why(&share).await?, place))
                };
                look.boxed()
            });
            let mut looks = stream::iter(looks).buffer_unordered(REVISIONS_AT_ONCE);
            while let Some(looked) = looks.try_next().await? {
                if sender.send(looked).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let record = async {
            let mut looked = Vec::new();
            while gather(&mut receiver, &mut looked).await {
                let mut judged = Vec::with_capacity(looked.len());
                let (looked, _places): (Vec<_>, Vec<_>) = looked.drain(..).unzip();
                for looked in looked {
                    match looked {
                        Looked::Over(outcome) => report.add(*outcome),
                        Looked::Judged(one) => judged.push(*one),
                    }
                }
                for outcome in self.conclude(judged).await? {
                    report.add(outcome);
                }
            }
            Ok(())
        };
        futures::try_join!(look, record).map(|((), ())| ())
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
                    match pull::revision_error(asked)? {
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

/// Takes what has come, and what comes soon; nothing any more once the other side is done.
async fn gather<T>(receiver: &mut mpsc::UnboundedReceiver<T>, gathered: &mut Vec<T>) -> bool {
    let all = async {
        // Whatever is taken is in `gathered`, however far this gets.
        while gathered.len() < RECORDED_AT_ONCE
            && receiver.recv_many(gathered, RECORDED_AT_ONCE - gathered.len()).await > 0
        {}
    };
    if tokio::time::timeout(GATHERED_FOR, all).await.is_err() && gathered.is_empty() {
        receiver.recv_many(gathered, RECORDED_AT_ONCE).await;
    }
    !gathered.is_empty()
}

/// The candidate as if nobody had refused it.
fn undecided(mut candidate: Candidate) -> Candidate {
    if candidate.status.is_refused() {
        candidate.status = Status::Scanned;
    }
    candidate
}

/// Whether an error concerns the whole sync rather than one revision.
pub(crate) fn is_fatal(error: &Error) -> bool {
    matches!(error, Error::Fenced { .. } | Error::NoSpace { .. })
        || matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Backend | ErrorKind::TooNew)
}
