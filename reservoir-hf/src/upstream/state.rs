//! What is remembered of a repository between two looks at it.

use std::collections::{BTreeMap, BTreeSet};

use reservoir_core::{Error, Result, clock::Timestamp, ecosystem::Cursor};
use serde::{Deserialize, Serialize};

use super::api::RefTarget;
use crate::name::{Label, ObjectId};

/// Raised when a Hub is read differently, so that what is known is read again.
const READER: &str = "1";

/// Keys of the cursor.
mod key {
    pub(super) const STATE: &str = "state";
    pub(super) const READER: &str = "reader";
}

/// What was seen the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Full names of refs, what they pointed to, and when that was first seen.
    pub(super) refs: BTreeMap<String, (ObjectId, i64)>,
    /// The commits that were asked for; of a cache, since it began.
    pub(super) commits: BTreeSet<ObjectId>,
    /// Of a mirror: the labels that were asked for and what each meant. One is asked for when what needs it is met,
    /// which may be after the others of its repository, so that all are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, ObjectId>,
    /// Of a cache: where all refs point, whether anybody asked for them or not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) all: BTreeMap<String, ObjectId>,
}

impl State {
    /// The refs that point to a commit, each with when that was first seen.
    pub(super) fn pointing_to(&self, commit: ObjectId) -> BTreeMap<&String, i64> {
        let all = self.refs.iter().filter(|(_, (target, _))| *target == commit);
        all.map(|(name, (_, when))| (name, *when)).collect()
    }
}

/// What was resolved for a label decides, whatever the list of refs said a moment before.
pub(super) fn bind(refs: &mut Vec<RefTarget>, label: &Label, commit: ObjectId) {
    if label.commit().is_some() {
        return;
    }
    let names = label.refs();
    let listed = refs.iter().position(|(name, _)| names.contains(name));
    match (listed, names.into_iter().next()) {
        (Some(index), _) => refs[index].1 = commit,
        // The beginning of a commit's id is no ref.
        (None, Some(name)) if !label.abbreviates(&commit.to_string()) => refs.push((name, commit)),
        (None, _) => {}
    }
}

/// The refs that point to commits that are wanted, each with when it was first seen to.
pub(super) fn seen(
    refs: Vec<RefTarget>,
    commits: &BTreeSet<ObjectId>,
    before: &State,
) -> BTreeMap<String, (ObjectId, i64)> {
    // Later than everything seen before, even if the clock went back.
    let last = before.refs.values().map(|(_, when)| *when).max().unwrap_or_default();
    let now = Timestamp::now().as_micros().max(last + 1);
    let wanted = refs.into_iter().filter(|(_, commit)| commits.contains(commit));
    let dated = wanted.map(|(name, commit)| {
        let when = match before.refs.get(&name) {
            Some((same, when)) if *same == commit => *when,
            _ => now,
        };
        (name, (commit, when))
    });
    dated.collect()
}

pub(super) fn remembered(cursor: &Cursor) -> State {
    let same_reader = cursor.0.get(key::READER).is_some_and(|reader| reader == READER);
    let state = cursor.0.get(key::STATE).filter(|_| same_reader);
    state.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

pub(super) fn cursor_of(state: &State) -> Result<Cursor> {
    let state =
        serde_json::to_string(state).map_err(|error| Error::invalid("cursor of a Hub", error.to_string()))?;
    let keys = [(key::STATE, state), (key::READER, READER.to_owned())];
    Ok(Cursor(keys.map(|(name, value)| (name.to_owned(), value)).into()))
}
