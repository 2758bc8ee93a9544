//! How much is asked of one registry at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::FetchOptions;
use crate::ecosystem::RegistryLimits;

/// One further place for what is in haste, for so many places.
const HASTY: usize = 4;

/// Shared by all transfers from one registry.
pub(super) struct Limits {
    requests: Arc<Semaphore>,
    /// Further places, for what a client waits for: large files take all others for minutes.
    hasty: Arc<Semaphore>,
    bandwidth: Option<Bandwidth>,
    /// Until when the registry has asked to be left alone.
    resting: Mutex<Option<Instant>>,
}

/// A queue in time: each transfer books the seconds its bytes are worth, and waits for them.
struct Bandwidth {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Limits {
    pub(super) fn new(options: &FetchOptions) -> Self {
        Self::of(options, RegistryLimits::default())
    }

    /// Those of the options, except where the registry has its own.
    pub(super) fn of(options: &FetchOptions, own: RegistryLimits) -> Self {
        let concurrency = own.concurrency.unwrap_or(options.concurrency);
        let bandwidth = own
            .bandwidth
            .or(options.bandwidth)
            .map(|rate| Bandwidth { bytes_per_second: rate.max(1), free_at: Mutex::new(Instant::now()) });
        let requests = Arc::new(Semaphore::new(concurrency.max(1)));
        let hasty = Arc::new(Semaphore::new(concurrency.div_ceil(HASTY).max(1)));
        Self { requests, hasty, bandwidth, resting: Mutex::default() }
    }

    /// Has everybody wait who asks this registry next: one of them was told to.
    pub(super) fn rest(&self, duration: Duration) {
        let until = Instant::now() + duration;
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        *resting = (*resting).max(Some(until));
    }

    /// Waits until the registry may be asked.
    pub(super) async fn rested(&self) {
        loop {
            let until = *self.resting.lock().unwrap_or_else(PoisonError::into_inner);
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => sleep_until(until).await,
                None => return,
            }
        }
    }

    /// Waits for one of the registry's places; held until the body is read. Who is in haste takes one of the few
    /// further ones when all are taken.
    pub(super) async fn permit(&self, in_haste: bool) -> OwnedSemaphorePermit {
        let place = |places: &Arc<Semaphore>| Arc::clone(places).acquire_owned();
        let permit = if in_haste {
            tokio::select! {
                biased;
                permit = place(&self.requests) => permit,
                permit = place(&self.hasty) => permit,
            }
        } else {
            place(&self.requests).await
        };
        permit.expect("the semaphores are never closed")
    }

    /// Waits until `bytes` more are within the bandwidth.
    pub(super) async fn take(&self, bytes: usize) {
        let Some(bandwidth) = &self.bandwidth else { return };
        let worth = Duration::from_secs_f64(bytes as f64 / bandwidth.bytes_per_second as f64);
        let until = {
            let mut free_at = bandwidth.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let until = (*free_at).max(Instant::now()) + worth;
            *free_at = until;
            until
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_its_own_limits() {
        let own = RegistryLimits { concurrency: Some(2), bandwidth: Some(7) };
        let limits = Limits::of(&FetchOptions::default(), own);
        assert_eq!(limits.requests.available_permits(), 2);
        assert_eq!(limits.bandwidth.unwrap().bytes_per_second, 7);
        assert_eq!(Limits::new(&FetchOptions::default()).requests.available_permits(), 8);
    }

    #[tokio::test]
    async fn who_is_in_haste_waits_for_no_large_file() {
        let own = RegistryLimits { concurrency: Some(1), bandwidth: None };
        let limits = Limits::of(&FetchOptions::default(), own);
        let large = limits.permit(false).await;
        let page = limits.permit(true).await;
        let waits = |in_haste| tokio::time::timeout(Duration::from_millis(50), limits.permit(in_haste));
        assert!(waits(true).await.is_err() && waits(false).await.is_err(), "there is one of each");
        drop(page);
        assert!(waits(false).await.is_err(), "what is not in haste waits for the other");
        drop(large);
        assert!(waits(false).await.is_ok());
    }

    #[tokio::test]
    async fn who_asks_next_waits_too() {
        let limits = Limits::new(&FetchOptions::default());
        let start = Instant::now();
        limits.rested().await;
        assert!(start.elapsed() < Duration::from_millis(100));
        limits.rest(Duration::from_millis(300));
        limits.rest(Duration::from_millis(1));
        limits.rested().await;
        assert!(start.elapsed() >= Duration::from_millis(300));
    }

    #[tokio::test]
    async fn bandwidth_is_shared() {
        let options = FetchOptions { bandwidth: Some(100_000), ..FetchOptions::default() };
        let limits = Limits::new(&options);
        let start = Instant::now();
        tokio::join!(limits.take(10_000), limits.take(20_000));
        assert!(start.elapsed() >= Duration::from_millis(300));
    }
}
