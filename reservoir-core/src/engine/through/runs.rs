//! Work that is under way once, whoever asks for it, and that nobody who leaves ends.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex},
};

use super::lock;

/// What is under way, by key; a handle tells how it goes.
pub(super) struct Runs<K, H>(Arc<Mutex<HashMap<K, H>>>);

impl<K, H> Runs<K, H>
where
    K: Eq + Hash + Clone + Send + 'static,
    H: Clone + Send + 'static,
{
    /// Joins the run of `key`, or starts one: its future is driven to the end by the runtime.
    pub(super) fn join<F>(&self, key: K, start: impl FnOnce() -> (H, F)) -> H
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut runs = lock(&self.0);
        if let Some(handle) = runs.get(&key) {
            return handle.clone();
        }
        let (handle, work) = start();
        runs.insert(key.clone(), handle.clone());
        let landing = Landing { runs: Arc::clone(&self.0), key };
        tokio::spawn(async move {
            work.await;
            drop(landing);
        });
        handle
    }
}

impl<K, H> Default for Runs<K, H> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, H> fmt::Debug for Runs<K, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runs").finish_non_exhaustive()
    }
}

/// Forgets a run when it ends, a panic included.
struct Landing<K: Eq + Hash, H> {
    runs: Arc<Mutex<HashMap<K, H>>>,
    key: K,
}

impl<K: Eq + Hash, H> Drop for Landing<K, H> {
    fn drop(&mut self) {
        lock(&self.runs).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn one_run_for_all_and_it_outlives_them() {
        let (runs, started, ended) =
            (Runs::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let join = || {
            let (started, ended) = (Arc::clone(&started), Arc::clone(&ended));
            runs.join("key", move || {
                started.fetch_add(1, Ordering::SeqCst);
                let (tell, told) = watch::channel(false);
                let work = async move {
                    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                    ended.fetch_add(1, Ordering::SeqCst);
                    tell.send_replace(true);
                };
                (told, work)
            })
        };
        for _ in 0..50 {
            drop(join());
        }
        let mut told = join();
        told.wait_for(|done| *done).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!((started.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (1, 1));
        drop(join());
        assert_eq!(started.load(Ordering::SeqCst), 2, "what is over begins anew");
    }
}
