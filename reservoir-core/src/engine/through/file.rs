//! One file, brought by one run for all who ask for it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::Method;

use super::{
    FileKey, PATIENCE, Through, Work, actor,
    failure::{failed, not_yet, told},
    lease, lock,
};
use crate::{
    catalog::FileRow,
    digest::Sha256Digest,
    ecosystem::Approval,
    engine::run::{keep_alive, wait_for_lease},
    error::{Error, Result, chain},
    fetch::Arriving,
    path::ContentPath,
    serve::{
        FileOptions, Request, Response,
        arriving::{self, Arrival, End},
        file,
    },
    snapshot::Entry,
    store::Blob,
    sync::Follower,
};

/// How long a client that may follow is kept waiting for the end, which can be told more clearly than a response
/// that breaks off.
const GRACE: Duration = Duration::from_millis(250);
/// Files of more bytes take longer than that anyway: they are followed at once.
const SHORT: u64 = 4 << 20;
/// How long a run that failed is not tried again.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// How long a run waits for another process that brings the same file.
const ELSEWHERE: Duration = Duration::from_mins(30);

impl Through {
    /// Answers with a file that [`find`](Self::find) found on offer: brings it, unless that is under way. What may
    /// leave before it is AVAILABLE is said in ARCHITECTURE.md under "Pull-through". Dropping the future or the
    /// body ends nothing but this answer.
    ///
    /// # Errors
    /// [`Error::Denied`] for what is denied; what a run reports is a response.
    pub async fn bring(&self, request: &Request, file: FileRow, options: FileOptions) -> Result<Response> {
        if !request.is_read() {
            return Ok(Response::method_not_allowed(file::READ_METHODS));
        }
        if let Some(reason) = file.sha256.and_then(|sha256| self.denials.digests.get(&sha256)) {
            let what = format!("`{}`", file.path.file_name());
            return Err(Error::Denied { what, reason: reason.clone() });
        }
        if let Some(sha256) = file.sha256
            && let Some(response) =
                file::known_already(request, sha256, &options, self.repository.created_at)?
        {
            return Ok(response);
        }
        let key = (self.repository.id, file.path.clone());
        if let Some((at, error)) = self.shared().failures.get(&key)
            && at.elapsed() < FAILED_FOR
        {
            return Ok(failed(&error));
        }
        let expected = self.may_follow(&file);
        let arrival = self.run(key, file);
        self.answer(request, expected, &arrival, options).await
    }

    /// The rule: what was announced by its digest, where nobody but us has to look at all of it first.
    fn may_follow(&self, file: &FileRow) -> Option<Sha256Digest> {
        let automatic = self.repository.config.approval == Approval::Automatic;
        let ecosystem = &self.repository.config.ecosystem;
        let mut asked = self.engine.inner.scanners.iter().filter(|scanner| scanner.judges(ecosystem));
        let let_go = asked.all(|scanner| scanner.lets_follow(&file.path));
        file.sha256.filter(|_| automatic && let_go && file.blob.is_none())
    }

    /// Brings a file that [`known`](Self::known) found on offer, for the format's own use, and waits for it as long
    /// as `patience`. The run goes on when nobody waits any more.
    ///
    /// # Errors
    /// [`Error::Denied`] for what is refused or waits for a person; [`Error::Unreachable`] when it takes too long;
    /// what the registry gives.
    pub async fn obtain(&self, file: FileRow, patience: Duration) -> Result<Arc<Entry>> {
        let key = (self.repository.id, file.path.clone());
        if let Some((at, error)) = self.shared().failures.get(&key)
            && at.elapsed() < FAILED_FOR
        {
            return Err(told(&error, file.path.file_name()));
        }
        let name = file.path.file_name().to_owned();
        let arrival = self.run(key, file);
        let mut following = arrival.follow();
        let ended = tokio::time::timeout(patience, following.wait_for(|state| state.end.is_some())).await;
        let end = ended.ok().and_then(|state| state.ok().and_then(|state| state.end.clone()));
        match end {
            Some(End::Here(entry)) => self.denied(&entry).map_or_else(|| Ok(Arc::clone(&entry)), Err),
            Some(End::Failed(error)) => Err(told(&error, &name)),
            None => Err(Error::Unreachable { url: name, detail: "it takes too long".into() }),
        }
    }

