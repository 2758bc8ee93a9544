//! One piece of work for many who ask for the same at the same time.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

type Work<V> = BoxFuture<'static, V>;

/// Runs one future for all callers of a key. Who leaves does not cancel the others; when the last one
/// leaves, the future is dropped.
pub struct SingleFlight<K, V> {
    flights: Mutex<HashMap<K, WeakShared<Work<V>>>>,
}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// Nothing under way.
    #[must_use]
    pub fn new() -> Self {
        Self { flights: Mutex::default() }
    }

    /// Joins the work under way for `key`, or starts `work`. Results are shared by cloning: wrap what cannot
    /// be cloned, such as an error, in `Arc`.
    pub async fn run<F>(&self, key: K, work: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = self.join(key.clone(), work);
        let _landing = Landing { flights: self, key };
        flight.await
    }

    fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Shared<Work<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // What is finished already is not handed out again: a later caller wants a fresh answer.
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade)
            && flight.peek().is_none()
        {
            return flight;
        }
        let flight = work().boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}

/// Forgets a flight that nobody is on any more, so that the map holds only what is under way.
struct Landing<'a, K: Eq + Hash + Clone, V: Clone> {
    flights: &'a SingleFlight<K, V>,
    key: K,
}

impl<K: Eq + Hash + Clone, V: Clone> Drop for Landing<'_, K, V> {
    fn drop(&mut self) {
        let mut flights = self.flights.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let over = flights
            .get(&self.key)
            .is_some_and(|flight| flight.upgrade().is_none_or(|flight| flight.peek().is_some()));
        if over {
            flights.remove(&self.key);
        }
    }
}
