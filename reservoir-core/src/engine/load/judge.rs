//! The scanners here look at what a bundle brings, and decide on each revision once all of its files have come.

use super::{
    Loaded,
    apply::{LISTED, Open},
};
use crate::{
    Engine,
    bundle::CarriedFile,
    catalog::NewVerdict,
    digest::Sha256Digest,
    ecosystem::Approval,
    error::Result,
    gate::{
        Subject, Verdict,
        policy::{Decision, Opinion, decide},
    },
    lifecycle::{Revision, Status, Transition},
    name::Actor,
};

/// What the scanners say of a revision, of which more files may come.
pub(super) struct Judged {
    revision: Revision,
    files: Vec<Sha256Digest>,
    /// One for each scanner that found nothing, and doubts, a hundred at most.
    opinions: Vec<Opinion>,
}

impl Judged {
    fn add(&mut self, opinion: Opinion) {
        let is_new = match &opinion.verdict {
            Verdict::Clean => {
                let said =
                    |known: &Opinion| known.scanner == opinion.scanner && known.verdict == Verdict::Clean;
                !self.opinions.iter().any(said)
            }
            Verdict::Finding { .. } | Verdict::Incomplete { .. } => {
                let doubts = self.opinions.iter().filter(|known| known.verdict != Verdict::Clean).count();
                doubts < LISTED
            }
        };
        if is_new {
            self.opinions.push(opinion);
        }
    }
}

impl Engine {
    /// Has the scanners here look at some files of a revision, whatever was said of them elsewhere. The revision before
    /// has all of its files then.
    pub(super) async fn judge(
        &self,
        open: &mut Open<'_>,
        revision: Revision,
        files: &[CarriedFile],
        loaded: &mut Loaded,
        actor: &Actor,
    ) -> Result<()> {
        if open.judged.as_ref().is_some_and(|judged| judged.revision.id != revision.id) {
            self.conclude(open, loaded, actor).await?;
        }
        let known = open.judged.take();
        let mut judged = known.unwrap_or_else(|| Judged {
            revision: revision.clone(),
            files: Vec::new(),
            opinions: Vec::new(),
        });
        let mut verdicts = Vec::new();
        for file in files {
            let (Some(blob), Some(inspection)) = (&file.blob, &file.inspection) else { continue };
            judged.files.push(blob.sha256);
            let subject = Subject {
                ecosystem: &open.repository.config.ecosystem,
                artifact: &revision.artifact,
                revision: &revision.revision,
                path: &file.path,
                blob,
                store: &*self.inner.store,
                inspection,
            };
            for scanner in self.inner.scanners.iter().filter(|scanner| scanner.judges(subject.ecosystem)) {
                let rules = scanner.rules().await;
                let verdict = match &rules {
                    Ok(_) => scanner.scan(&subject).await,
                    Err(error) => Ok(Verdict::Incomplete { reason: error.to_string() }),
                };
                let verdict =
                    verdict.unwrap_or_else(|error| Verdict::Incomplete { reason: error.to_string() });
                if let Ok(rules) = rules {
                    let (scanner, verdict) = (scanner.id().to_owned(), verdict.clone());
                    verdicts.push((blob.sha256, NewVerdict { scanner, rules, verdict }));
                }
                judged.add(Opinion { scanner: scanner.id().to_owned(), verdict });
            }
        }
        open.judged = Some(judged);
        self.inner.catalog.receive_verdicts(&verdicts, open.publication.fence()).await
    }

    /// Decides on the revision that was judged last: nothing more of it comes.
    pub(super) async fn conclude(
        &self,
        open: &mut Open<'_>,
        loaded: &mut Loaded,
        actor: &Actor,
    ) -> Result<()> {
        let Some(Judged { revision, files, opinions }) = open.judged.take() else { return Ok(()) };
        if files.is_empty() {
            open.note(loaded, &revision, false, "");
            return Ok(());
        }
        let catalog = &self.inner.catalog;
        let fence = open.publication.fence().clone();
        let (to, why) = match decide(Approval::Automatic, &opinions) {
            Decision::Admit { reason } => (Status::Available, reason),
            Decision::Ask { reason } => (Status::NeedsApproval, reason),
        };
        let admitted = if to == Status::Available { &files[..] } else { &[] };
        if revision.status != Status::Verifying {
            catalog.conclude_received(&revision, admitted, None, &fence).await?;
            open.note(loaded, &revision, false, &why);
            if (revision.status, to) == (Status::Available, Status::NeedsApproval) {
                // It is served without the files that came now.
                open.note_waiting(loaded, &revision, &why);
            }
            return Ok(());
        }
        let change = Transition {
            revision: revision.id,
            from: revision.status,
            attempt: revision.attempt,
            to,
            actor: actor.clone(),
            reason: why.clone(),
        };
        let now = catalog.conclude_received(&revision, admitted, Some(&change), &fence).await?;
        open.note(loaded, &now, true, &why);
        Ok(())
    }
}
