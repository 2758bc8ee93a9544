//! Asking the registries about one requirement, for formats whose names of revisions must be asked for one by one
//! (the branch of a model) and whose artifacts may have more files than an offer in memory should.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::{
    PATIENCE, Through, Work,
    failure::told,
    offers::{AWAY_FOR, NEWS, UNKNOWN_FOR},
    runs::Runs,
};
use crate::{
    catalog::{Fence, RepositoryId},
    ecosystem::Requirement,
    error::{Error, Result},
    name::ArtifactName,
    sync::SyncReport,
};

/// Questions whose answers are remembered, of all caches.
const QUESTIONS: usize = 16 << 10;

type Question = (RepositoryId, ArtifactName, String);
type Answer = Result<bool, Arc<Error>>;

/// What was asked lately, and what is being asked.
#[derive(Debug)]
pub(super) struct Questions {
    asked: Cache<Question, Known>,
    running: Runs<Question, watch::Receiver<Option<Answer>>>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { asked: Cache::new(QUESTIONS), running: Runs::default() }
    }
}

/// What is remembered of a question.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// When a registry last answered, and whether it knew the artifact.
    answered: Option<(Instant, bool)>,
    /// When none did, if that was after.
    failed: Option<Instant>,
}

/// What came of asking; what was learned is in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// Whether a registry knows the artifact.
    pub known: bool,
    /// How old the answer is, when that is older than it should be because the registry is away.
    pub stale: Option<Duration>,
}

impl Through {
    /// Has the registries asked about a requirement, unless they were within
    /// [`fresh_for`](Self::fresh_for): once for all who want to know, and nobody who leaves ends it. Read what came
    /// of it by [`one_of_each`](Self::one_of_each), [`known`](Self::known) and [`artifact`](Self::artifact).
    ///
    /// # Errors
    /// What the registry gives when it is away and nothing is known of the artifact; [`Error::Untrusted`] when what
    /// it says cannot be believed and nothing is known.
    pub async fn ask_about(&self, requirement: &Requirement) -> Result<News> {
        let artifact = &requirement.artifact;
        let key = (self.repository.id, artifact.clone(), requirement.constraint.clone());
        let questions = &self.shared().questions;
        if let Some(known) = self.fresh_answer(&key) {
            return Ok(News { known, stale: None });
        }
        let old = questions.asked.get(&key);
        let known_before = self.artifact(artifact).await?.is_some();
        let age = old.and_then(|old| old.answered).map_or(Duration::ZERO, |(at, _)| at.elapsed());
        let as_it_was = News { known: true, stale: Some(age) };
        let lately = old.and_then(|old| old.failed).is_some_and(|at| at.elapsed() < AWAY_FOR);
        if known_before && lately {
            return Ok(as_it_was);
        }
        let mut asking = self.question(&key, requirement);
        let patience = if known_before { NEWS } else { PATIENCE };
        let answer = match tokio::time::timeout(patience, asking.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone(),
            // The run was dropped: the program is about to end.
            Ok(Err(_)) => Some(Err(Arc::new(Error::Cancelled))),
            Err(_) => None,
        };
        match answer {
            Some(Ok(known)) => Ok(News { known, stale: None }),
            _ if known_before => Ok(as_it_was),
            Some(Err(error)) => Err(told(&error, artifact.as_str())),
            None => Err(Error::Unreachable { url: artifact.to_string(), detail: "it takes too long".into() }),
        }
    }

    fn fresh_answer(&self, key: &Question) -> Option<bool> {
        let (at, known) = self.shared().questions.asked.get(key)?.answered?;
        let good_for = if known { self.options.fresh_for } else { self.options.fresh_for.min(UNKNOWN_FOR) };
        (at.elapsed() < good_for).then_some(known)
    }

    /// Joins the asking that is under way, or starts one.
    fn question(&self, key: &Question, requirement: &Requirement) -> watch::Receiver<Option<Answer>> {
        self.shared().questions.running.join(key.clone(), || {
            let (tell, told) = watch::channel(None);
            let (through, key, requirement) = (self.clone(), key.clone(), requirement.clone());
            // Boxed, so that the compiler sees that it may move between threads.
            let work: BoxFuture<'static, ()> = Box::pin(async move {
                // Whoever came while the run before this one ended need not ask again.
                if let Some(known) = through.fresh_answer(&key) {
                    tell.send_replace(Some(Ok(known)));
                    return;
                }
                let answer = through.put_question(&requirement).await.map_err(Arc::new);
                let asked = &through.shared().questions.asked;
                let known = match &answer {
                    Ok(known) => Known { answered: Some((Instant::now(), *known)), failed: None },
                    Err(error) => {
                        tracing::warn!(artifact = %key.1, %error, "a registry does not answer");
                        let answered = asked.get(&key).and_then(|known| known.answered);
                        Known { answered, failed: Some(Instant::now()) }
                    }
                };
                asked.insert(key, known);
                tell.send_replace(Some(answer));
            });
            (told, work)
        })
    }

    /// Asks the registries in order. One that is away does not make the next one win.
    async fn put_question(&self, requirement: &Requirement) -> Result<bool> {
        // What is on offer is recorded without a lease: units are whole, and the last one stays.
        let fence = Fence { lease: format!("offer/{}", requirement.artifact), token: 0 };
        let work = Work::new(self, fence).await?;
        let syncer = work.syncer(true, None).await?;
        let mut report = SyncReport::default();
        let wanted = std::slice::from_ref(&requirement.artifact);
        let (mut known, mut changed) = (false, false);
        for source in &syncer.sources {
            let asked = syncer.ask(source, wanted, std::slice::from_ref(requirement), &mut report).await?;
            changed |= asked.changed;
            if asked.missing.is_empty() {
                known = true;
                break;
            }
        }
        let catalog = &self.engine.inner.catalog;
        if changed {
            catalog.forget_complete(self.repository.id).await?;
        }
        if !known {
            catalog.missing(self.repository.id, &requirement.artifact).await?;
        }
        match report.alarms.into_iter().next() {
            Some(reason) => Err(Error::Untrusted {
                what: format!("what the registry says of `{}`", requirement.artifact),
                reason,
            }),
            None => Ok(known),
        }
    }
}
