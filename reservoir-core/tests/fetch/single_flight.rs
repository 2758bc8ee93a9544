//! Many who ask for the same, one who does the work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reservoir_core::fetch::SingleFlight;
use tokio::{sync::Notify, time::timeout};

#[derive(Default)]
struct Work {
    started: AtomicUsize,
    dropped: AtomicUsize,
    go: Notify,
}

struct Guard(Arc<Work>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

async fn work(work: Arc<Work>) -> usize {
    let guard = Guard(work);
    let number = guard.0.started.fetch_add(1, Ordering::SeqCst);
    guard.0.go.notified().await;
    number
}

#[tokio::test]
async fn callers_share_one_run_and_the_first_may_leave() {
    let flights = Arc::new(SingleFlight::new());
    let state = Arc::new(Work::default());
    let call = |key: &'static str| {
        let (flights, state) = (Arc::clone(&flights), Arc::clone(&state));
        tokio::spawn(async move { flights.run(key, || work(state)).await })
    };
    let first = call("a");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let rest: Vec<_> = (0..20).map(|_| call("a")).collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(state.dropped.load(Ordering::SeqCst), 0);
    state.go.notify_one();
    for caller in rest {
        assert_eq!(timeout(Duration::from_secs(5), caller).await.unwrap().unwrap(), 0);
    }
    assert_eq!(state.started.load(Ordering::SeqCst), 1);
    // A later caller gets a fresh run.
    let later = call("a");
    state.go.notify_one();
    assert_eq!(timeout(Duration::from_secs(5), later).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn the_last_to_leave_ends_the_work() {
    let flights = SingleFlight::new();
    let state = Arc::new(Work::default());
    for expected in 1..=3 {
        let left = timeout(Duration::from_millis(20), flights.run("a", || work(Arc::clone(&state)))).await;
        assert!(left.is_err());
        assert_eq!(state.dropped.load(Ordering::SeqCst), expected);
    }
}
