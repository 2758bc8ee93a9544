//! The durable state machine over SQL.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::json as object;
use tokio::sync::broadcast;

use super::{
    Catalog, Fence, RepositoryId,
    revisions::revision,
    rows::{BATCH, Columns as _, built, plain, sql, tuples},
    write::Write,
};
use crate::{
    error::{Error, Result},
    lifecycle::{
        ArtifactLifecycle, HistoryEntry, LifecycleEvent, NewRevision, Revision, RevisionId, Status,
        Transition, is_allowed,
    },
    name::{Actor, ArtifactName, RevisionName},
};

#[async_trait]
impl ArtifactLifecycle for Catalog {
    async fn register(
        &self,
        repository: RepositoryId,
        revisions: &[NewRevision],
        actor: &Actor,
    ) -> Result<Vec<RevisionId>> {
        self.repository_by_id(repository).await?;
        let mut write = self.write("register revisions").await?;
        let mut ids = Vec::with_capacity(revisions.len());
        let mut new = 0;
        for wanted in revisions {
            let artifact = write.artifact_id(repository, &wanted.artifact).await?;
            let known = sql("SELECT id FROM revision WHERE artifact = $1 AND name = $2");
            let known = write.optional(known.bind(artifact).bind(wanted.revision.as_str())).await?;
            if let Some(row) = known {
                ids.push(RevisionId(row.int("id")?));
            } else {
                let made = write.insert_revisions(repository, artifact, &[&wanted.revision], actor).await?;
                ids.extend(made.into_iter().map(|(id, _)| id));
                new += 1;
            }
        }
        if new > 0 {
            let subject = format!("{new} revisions");
            write.audit(actor, "revision.register", &subject, &object!({ "repository": repository })).await?;
        }
        write.commit().await?;
        Ok(ids)
    }

    async fn revision(&self, id: RevisionId) -> Result<Revision> {
        let query =
            sql("SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                         FROM revision r JOIN artifact a ON a.id = r.artifact WHERE r.id = $1");
        let row = self.optional("read a revision", query.bind(id.0)).await?;
        revision(&row.ok_or_else(|| Error::not_found("revision", id.0))?)
    }

    async fn transition(&self, changes: &[Transition], fence: Option<&Fence>) -> Result<Vec<Revision>> {
        let mut write = self.fenced("change a status", fence).await?;
        let after = write.transition(changes, fence).await?;
        write.commit().await?;
        Ok(after)
    }

    async fn history(&self, id: RevisionId) -> Result<Vec<HistoryEntry>> {
        let query = sql("SELECT at, actor, from_status, to_status, attempt, reason FROM history \
                         WHERE revision = $1 ORDER BY id");
        let rows = self.all("read a history", query.bind(id.0)).await?;
        rows.iter()
            .map(|row| {
                Ok(HistoryEntry {
                    at: row.time("at")?,
                    actor: row.parsed("actor")?,
                    from: row.parsed_or_none("from_status")?,
                    to: row.parsed("to_status")?,
                    attempt: row.int("attempt")?,
                    reason: row.text("reason")?,
                })
            })
            .collect()
    }

    fn watch(&self) -> broadcast::Receiver<LifecycleEvent> {
        self.inner.events.subscribe()
    }
}

impl Write {
    /// The row of an artifact, made when it is new.
    pub(super) async fn artifact_id(&mut self, repository: RepositoryId, name: &ArtifactName) -> Result<i64> {
        let known = sql("SELECT id FROM artifact WHERE repository = $1 AND name = $2");
        if let Some(row) = self.optional(known.bind(repository.0).bind(name.as_str())).await? {
            return row.int("id");
        }
        let insert = sql("INSERT INTO artifact (repository, name) VALUES ($1, $2) RETURNING id");
        self.one(insert.bind(repository.0).bind(name.as_str())).await?.int("id")
    }

    /// Makes new revisions SCANNED, each with its first line of history.
    pub(super) async fn insert_revisions(
        &mut self,
        repository: RepositoryId,
        artifact: i64,
        names: &[&RevisionName],
        actor: &Actor,
    ) -> Result<Vec<(RevisionId, RevisionName)>> {
        let now = self.now().as_micros();
        let scanned = Status::Scanned.as_str();
        let mut made = Vec::with_capacity(names.len());
        for names in names.chunks(BATCH) {
            let mut insert = built(format!(
                "INSERT INTO revision (repository, artifact, name, status, attempt, changed_at) VALUES {} \
                 RETURNING id, name",
                tuples(names.len(), 6)
            ));
            for name in names {
                insert = insert.bind(repository.0).bind(artifact).bind(name.as_str()).bind(scanned);
                insert = insert.bind(0_i64).bind(now);
            }
            let rows = self.all(insert).await?;
            let mut history = built(format!(
                "INSERT INTO history (revision, at, actor, to_status, attempt, reason) VALUES {}",
                tuples(rows.len(), 6)
            ));
            for row in &rows {
                let id = row.int("id")?;
                history = history.bind(id).bind(now).bind(actor.as_str()).bind(scanned).bind(0_i64);
                history = history.bind("became known");
                made.push((RevisionId(id), row.parsed("name")?));
            }
            self.execute(history).await?;
        }
        Ok(made)
    }

