//! Hashing blobs on a thread of their own while others read and write.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    thread::JoinHandle,
};

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    store::{Blob, hash::BlobHasher, tree::Tree},
};

/// Buffers between the reader and the hasher.
const AHEAD: usize = 16;

enum Message {
    Begin,
    Data(Bytes),
    /// All of the blob with this place in the list was sent.
    End(u64),
}

/// A blob that was hashed: its place in the list, what it is, its tree.
pub(super) type Hashed = (u64, Blob, Tree);

/// The thread. Ends when dropped.
pub(super) struct Hashing {
    send: Option<SyncSender<Message>>,
    /// Behind a lock so that a stage may be looked at from several threads; nobody contends for it.
    done: Mutex<Receiver<Hashed>>,
    thread: Option<JoinHandle<()>>,
}

impl Hashing {
    pub(super) fn start() -> Self {
        let (send, take) = sync_channel(AHEAD);
        let (give, done) = channel();
        let thread = std::thread::spawn(move || {
            let mut hasher = BlobHasher::default();
            while let Ok(message) = take.recv() {
                match message {
                    Message::Begin => hasher = BlobHasher::default(),
                    Message::Data(bytes) => hasher.update(&bytes),
                    Message::End(index) => {
                        let (blob, tree) = std::mem::take(&mut hasher).finish();
                        if give.send((index, blob, tree)).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Self { send: Some(send), done: Mutex::new(done), thread: Some(thread) }
    }

    pub(super) fn begin(&self) -> Result<()> {
        self.send(Message::Begin)
    }

    pub(super) fn update(&self, bytes: Bytes) -> Result<()> {
        self.send(Message::Data(bytes))
    }

    pub(super) fn end(&self, index: u64) -> Result<()> {
        self.send(Message::End(index))
    }

    fn send(&self, message: Message) -> Result<()> {
        let sent = self.send.as_ref().is_some_and(|send| send.send(message).is_ok());
        if sent {
            Ok(())
        } else {
            Err(Error::io("hash")(std::io::Error::other("the hashing thread has ended")))
        }
    }

    fn receiver(&self) -> MutexGuard<'_, Receiver<Hashed>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next blob that is done; does not wait.
    pub(super) fn poll(&self) -> Option<Hashed> {
        self.receiver().try_recv().ok()
    }

    /// The next blob that is done; waits for it.
    pub(super) fn wait(&self) -> Result<Hashed> {
        let ended = |_| Error::io("hash")(std::io::Error::other("the hashing thread has ended"));
        self.receiver().recv().map_err(ended)
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.send = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