    fn run(&self, key: FileKey, file: FileRow) -> Arc<Arrival> {
        self.shared().files.join(key.clone(), || {
            let arrival = Arc::new(Arrival::new());
            let (through, running) = (self.clone(), Arc::clone(&arrival));
            let work: BoxFuture<'static, ()> = Box::pin(async move {
                if let Err(error) = through.brought(&file, &running).await {
                    through.give_up(&key, &running, error);
                }
            });
            (arrival, work)
        })
    }

    pub(super) fn give_up(&self, key: &FileKey, arrival: &Arrival, error: Error) {
        tracing::warn!(path = %key.1, error = %chain(&error), "a file could not be brought");
        let error = Arc::new(error);
        self.shared().failures.insert(key.clone(), (Instant::now(), Arc::clone(&error)));
        arrival.end(End::Failed(error));
    }

    /// Brings a file under its lease, tells how it ended, and gives the lease back.
    async fn brought(&self, file: &FileRow, arrival: &Arrival) -> Result<()> {
        let catalog = &self.engine.inner.catalog;
        let _place = self.shared().places.acquire().await.map_err(|_| Error::Cancelled)?;
        let fence = wait_for_lease(catalog, &lease(file.id), ELSEWHERE).await?;
        let work = Work::new(self, fence.clone()).await?;
        let alive = keep_alive(catalog.clone(), fence.clone(), work.owner.clone());
        let result = self.bring_under(&work, &file.path, arrival).await;
        let result = result.map(|entry| {
            self.arrived_one(&entry);
            arrival.end(End::Here(entry));
        });
        drop(alive);
        if let Err(error) = catalog.release_with_pins(&fence, &work.owner).await {
            tracing::warn!(%error, "cannot give a lease back; it will expire");
        }
        result
    }

    async fn bring_under(&self, work: &Work, path: &ContentPath, arrival: &Arrival) -> Result<Arc<Entry>> {
        let (catalog, repository) = (&self.engine.inner.catalog, self.repository.id);
        // Another process may have brought it while this one waited for the lease.
        let file = catalog.file_at(repository, path).await?;
        let file = file.ok_or_else(|| Error::not_found("file", path.as_str()))?;
        if !file.admitted {
            let announced = catalog.announced(file.id).await?;
            let follower = |partial: &Path, news: Arriving| arrival.arrived(partial, news);
            let syncer = work.syncer(false, Some(Follower(&follower))).await?;
            syncer.bring_one(&file, self.shared().turn(file.revision)).await?;
            drop(syncer);
            let entries = catalog.entries_at(repository, path).await?;
            self.compare(&entries, &announced).await?;
            if let Some(entry) = self.shared().overlay(repository, entries, path) {
                return Ok(entry);
            }
        }
        let entries = catalog.entries_at(repository, path).await?;
        let entry = self.shared().overlay(repository, entries, path);
        entry.ok_or_else(|| Error::Denied {
            what: format!("`{}`", path.file_name()),
            reason: "its revision is not available".into(),
        })
    }

    /// What was passed on beside a file before it was here must be what it has inside; the other is withdrawn.
    async fn compare(&self, entries: &[Entry], announced: &[(ContentPath, Blob)]) -> Result<()> {
        for (path, blob) in announced {
            let inside = entries.iter().find(|entry| entry.path == *path);
            let Some(inside) = inside.filter(|inside| inside.blob.sha256 != blob.sha256) else { continue };
            let Some(artifact) = &inside.artifact else { continue };
            let detail = format!(
                "the registry announced `{}`, the file itself has `{}`; the announced one is withdrawn",
                blob.sha256, inside.blob.sha256
            );
            let catalog = &self.engine.inner.catalog;
            let rule = "companion-differs";
            catalog.record_alarm(self.repository.id, artifact, Some(path), rule, &detail, &actor()).await?;
        }
        Ok(())
    }

    /// Has pages and upkeep take notice.
    fn arrived_one(&self, entry: &Entry) {
        if let Some(artifact) = &entry.artifact {
            self.outdate(artifact);
        }
        lock(&self.shared().upkeep).entry(self.repository.id).or_default().arrived += 1;
    }

    /// Waits for the end of a run as long as that is worth while, or follows it.
    pub(super) async fn answer(
        &self,
        request: &Request,
        expected: Option<Sha256Digest>,
        arrival: &Arrival,
        options: FileOptions,
    ) -> Result<Response> {
        let mut following = arrival.follow();
        let begun = Instant::now();
        loop {
            let state = following.borrow_and_update().clone();
            match &state.end {
                Some(End::Here(entry)) => return self.here(request, entry, options).await,
                Some(End::Failed(error)) => return Ok(failed(error)),
                None => {}
            }
            let waited = begun.elapsed();
            let grace = if state.total().is_some_and(|total| total > SHORT) { Duration::ZERO } else { GRACE };
            let head = request.method == Method::HEAD && state.total().is_some();
            if let Some(expected) = expected
                && waited >= grace
                && (head || state.can_be_followed())
            {
                let modified = self.repository.created_at;
                let (following, options) = (following.clone(), options.clone());
                let store = &self.engine.inner.store;
                if let Some(response) =
                    arriving::respond(following, request, expected, options, modified, store).await?
                {
                    return Ok(response);
                }
            }
            if waited >= PATIENCE {
                return Ok(not_yet("the file"));
            }
            let next = if waited < grace && expected.is_some() { grace } else { PATIENCE };
            // Whatever wakes it, the state tells.
            let _ = tokio::time::timeout(next.saturating_sub(waited), following.changed()).await;
        }
    }

    /// Answers with a file that [`find`](Self::find) found here.
    ///
    /// # Errors
    /// [`Error::Denied`] for what is denied meanwhile; those of the store.
    pub async fn here(
        &self,
        request: &Request,
        entry: &Arc<Entry>,
        options: FileOptions,
    ) -> Result<Response> {
        if let Some(denied) = self.denied(entry) {
            return Err(denied);
        }
        self.used(&entry.path);
        let store = &*self.engine.inner.store;
        let answer = file::respond(store, request, entry, options, self.repository.created_at).await;
        if let Err(Error::Integrity { .. }) = &answer
            && store.stat(&entry.blob.sha256).await?.is_none()
        {
            // It was let go of, here or by another process: it is fetched anew for the next who asks.
            self.shared().overlay.remove(&(self.repository.id, entry.path.clone()));
            return Ok(not_yet("the file"));
        }
        answer
    }
}
