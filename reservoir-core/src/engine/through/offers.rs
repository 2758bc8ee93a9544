//! What the registries offer of an artifact, no older than the cache allows, or as it last was.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use quick_cache::Weighter;
use tokio::sync::watch;

use super::{ArtifactKey, PATIENCE, Through, Work, failure::told};
use crate::{
    catalog::Fence,
    ecosystem::Offer,
    error::{Error, Result},
    name::ArtifactName,
    serve::Response,
    sync::SyncReport,
};

/// Seconds since the registry last answered for a page, on pages that are older than they should be.
const STALE_PAGE: HeaderName = HeaderName::from_static("x-reservoir-stale-page");

/// How long a name that nobody knows is not asked about again, at most.
pub(super) const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// How long a registry that failed is left alone while there is something to show.
pub(super) const AWAY_FOR: Duration = Duration::from_secs(15);
/// How long a client waits for news of a page that it could have as it was.
pub(super) const NEWS: Duration = Duration::from_secs(3);

/// How the asking of one artifact goes; `None` until it has ended.
pub(super) type Asking = watch::Receiver<Option<Answer>>;
/// What came of it: the offer, or that nobody knows the name.
type Answer = Result<Option<Arc<Offer>>, Arc<Error>>;

/// What is remembered of an artifact.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// When the registry last answered; `None` when it has not since this process began.
    checked: Option<Instant>,
    /// When it last failed, if that was after.
    failed: Option<Instant>,
    /// What is on offer; `None` when nobody knows the name.
    offer: Option<Arc<Offer>>,
    /// Something of it arrived or was decided since the offer was read.
    outdated: bool,
    /// The serving state that the offer was read under: a decision made elsewhere raises it.
    epoch: i64,
}

/// Offers are bounded by their files.
#[derive(Debug, Clone)]
pub(super) struct Weight;

impl Weighter<ArtifactKey, Known> for Weight {
    fn weight(&self, _: &ArtifactKey, known: &Known) -> u64 {
        let files = |offer: &Arc<Offer>| offer.candidates.iter().map(|one| one.files.len() as u64 + 1).sum();
        4 + known.offer.as_ref().map_or(0, files)
    }
}

/// An offer as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What is on offer.
    pub offer: Arc<Offer>,
    /// How old it is, when that is older than it should be.
    pub stale: Option<Duration>,
}

impl Shown {
    /// Says on a response made of it that it is older than it should be, where it is.
    pub fn mark(&self, response: &mut Response) {
        if let Some(age) = self.stale {
            response.headers.insert(STALE_PAGE, HeaderValue::from(age.as_secs()));
        }
    }
}

impl Through {
    /// The offer of one artifact: from memory while it is fresh, else the registry is asked, once for all who
    /// want to know. Whoever could have it as it was does not wait long.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that nobody knows; what the registry gives when there is nothing to show.
    pub async fn offer(&self, artifact: &ArtifactName) -> Result<Shown> {
        let key = (self.repository.id, artifact.clone());
        if let Some(known) = self.fresh(&key) {
            return self.shown(&key, &known, None).await;
        }
        let mut known = self.shared().offers.get(&key);
        if known.is_none() {
            known = self.remembered(&key).await?;
        }
        let old = known.filter(|known| known.offer.is_some());
        if let Some(old) = &old
            && old.failed.is_some_and(|at| at.elapsed() < AWAY_FOR)
        {
            return self.shown(&key, old, Some(age(old))).await;
        }
        let mut asking = self.ask(&key);
        let patience = if old.is_some() { NEWS } else { PATIENCE };
        let answer = match tokio::time::timeout(patience, asking.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone(),
            // The run was dropped: the program is about to end.
            Ok(Err(_)) => Some(Err(Arc::new(Error::Cancelled))),
            Err(_) => None,
        };
        match (answer, old) {
            (Some(Ok(Some(offer))), _) => Ok(Shown { offer, stale: None }),
            (Some(Ok(None)), _) => Err(Error::not_found("project", artifact)),
            (_, Some(old)) => self.shown(&key, &old, Some(age(&old))).await,
            (Some(Err(error)), None) => Err(told(&error, artifact.as_str())),
            (None, None) => {
                Err(Error::Unreachable { url: artifact.to_string(), detail: "it takes too long".into() })
            }
        }
    }

