//! What was uploaded, on the same way as what was pulled: recorded, inspected, judged.

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio_util::io::ReaderStream;

use super::{REVISIONS_AT_ONCE, SyncReport, Syncer, discover::chain, pull::revision_error};
use crate::{
    ecosystem::{Accepted, Received, Upload},
    error::{Error, Result},
    store::{Blob, BlobSink as _, PutOptions},
    task::Progress,
};

/// Uploads recorded in one transaction.
const BATCH: usize = 200;
/// Bytes read of a file at a time.
const PIECE: usize = 256 << 10;

impl Syncer<'_> {
    /// Takes files in. What is wrong with one file is in the report, among the alarms; the others go on.
    ///
    /// # Errors
    /// Only what concerns them all: cancelled, fenced, no space, catalog or store broken.
    pub(crate) async fn receive(&self, uploads: &[Upload]) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        self.task.report(Progress::Phase { name: "receive", total: Some(uploads.len() as u64) });
        for uploads in uploads.chunks(BATCH) {
            let taken: Vec<_> = uploads.iter().map(|upload| self.take(upload).boxed()).collect();
            let taken: Vec<_> = stream::iter(taken).buffered(REVISIONS_AT_ONCE).try_collect().await?;
            let mut accepted: Vec<(Accepted, Blob)> = Vec::with_capacity(taken.len());
            for (upload, taken) in uploads.iter().zip(taken) {
                match taken {
                    Ok(file) => accepted.push(file),
                    Err(error) => report.alarms.push(format!("{}: {}", upload.name, chain(&error))),
                }
            }
            let repository = self.repository.id;
            let recorded =
                self.catalog.record_uploads(repository, &accepted, &self.actor, Some(&self.fence)).await?;
            let mut work = Vec::with_capacity(accepted.len());
            for ((file, _), recorded) in accepted.iter().zip(recorded) {
                match recorded {
                    Ok(id) => {
                        let paths = vec![file.path.clone()];
                        let bring = async move {
                            self.task.checkpoint()?;
                            self.bring_or_say_why(id, &paths).await
                        };
                        work.push(bring.boxed());
                    }
                    Err(error) => report.alarms.push(chain(&error)),
                }
            }
            report.new_files += work.len() as u64;
            let mut outcomes = stream::iter(work).buffer_unordered(REVISIONS_AT_ONCE);
            while let Some(outcome) = outcomes.try_next().await? {
                report.add(outcome);
            }
        }
        Ok(report)
    }

    /// Stores one file and asks the format what it is.
    async fn take(&self, upload: &Upload) -> Result<Result<(Accepted, Blob)>> {
        revision_error(self.task.or_cancelled(self.store_and_ask(upload)).await)
    }

    async fn store_and_ask(&self, upload: &Upload) -> Result<(Accepted, Blob)> {
        // Why a file of the caller's cannot be read is no failure of ours.
        let unreadable =
            |error: std::io::Error| Error::invalid(format!("`{}`", upload.name), error.to_string());
        let file = tokio::fs::File::open(&upload.path).await.map_err(unreadable)?;
        let size = file.metadata().await.map_err(unreadable)?.len();
        let bytes =
            ReaderStream::with_capacity(file, PIECE).map_err(|error| Error::io("read an upload")(error));
        let options = PutOptions { size: Some(size), ..PutOptions::default() };
        let blob = self.store.put(bytes.boxed(), options).await?;
        let received = Received {
            repository: &self.repository.config,
            name: &upload.name,
            blob: &blob,
            store: self.store.store(),
        };
        let accepted = self.ecosystem.identify(&received).await?;
        Ok((accepted, blob))
    }
}
