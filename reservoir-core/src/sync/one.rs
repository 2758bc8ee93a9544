//! One file for a client that waits for it.

use tokio::sync::Mutex;

use super::{
    Syncer, is_fatal,
    judge::Fetched,
    pull::{SMALL, is_absence},
};
use crate::{
    catalog::FileRow,
    error::{Error, Result, chain},
    lifecycle::{ArtifactLifecycle as _, Status},
};

/// How often a change that another process made meanwhile is given way to.
const ATTEMPTS: usize = 4;

impl Syncer<'_> {
    /// Brings one file of a revision as far as policy allows, through the same states as a sync. Its bytes come
    /// without holding up other files of the revision; `turn` is held while the revision's status is looked at
    /// and changed.
    ///
    /// # Errors
    /// [`Error::Denied`] with the reason when the revision is refused, waits for a person, or the file breaks its
    /// format's rules; [`Error::Integrity`] when it is not what its registry announced; what downloading it gives;
    /// what concerns the whole process.
    pub(crate) async fn bring_one(&self, file: &FileRow, turn: &Mutex<()>) -> Result<()> {
        self.begin_one(file, turn).await?;
        // Not durable yet, but here: what follows looks at the revision under its turn, and does not fetch again.
        let store = self.store.batched();
        let fetched = match self.pull(file, &store).await {
            Ok(pulled) => Fetched { file: file.id, pulled, store },
            Err(error) => {
                self.end_one(file, turn, &error).await?;
                return Err(error);
            }
        };
        let what = || format!("`{}`", file.path.file_name());
        let look = async {
            let mut attempts = 0;
            loop {
                let _turn = turn.lock().await;
                match self.bring(file.revision, std::slice::from_ref(&file.path), Some(&fetched)).await {
                    Err(Error::Conflict { .. } | Error::InvalidState { .. }) if attempts < ATTEMPTS => {
                        attempts += 1;
                    }
                    outcome => return outcome,
                }
            }
        };
        // A large file is on its way to the disk while it is looked at; recording it waits for both.
        let settle =
            async { if fetched.pulled.blob.size > SMALL { fetched.store.settle().await } else { Ok(()) } };
        let (outcome, settled) = tokio::join!(look, settle);
        let outcome = outcome?;
        settled?;
        let reason = match outcome.problem {
            // That is the registry's doing, not the client's.
            Some(error @ Error::Integrity { .. }) => return Err(error),
            Some(error) => Some(chain(&error)),
            None => outcome.waiting,
        };
        if let Some(reason) = reason {
            return Err(Error::Denied { what: what(), reason });
        }
        match outcome.absent.into_iter().next() {
            Some(_) => Err(Error::not_found("file", file.path.as_str())),
            None => Ok(()),
        }
    }

    /// What is refused is not fetched; what is, says so.
    async fn begin_one(&self, file: &FileRow, turn: &Mutex<()>) -> Result<()> {
        let _turn = turn.lock().await;
        let mut revision = self.catalog.revision(file.revision).await?;
        let name = &revision.artifact;
        let artifact = self.catalog.artifact(self.repository.id, name).await?;
        let mut refusal = artifact
            .and_then(|artifact| artifact.quarantined)
            .map(|reason| format!("its registry has quarantined `{name}`: {reason}"));
        match revision.status {
            status if status.is_refused() => {
                refusal = Some(self.last_reason(file.revision).await?.unwrap_or_default());
            }
            Status::Scanned | Status::Failed if refusal.is_none() => {
                let asked = self.begin(&mut revision, "asked for by a client").await;
                // Another process was first, which is as good.
                match asked {
                    Err(Error::Conflict { .. } | Error::InvalidState { .. }) => {}
                    asked => asked?,
                }
            }
            _ => {}
        }
        match refusal {
            Some(reason) => Err(Error::Denied { what: format!("`{}`", file.path.file_name()), reason }),
            None => Ok(()),
        }
    }

    /// A revision of which nothing is here has failed; one that has other files stays as it is.
    async fn end_one(&self, file: &FileRow, turn: &Mutex<()>, error: &Error) -> Result<()> {
        if is_fatal(error) {
            return Ok(());
        }
        let _turn = turn.lock().await;
        let mut revision = self.catalog.revision(file.revision).await?;
        if revision.status != Status::Pulling {
            return Ok(());
        }
        let to = if file.is_optional() && is_absence(error) { Status::Scanned } else { Status::Failed };
        match self.step(&mut revision, &[to], &chain(error)).await {
            Err(Error::Conflict { .. } | Error::InvalidState { .. }) => Ok(()),
            ended => ended,
        }
    }
}