    /// The offer of one artifact, asked for again however fresh it is, unless that was tried `lately`: for what
    /// something else says to have changed. Waits as [`offer`](Self::offer) does, with its errors.
    pub async fn renewed(&self, artifact: &ArtifactName, lately: Duration) -> Result<Shown> {
        let key = (self.repository.id, artifact.clone());
        if let Some(known) = self.shared().offers.get(&key) {
            let tried = known.checked.into_iter().chain(known.failed).max();
            if tried.is_none_or(|at| at.elapsed() >= lately) {
                self.shared().offers.insert(key, Known { checked: None, failed: None, ..known });
            }
        }
        self.offer(artifact).await
    }

    /// What the registry said so lately that it is not asked again.
    fn fresh(&self, key: &ArtifactKey) -> Option<Known> {
        let is_fresh = |known: &Known| {
            // A name that nobody knew may have been uploaded since.
            let may_be_here = self.repository.config.takes_uploads() && known.epoch != self.epoch;
            (known.offer.is_some() || !may_be_here)
                && known.checked.is_some_and(|at| at.elapsed() < self.good_for(known))
        };
        self.shared().offers.get(key).filter(is_fresh)
    }

    fn good_for(&self, known: &Known) -> Duration {
        match known.offer {
            Some(_) => self.options.fresh_for,
            None => self.options.fresh_for.min(UNKNOWN_FOR),
        }
    }

    /// What is known, read anew where something changed here.
    async fn shown(&self, key: &ArtifactKey, known: &Known, stale: Option<Duration>) -> Result<Shown> {
        let Some(offer) = &known.offer else { return Err(Error::not_found("project", &key.1)) };
        if !known.outdated && known.epoch == self.epoch {
            return Ok(Shown { offer: Arc::clone(offer), stale });
        }
        let offer = self.read_offer(key, Some(offer)).await?;
        let offer = offer.ok_or_else(|| Error::not_found("project", &key.1))?;
        let known =
            Known { offer: Some(Arc::clone(&offer)), outdated: false, epoch: self.epoch, ..known.clone() };
        self.shared().offers.insert(key.clone(), known);
        Ok(Shown { offer, stale })
    }

    /// What the catalog remembers of an artifact from before this process began.
    async fn remembered(&self, key: &ArtifactKey) -> Result<Option<Known>> {
        let offer = self.read_offer(key, None).await?;
        Ok(offer.map(|offer| Known {
            checked: None,
            failed: None,
            offer: Some(offer),
            outdated: false,
            epoch: self.epoch,
        }))
    }

