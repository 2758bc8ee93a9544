//! What a sync did, and what it leaves for a person.

use serde::Serialize;

use super::{judge::Outcome, plan::Plan, pull::is_absence};
use crate::{
    ecosystem::Requirement,
    error::{Error, chain},
    lifecycle::Status,
    name::{ArtifactName, RevisionName},
};

/// The totals of a sync and everything that is not as it should be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SyncReport {
    /// Artifacts the registries were asked about.
    pub asked: u64,
    /// Of those, the ones that had not changed.
    pub unchanged: u64,
    /// Files that became known.
    pub new_files: u64,
    /// Files fetched from a registry.
    pub fetched_files: u64,
    /// Bytes fetched from a registry.
    pub fetched_bytes: u64,
    /// Revisions that became AVAILABLE.
    pub admitted: u64,
    /// Revisions that were AVAILABLE before and needed nothing.
    pub kept: u64,
    /// Revisions that wait for a person.
    pub waiting: Vec<Waiting>,
    /// Revisions that are rejected or blocked and were asked for.
    pub blocked: Vec<Waiting>,
    /// Files that could not be brought in.
    pub failed: Vec<FileProblem>,
    /// Requirements that nothing satisfies.
    pub missing: Vec<String>,
    /// Things that a person must look at: changed digests, serials that went back, optional
    /// files that are not to be had and were not missed for that reason before.
    pub alarms: Vec<String>,
    /// Entries of registries that were skipped, and optional files that are still not to be had, with the
    /// reason: the first hundred, and a last line that counts the rest.
    pub skipped: Vec<String>,
    /// Those that only the last line counts.
    #[serde(skip)]
    pub(crate) unshown: u64,
    /// Revisions that failed for a reason that may pass.
    #[serde(skip)]
    pub(crate) unsettled: u64,
    /// What would be brought in, where nothing was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<Plan>,
    /// The snapshot that was published, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u64>,
}

/// A revision that is not served, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Its artifact.
    pub artifact: ArtifactName,
    /// Its name.
    pub revision: RevisionName,
    /// Where it stands.
    pub status: Status,
    /// Why.
    pub reason: String,
}

/// A revision that could not be brought in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// Its artifact.
    pub artifact: ArtifactName,
    /// Its name.
    pub revision: RevisionName,
    /// What went wrong, in words.
    pub reason: String,
}

/// Skipped entries kept in a report; the rest are counted by the last line.
const SKIPPED_SHOWN: usize = 100;

impl SyncReport {
    /// Whether everything that was expected is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
            && self.blocked.is_empty()
            && self.failed.is_empty()
            && self.missing.is_empty()
            && self.alarms.is_empty()
    }

    /// Why something was not let in and will not be by waiting: the reason of the first that failed, else of the first
    /// that is rejected or blocked.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        let failed = self.failed.first().map(|problem| problem.reason.as_str());
        failed.or_else(|| self.blocked.first().map(|blocked| blocked.reason.as_str()))
    }

    pub(super) fn unsatisfied(&mut self, requirement: &Requirement) {
        let by = requirement.wanted_by.as_deref().map(|by| format!(" (wanted by {by})")).unwrap_or_default();
        // Where no registry knows the name at all, that says enough.
        let unknown = format!("no registry knows `{}`", requirement.artifact);
        match self.missing.iter_mut().find(|line| **line == unknown) {
            Some(line) => line.push_str(&by),
            None => self.missing.push(format!("nothing satisfies `{requirement}`{by}")),
        }
    }

    /// A requirement that policy refuses to follow; wheels of one revision mostly ask for the same.
    pub(super) fn refused(&mut self, error: &Error) {
        let line = chain(error);
        if !self.missing.contains(&line) {
            self.missing.push(line);
        }
    }

    /// Artifacts that say what clients can have stay as they were: nothing is wanted of them.
    pub(super) fn withhold(&mut self, wanted: Vec<Requirement>) -> Vec<Requirement> {
        let told = wanted.into_iter().map(|requirement| {
            let artifact = requirement.artifact;
            format!("`{artifact}` stays as it was: not all that it says is here; a sync that fails in nothing brings it")
        });
        self.skip(told.collect());
        Vec::new()
    }

    pub(super) fn skip(&mut self, entries: Vec<String>) {
        let mut entries = entries.into_iter();
        let room = SKIPPED_SHOWN.saturating_sub(self.skipped.len());
        self.skipped.extend(entries.by_ref().take(room));
        self.skip_more(entries.len() as u64);
    }

    /// Counts entries that are not shown.
    pub(super) fn skip_more(&mut self, more: u64) {
        if more > 0 {
            self.unshown += more;
            self.skipped.truncate(SKIPPED_SHOWN);
            self.skipped.push(format!("and {} more", self.unshown));
        }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        self.fetched_files += outcome.fetched_files;
        self.fetched_bytes += outcome.fetched_bytes;
        self.alarms.extend(outcome.absent);
        self.skip(outcome.still_absent);
        let (artifact, revision) = (outcome.revision.artifact, outcome.revision.revision);
        if let Some(error) = outcome.problem {
            if !is_absence(&error) && !matches!(error, Error::Denied { .. } | Error::NotFound { .. }) {
                self.unsettled += 1;
            }
            let reason = chain(&error);
            self.failed.push(FileProblem { artifact, revision, reason });
            return;
        }
        let status = outcome.revision.status;
        match status {
            Status::Available if outcome.waiting.is_none() => {
                if outcome.changed {
                    self.admitted += 1;
                } else {
                    self.kept += 1;
                }
            }
            status if status.is_refused() => {
                let reason = outcome.waiting.unwrap_or_else(|| format!("it is {status}"));
                self.blocked.push(Waiting { artifact, revision, status, reason });
            }
            _ => {
                let reason = outcome.waiting.unwrap_or_else(|| format!("it is {status}"));
                self.waiting.push(Waiting { artifact, revision, status, reason });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_beyond_a_hundred_is_counted() {
        let mut report = SyncReport::default();
        let entries = |from: u32, to: u32| (from..to).map(|number| format!("entry {number}")).collect();
        report.skip(entries(0, 60));
        report.skip(entries(60, 100));
        assert_eq!((report.skipped.len(), report.skipped[99].as_str()), (100, "entry 99"));
        report.skip(entries(100, 110));
        report.skip(Vec::new());
        report.skip(entries(110, 125));
        assert_eq!((report.skipped.len(), report.skipped[99].as_str()), (101, "entry 99"));
        assert_eq!(report.skipped[100], "and 25 more");
    }

    #[test]
    fn what_was_rejected_before_is_a_refusal() {
        let (artifact, revision): (ArtifactName, RevisionName) =
            ("hammer".parse().unwrap(), "1.0".parse().unwrap());
        let told = |status, reason: &str| Waiting {
            artifact: artifact.clone(),
            revision: revision.clone(),
            status,
            reason: reason.into(),
        };
        let mut report = SyncReport::default();
        report.waiting.push(told(Status::NeedsApproval, "a person decides"));
        assert_eq!(report.refusal(), None);
        report.blocked.push(told(Status::Rejected, "too heavy"));
        assert_eq!(report.refusal(), Some("too heavy"));
        let reason = "it is torn".to_owned();
        report.failed.push(FileProblem { artifact, revision, reason });
        assert_eq!(report.refusal(), Some("it is torn"));
    }
}
