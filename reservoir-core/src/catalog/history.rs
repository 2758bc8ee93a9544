//! Lines of the history of revisions.

use std::collections::{BTreeMap, HashMap};

use super::{
    Catalog,
    rows::{BATCH, Columns as _, built, list, plain},
    write::Write,
};
use crate::{
    error::Result,
    lifecycle::{HistoryEntry, Revision, RevisionId, Status, Transition},
    name::Actor,
};

/// What many revisions have in common of one line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line<'a> {
    /// Nothing for what became known.
    pub(super) from: Option<Status>,
    pub(super) to: Status,
    pub(super) attempt: i64,
    pub(super) actor: &'a str,
    pub(super) reason: &'a str,
}

/// Lines of several revisions: the first of each, then the second, and so on.
#[derive(Debug, Default)]
pub(super) struct Lines<'a> {
    lines: BTreeMap<(usize, Line<'a>), Vec<RevisionId>>,
    counts: BTreeMap<RevisionId, usize>,
}

impl<'a> Lines<'a> {
    /// The line of a change that led to `now`.
    pub(super) fn add(&mut self, from: Option<Status>, now: &Revision, change: &'a Transition) {
        let count = self.counts.entry(now.id).or_default();
        let (actor, reason) = (change.actor.as_str(), change.reason.as_str());
        let line = Line { from, to: now.status, attempt: now.attempt, actor, reason };
        self.lines.entry((*count, line)).or_default().push(now.id);
        *count += 1;
    }

    pub(super) async fn insert(self, write: &mut Write) -> Result<()> {
        for ((_, line), ids) in self.lines {
            write.insert_line(&line, &ids).await?;
        }
        Ok(())
    }
}

impl<'a> Line<'a> {
    /// A line of a first attempt.
    pub(super) fn new(from: Option<Status>, to: Status, actor: &'a Actor, reason: &'a str) -> Self {
        Self { from, to, attempt: 0, actor: actor.as_str(), reason }
    }
}

impl Catalog {
    /// What happened to some revisions, each from its beginning.
    pub(crate) async fn histories(
        &self,
        revisions: &[RevisionId],
    ) -> Result<HashMap<RevisionId, Vec<HistoryEntry>>> {
        let mut histories: HashMap<RevisionId, Vec<HistoryEntry>> = HashMap::new();
        for part in revisions.chunks(BATCH) {
            let query = built(format!(
                "SELECT revision, at, actor, from_status, to_status, attempt, reason FROM history \
                 WHERE revision IN ({}) ORDER BY id",
                list(1, part.len())
            ));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            for row in self.all("read a history", query).await? {
                histories.entry(RevisionId(row.int("revision")?)).or_default().push(HistoryEntry {
                    at: row.time("at")?,
                    actor: row.parsed("actor")?,
                    from: row.parsed_or_none("from_status")?,
                    to: row.parsed("to_status")?,
                    attempt: row.int("attempt")?,
                    reason: row.text("reason")?,
                });
            }
        }
        Ok(histories)
    }
}

impl Write {
    /// One line that many have in common: few parameters.
    pub(super) async fn insert_line(&mut self, line: &Line<'_>, ids: &[RevisionId]) -> Result<()> {
        let now = self.now().as_micros();
        for ids in ids.chunks(BATCH) {
            let insert = built(format!(
                "INSERT INTO history (revision, at, actor, from_status, to_status, attempt, reason) \
                 SELECT id, $1, $2, $3, $4, $5, $6 FROM revision WHERE id IN ({}) ORDER BY id",
                list(7, ids.len())
            ));
            let insert = insert.bind(now).bind(line.actor.to_owned()).bind(line.from.map(Status::as_str));
            let insert = insert.bind(line.to.as_str()).bind(line.attempt).bind(plain(line.reason));
            self.execute(ids.iter().fold(insert, |insert, id| insert.bind(id.0))).await?;
        }
        Ok(())
    }
}
