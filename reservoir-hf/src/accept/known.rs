//! What is known of a repository's commits beyond what is published: those that wait, those that were refused, and
//! what was decided since.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use reservoir_core::{Result, Turn, catalog::RevisionMetadata, clock::Timestamp, lifecycle::Status};
use serde_json::Value;

use crate::{
    layout,
    name::{ObjectId, RepoId},
    respond::answer::{Failure, Refusal},
    select::refs_of,
};

/// The commits of a repository, as of the beginning of a turn.
#[derive(Debug, Default)]
pub(super) struct Known {
    commits: BTreeMap<ObjectId, RevisionMetadata>,
}

impl Known {
    pub(super) async fn of(turn: &Turn<'_>, repo: &RepoId) -> Result<Self> {
        let prefix = layout::records(repo);
        let mut commits = BTreeMap::new();
        for known in turn.metadata(&repo.to_artifact()?).await? {
            if let Some(commit) = known.entry.path.as_str().strip_prefix(&prefix) {
                commits.insert(commit.parse()?, known);
            }
        }
        Ok(Self { commits })
    }

    /// Whether there is such a commit, wherever it stands.
    pub(super) fn has(&self, commit: ObjectId) -> bool {
        self.commits.contains_key(&commit)
    }

    /// Commits that stand there.
    pub(super) fn standing(
        &self,
        wanted: Status,
    ) -> impl Iterator<Item = (ObjectId, &BTreeMap<String, Value>)> {
        let commits = self.commits.iter().filter(move |(_, known)| known.status == wanted);
        commits.map(|(commit, known)| (*commit, &known.entry.attributes))
    }

    /// What is known of a commit that is let in.
    pub(super) fn let_in(&self, commit: ObjectId) -> Option<&BTreeMap<String, Value>> {
        let known = self.commits.get(&commit).filter(|known| known.status == Status::Available);
        known.map(|known| &known.entry.attributes)
    }

    /// Where a commit stands that a person or policy said no to.
    pub(super) fn refused(&self, commit: ObjectId) -> Option<Status> {
        let status = self.commits.get(&commit)?.status;
        matches!(status, Status::Rejected | Status::Blocked).then_some(status)
    }

    /// The commit that a ref points to, of those that stand there.
    pub(super) fn head(&self, name: &str, wanted: Status) -> Option<ObjectId> {
        let moved = |(commit, attributes)| Some((*refs_of(attributes).get(name)?, commit));
        self.standing(wanted).filter_map(moved).max_by_key(|(when, _)| *when).map(|(_, commit)| commit)
    }

    /// Refuses a commit on a branch that another one is about to move: made from the same parent, the one that is let
    /// in later would leave the other out of the branch.
    ///
    /// # Errors
    /// 409.
    pub(super) fn check_branch(&self, name: &str, published: Option<ObjectId>) -> Result<(), Failure> {
        let reason = match (self.head(name, Status::NeedsApproval), self.head(name, Status::Available)) {
            (Some(commit), _) => format!("the commit {commit} waits for approval on this branch"),
            // What is let in and neither published nor about to be was rolled back.
            (None, Some(commit)) if Some(commit) != published && self.commits[&commit].is_unpublished => {
                format!("the commit {commit} on this branch waits to be published")
            }
            _ => return Ok(()),
        };
        let message = format!("{reason}; try again when that is done, or open a pull request");
        Err(Refusal::new(StatusCode::CONFLICT, message).into())
    }

    /// The number of the next pull request. None is given twice, whatever became of the commit.
    pub(super) fn next_request(&self) -> u64 {
        let names: BTreeSet<String> = self.refs().map(|(name, _)| name).collect();
        let numbers = names.iter().filter_map(|name| name.strip_prefix("refs/pr/")?.parse::<u64>().ok());
        numbers.max().unwrap_or_default() + 1
    }

    /// A time later than all at which refs were moved, even if the clock went back, in microseconds.
    pub(super) fn later_than(&self, now: Timestamp) -> i64 {
        now.as_micros().max(self.refs().map(|(_, when)| when).max().map_or(0, |last| last + 1))
    }

    /// Whether a commit has a ref that is not published yet.
    pub(super) fn is_about_to_have(&self, name: &str) -> bool {
        let mut commits = self.commits.values();
        commits.any(|known| {
            let is_coming = known.status == Status::Available && known.is_unpublished;
            is_coming && refs_of(&known.entry.attributes).contains_key(name)
        })
    }

    /// Whether all that is here, if anything, came from another repository that still has it: a rename that was
    /// interrupted.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        let mut let_in = self.standing(Status::Available);
        self.standing(Status::NeedsApproval).next().is_none()
            && let_in.all(|(commit, attributes)| other.let_in(commit) == Some(attributes))
    }

    fn refs(&self) -> impl Iterator<Item = (String, i64)> {
        self.commits.values().flat_map(|known| refs_of(&known.entry.attributes))
    }
}
