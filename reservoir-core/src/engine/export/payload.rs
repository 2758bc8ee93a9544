//! The bytes of the blobs, from the store to the media.

use std::{collections::BTreeSet, fs::File, path::Path};

use futures::TryStreamExt as _;

use super::patch;
use crate::{
    Engine, blocking,
    bundle::{Header, ObjectsReader, Writer},
    digest::Sha256Digest,
    error::{Error, Result},
    task::{Progress, TaskContext},
};

/// Bytes after which somebody who watches is told of them.
const TOLD: u64 = 8 << 20;

impl Engine {
    /// Copies blobs, from the writer's position on.
    pub(super) async fn write_payload(
        &self,
        mut writer: Writer,
        folder: &Path,
        header: &Header,
        task: &TaskContext,
    ) -> Result<Writer> {
        task.report(Progress::Phase { name: "export", total: Some(header.objects.lines) });
        task.report(Progress::Expected { bytes: header.volumes.payload - writer.position() });
        let file = File::open(folder.join("objects")).map_err(Error::io("read the list of objects"))?;
        let mut objects = ObjectsReader::new(file, &header.objects, header.volumes)?;
        let (send, mut take) = tokio::sync::mpsc::channel::<bytes::Bytes>(8);
        let mut position = writer.position();
        let patches: BTreeSet<Sha256Digest> = header.patches.iter().map(|patched| patched.patch).collect();
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(bytes) = take.blocking_recv() {
                writer.push(bytes)?;
            }
            Ok::<_, Error>(writer)
        });
        let copy = async {
            let mut untold = 0;
            while let Some(object) = objects.next()? {
                task.checkpoint()?;
                let end = object.at + object.blob.size;
                if end > position {
                    let is_patch = patches.contains(&object.blob.sha256);
                    let from = position - object.at;
                    let mut bytes = if is_patch {
                        patch::read(&folder.join(patch::FOLDER), &object.blob, from).await?
                    } else {
                        self.inner.store.read(&object.blob, from..object.blob.size).await?
                    };
                    while let Some(chunk) = bytes.try_next().await? {
                        untold += chunk.len() as u64;
                        if untold >= TOLD {
                            task.checkpoint()?;
                            let path = object.blob.sha256.to_string().parse()?;
                            task.report(Progress::FileBytes { path, bytes: std::mem::take(&mut untold) });
                        }
                        if send.send(chunk).await.is_err() {
                            // The writer has failed, and says so below.
                            return Ok(());
                        }
                    }
                    position = end;
                }
                let path = object.blob.sha256.to_string().parse()?;
                task.report(Progress::FileDone { path, size: object.blob.size, fetched: false });
            }
            Ok(())
        };
        let copied: Result<()> = copy.await;
        drop(send);
        let writer = blocking::joined(writing).await?;
        copied.map(|()| writer)
    }
}
