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
mod waves;

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
    ecosystem::{Chosen, Ecosystem, Registry, Requirement, SystemRegistry},
    engine::pinned::PinnedStore,
    error::{Error, ErrorKind, Result},
    fetch::{Arriving, Fetcher, without_userinfo},
    gate::Scanner,
    lifecycle::RevisionId,
    name::{Actor, RegistryName},
    path::ContentPath,
    task::{Progress, TaskContext},
};

/// Revisions recorded in one transaction, at most.
const RECORDED_AT_ONCE: usize = 128;
/// How long those that were judged wait for others, to be recorded together.
const GATHERED_FOR: Duration = Duration::from_millis(50);
/// Revisions worked on at once; the fetcher limits transfers a registry.
const REVISIONS_AT_ONCE: usize = 8;

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

/// Whether an error concerns the whole sync rather than one revision.
pub(crate) fn is_fatal(error: &Error) -> bool {
    matches!(error, Error::Fenced { .. } | Error::NoSpace { .. })
        || matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Backend | ErrorKind::TooNew)
}