    /// Joins the asking that is under way, or starts one.
    fn ask(&self, key: &ArtifactKey) -> Asking {
        self.shared().asked.join(key.clone(), || {
            let (tell, told) = watch::channel(None);
            let (through, key) = (self.clone(), key.clone());
            // Boxed, so that the compiler sees that it may move between threads.
            let work: BoxFuture<'static, ()> = Box::pin(async move {
                // Whoever came while the run before this one ended need not ask again.
                if let Some(known) = through.fresh(&key) {
                    tell.send_replace(Some(Ok(known.offer)));
                    return;
                }
                let answer = through.asked(&key).await.map_err(Arc::new);
                let shared = through.shared();
                let now = Instant::now();
                match &answer {
                    Ok(offer) => {
                        let (offer, epoch) = (offer.clone(), through.epoch);
                        let checked = Some(now);
                        let known = Known { checked, failed: None, offer, outdated: false, epoch };
                        shared.offers.insert(key, known);
                    }
                    Err(error) => {
                        tracing::warn!(artifact = %key.1, %error, "a registry does not answer");
                        let known = match shared.offers.get(&key) {
                            Some(known) => Some(known),
                            None => through.remembered(&key).await.ok().flatten(),
                        };
                        if let Some(known) = known {
                            shared.offers.insert(key, Known { failed: Some(now), ..known });
                        }
                    }
                }
                tell.send_replace(Some(answer));
            });
            (told, work)
        })
    }

    /// Asks the registries in order. One that is away does not make the next one win.
    async fn asked(&self, key: &ArtifactKey) -> Result<Option<Arc<Offer>>> {
        if self.repository.config.takes_uploads() {
            let internal = self.engine.inner.catalog.internal(key.0, std::slice::from_ref(&key.1)).await?;
            if !internal.is_empty() {
                return self.read_offer(key, None).await;
            }
        }
        // What is on offer is recorded without a lease: units are whole, and the last one stays.
        let fence = Fence { lease: format!("offer/{}", key.1), token: 0 };
        let work = Work::new(self, fence).await?;
        let syncer = work.syncer(true, None).await?;
        let mut report = SyncReport::default();
        let wanted = std::slice::from_ref(&key.1);
        let (mut unknown, mut changed) = (true, false);
        for source in &syncer.sources {
            let asked = syncer.ask(source, wanted, &[], &mut report).await?;
            changed |= asked.changed;
            if asked.missing.is_empty() {
                unknown = false;
                break;
            }
        }
        if changed {
            self.engine.inner.catalog.forget_complete(key.0).await?;
        }
        let last = self.shared().offers.get(key).and_then(|known| known.offer);
        match self.read_offer(key, last.as_ref()).await? {
            // Withdrawn by its registry: what is here stays, and the name stays known, so that no client looks for
            // it elsewhere.
            Some(offer) if unknown => {
                self.engine.inner.catalog.missing(key.0, &key.1).await?;
                let mut held = Offer::clone(&offer);
                held.candidates.iter_mut().for_each(|candidate| {
                    candidate.files.retain(|file| file.inspection.is_some());
                });
                held.version = self.next_version();
                Ok(Some(Arc::new(held)))
            }
            None if !unknown => Err(Error::Untrusted {
                what: format!("what the registry says of `{}`", key.1),
                reason: report.alarms.into_iter().next().unwrap_or_else(|| "it has no files".into()),
            }),
            offer => Ok(offer),
        }
    }

    /// The offer as the catalog has it; the very `last` one when nothing in it differs. `None` when the name is not
    /// known.
    async fn read_offer(&self, key: &ArtifactKey, last: Option<&Arc<Offer>>) -> Result<Option<Arc<Offer>>> {
        let catalog = &self.engine.inner.catalog;
        let Some(artifact) = catalog.artifact(key.0, &key.1).await? else { return Ok(None) };
        let mut candidates = catalog.candidates(key.0, &key.1).await?;
        candidates.retain(|candidate| !candidate.status.is_refused());
        let denied = &self.denials.digests;
        for candidate in candidates.iter_mut().filter(|_| !denied.is_empty()) {
            candidate.files.retain(|file| file.sha256.is_none_or(|sha256| !denied.contains_key(&sha256)));
        }
        if let Some(last) = last
            && last.candidates == candidates
            && (&last.attributes, &last.quarantined) == (&artifact.attributes, &artifact.quarantined)
        {
            return Ok(Some(Arc::clone(last)));
        }
        Ok(Some(Arc::new(Offer {
            artifact: key.1.clone(),
            attributes: artifact.attributes,
            quarantined: artifact.quarantined,
            candidates,
            version: self.next_version(),
        })))
    }

    fn next_version(&self) -> u64 {
        self.shared().versions.fetch_add(1, Ordering::Relaxed)
    }

    /// Has the offer read again by the next who asks for it.
    pub(super) fn outdate(&self, artifact: &ArtifactName) {
        let key = (self.repository.id, artifact.clone());
        if let Some(known) = self.shared().offers.get(&key) {
            self.shared().offers.insert(key, Known { outdated: true, ..known });
        }
    }
}

fn age(known: &Known) -> Duration {
    known.checked.map_or(Duration::ZERO, |at| at.elapsed())
}