    /// Changes of status, with their record in the audit log.
    pub(super) async fn transition(
        &mut self,
        changes: &[Transition],
        fence: Option<&Fence>,
    ) -> Result<Vec<Revision>> {
        let mut after = Vec::with_capacity(changes.len());
        for change in changes {
            after.push(self.change_status(change).await?);
        }
        if let (Some(first), Some(revision)) = (changes.first(), after.first()) {
            let only = changes.iter().all(|change| change.revision == first.revision);
            let subject = if only {
                format!("{}@{}", revision.artifact, revision.revision)
            } else {
                format!("{} revisions", changes.len())
            };
            let to: BTreeSet<Status> = changes.iter().map(|change| change.to).collect();
            let detail = object!({
                "repository": revision.repository,
                "changes": changes.len(),
                "to": to,
                "reason": first.reason,
            });
            self.audit(&first.actor, "revision.transition", &subject, &detail).await?;
        }
        if fence.is_none_or(|fence| !fence.lease.starts_with("sync/")) {
            // The next sync may choose differently.
            let repositories: BTreeSet<i64> = after.iter().map(|revision| revision.repository.0).collect();
            for repository in repositories {
                let forget =
                    sql("UPDATE repository SET complete = NULL WHERE id = $1 AND complete IS NOT NULL");
                self.execute(forget.bind(repository)).await?;
            }
        }
        Ok(after)
    }

    /// One change of status: compare-and-set, history, denials, and a mark for the next snapshot.
    pub(super) async fn change_status(&mut self, change: &Transition) -> Result<Revision> {
        let (id, from, to) = (change.revision, change.from, change.to);
        let query =
            sql("SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at, \
                         a.quarantined FROM revision r JOIN artifact a ON a.id = r.artifact WHERE r.id = $1");
        let row = self.optional(query.bind(id.0)).await?;
        let row = row.ok_or_else(|| Error::not_found("revision", id.0))?;
        let mut now = revision(&row)?;
        let subject = format!("{}@{}", now.artifact, now.revision);
        if !is_allowed(from, to) {
            return Err(Error::InvalidState { subject, from, to });
        }
        if to == Status::Available
            && let Some(reason) = row.text_or_none("quarantined")?
        {
            return Err(Error::Denied {
                what: format!("making `{subject}` available"),
                reason: format!("its registry has quarantined `{}`: {reason}", now.artifact),
            });
        }
        let anew = to == Status::Scanned || (from, to) == (Status::Failed, Status::Pulling);
        let attempt = change.attempt + i64::from(anew);
        let at = self.now();
        let update = sql("UPDATE revision SET status = $1, attempt = $2, changed_at = $3 \
                          WHERE id = $4 AND status = $5 AND attempt = $6");
        let update = update.bind(to.as_str()).bind(attempt).bind(at.as_micros());
        if self.execute(update.bind(id.0).bind(from.as_str()).bind(change.attempt)).await? != 1 {
            return Err(Error::Conflict {
                what: format!("revision `{subject}`"),
                detail: format!(
                    "it is {} (attempt {}), not {from} (attempt {}) any more",
                    now.status, now.attempt, change.attempt
                ),
            });
        }
        let history =
            sql("INSERT INTO history (revision, at, actor, from_status, to_status, attempt, reason) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7)");
        let history = history.bind(id.0).bind(at.as_micros()).bind(change.actor.as_str()).bind(from.as_str());
        self.execute(history.bind(to.as_str()).bind(attempt).bind(plain(&change.reason))).await?;
        if from == Status::Available {
            self.deny(now.repository, id, &change.reason).await?;
        }
        if to == Status::Available {
            self.lift_denials(now.repository, id).await?;
        }
        if from == Status::Available || to == Status::Available {
            self.mark_dirty(now.repository, id).await?;
        }
        if matches!(from, Status::Rejected | Status::Blocked) || to == Status::Rejected {
            // Clients are told why a path is refused.
            self.touch_epoch().await?;
        }
        (now.status, now.attempt, now.changed_at) = (to, attempt, at);
        self.events.push(LifecycleEvent { revision: now.clone(), from });
        Ok(now)
    }
}
