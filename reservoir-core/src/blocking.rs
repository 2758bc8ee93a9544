//! Work that blocks or takes long: never on a thread that drives futures.
//!
//! A thread that drives futures holds up all others of them while it reads a file, hashes or decompresses. Such work is
//! given to [`run`]. Reading, hashing and unpacking a file of a few kilobytes takes less time than four hops between
//! threads, though: so the engine gives many small files to one thread that may block, together, and what is given to
//! [`run`] there is done at once.

use std::{cell::Cell, future::Future};

use tokio::task::JoinError;

use crate::error::{Error, Result};

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread that may block: at once on this one, where it may, else on one of tokio's, of which there are
/// many.
///
/// Dropping the future does not stop work that has begun. It runs to its end, and nobody hears of its result: give it
/// pieces that are short, or that look by themselves whether somebody still waits. A panic goes on in the caller.
///
/// # Errors
/// Those of `work`; [`Error::Cancelled`] when the runtime shuts down before it begins.
///
/// # Panics
/// Outside of a tokio runtime, and when `work` does.
pub async fn run<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    if MAY_BLOCK.get() {
        return work();
    }
    joined(tokio::task::spawn_blocking(work)).await
}

/// What work came to that was given to a thread by hand, because it goes on while something else is done. Its panic goes
/// on in the caller.
///
/// # Errors
/// Those of the work; [`Error::Cancelled`] when the runtime shuts down, or somebody aborted it.
///
/// # Panics
/// When the work did.
pub async fn joined<T>(work: impl Future<Output = Result<Result<T>, JoinError>>) -> Result<T> {
    match work.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Cancelled),
        },
    }
}

/// Drives a future on a thread that may block, where what it gives to [`run`] is done at once. It goes on to its end when
/// the caller's future is dropped: give it little.
pub(crate) async fn on_one_thread<T, F>(future: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let _here = Here::enter();
        runtime.block_on(future)
    };
    joined(tokio::task::spawn_blocking(work)).await
}

/// The thread goes back to a pool afterwards.
struct Here;

impl Here {
    fn enter() -> Self {
        MAY_BLOCK.set(true);
        Self
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        MAY_BLOCK.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;
    use futures::{StreamExt as _, stream};

    use super::*;
    use crate::archive::read_blocking;

    #[tokio::test]
    async fn what_comes_in_pieces_is_read_there_as_well() {
        for pieces in [1, 9] {
            let body = stream::iter((0..pieces).map(|_| Ok(Bytes::from_static(b"piece")))).boxed();
            let read = on_one_thread(read_blocking(body, |mut source| {
                let mut text = String::new();
                source.read_to_string(&mut text).map_err(Error::io("read"))?;
                Ok((text, std::thread::current().id()))
            }));
            let text = read.await.unwrap().0;
            assert_eq!(text, "piece".repeat(pieces));
        }
    }

    fn may_block() -> bool {
        MAY_BLOCK.get()
    }

    #[tokio::test]
    async fn only_there_and_only_then() {
        assert!(!may_block());
        let inside = on_one_thread(async {
            tokio::task::yield_now().await;
            Ok((may_block(), std::thread::current().id()))
        });
        let (inside, thread) = inside.await.unwrap();
        assert!(inside && thread != std::thread::current().id());
        // The same thread of the pool, as likely as not.
        let after = tokio::task::spawn_blocking(|| (may_block(), std::thread::current().id()));
        assert!(!after.await.unwrap().0);
        let failed = on_one_thread(async { Err::<(), _>(Error::Cancelled) }).await;
        assert!(matches!(failed, Err(Error::Cancelled)));
        assert!(!tokio::task::spawn_blocking(may_block).await.unwrap());
    }

    #[tokio::test]
    async fn a_panic_goes_on_in_the_caller_and_what_ended_early_is_cancelled() {
        let panics = tokio::spawn(run(|| -> Result<()> { panic!("on purpose") }));
        let panic = panics.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        let never = tokio::spawn(std::future::pending::<Result<()>>());
        never.abort();
        assert!(matches!(joined(never).await, Err(Error::Cancelled)));
    }
}
