//! Small work that is done where one is, instead of being handed to another thread piece by piece.
//!
//! Reading, hashing and unpacking a file of a few kilobytes takes less time than four hops between threads. So many
//! small files are given to a thread that may block, together, and what would hop from there stays.

use std::{cell::Cell, future::Future};

use crate::error::{Error, Result};

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is doing nothing else.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// Runs a future on a thread that may block, where what it would run on such threads runs at once. It goes on to its
/// end when the caller's future is dropped: give it little.
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
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
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
}
