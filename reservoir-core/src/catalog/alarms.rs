//! What a person must look at: things a registry must not do.

use serde::Serialize;
use serde_json::json as object;

use super::{
    Catalog, Fence, RepositoryId,
    rows::{Columns as _, plain, sql},
    write::Write,
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::Result,
    name::{Actor, ArtifactName},
    path::ContentPath,
};

/// One thing a registry must not do. What was known is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// A short stable name, such as `changed-digest`.
    pub rule: String,
    /// The file, if it is about one.
    pub path: Option<ContentPath>,
    /// What was seen, in words.
    pub detail: String,
}

/// An alarm as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedAlarm {
    /// The artifact.
    pub artifact: ArtifactName,
    /// What it is.
    pub alarm: Alarm,
    /// When it was first seen.
    pub at: Timestamp,
    /// When it was last seen.
    pub last_at: Timestamp,
}

impl Catalog {
    /// Keeps an alarm; whether it is a new one. The same alarm again only moves its last time.
    pub async fn record_alarm(
        &self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        path: Option<&ContentPath>,
        rule: &str,
        detail: &str,
        actor: &Actor,
    ) -> Result<bool> {
        let mut write = self.write("record an alarm").await?;
        let alarm = Alarm { rule: rule.to_owned(), path: path.cloned(), detail: detail.to_owned() };
        let new = write.new_alarm(repository, artifact, &alarm, actor).await?;
        write.commit().await?;
        Ok(new)
    }

    /// The same for one that a bundle tells of. Durable once the load is committed.
    pub(crate) async fn receive_alarm(
        &self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        alarm: &Alarm,
        actor: &Actor,
        fence: &Fence,
    ) -> Result<()> {
        let mut write = self.fenced_relaxed("receive an alarm", fence).await?;
        write.new_alarm(repository, artifact, alarm, actor).await?;
        write.commit().await
    }

    /// The latest alarms of a repository, a thousand at most, the last seen first.
    pub async fn alarms(&self, repository: RepositoryId) -> Result<Vec<RecordedAlarm>> {
        let query = sql("SELECT artifact, path, rule, detail, at, last_at FROM alarm WHERE repository = $1 \
                         ORDER BY last_at DESC, id DESC LIMIT 1000");
        let rows = self.all("list alarms", query.bind(repository.0)).await?;
        rows.iter()
            .map(|row| {
                Ok(RecordedAlarm {
                    artifact: row.parsed("artifact")?,
                    alarm: Alarm {
                        rule: row.text("rule")?,
                        path: row.parsed_or_none("path")?,
                        detail: row.text("detail")?,
                    },
                    at: row.time("at")?,
                    last_at: row.time("last_at")?,
                })
            })
            .collect()
    }
}

impl Write {
    /// Keeps an alarm, and says in the audit log that it is new, if it is.
    async fn new_alarm(
        &mut self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        alarm: &Alarm,
        actor: &Actor,
    ) -> Result<bool> {
        let new = self.alarm(repository, artifact, alarm).await?;
        if new {
            let Alarm { rule, path, detail } = alarm;
            let seen = object!({ "repository": repository, "rule": rule, "path": path, "detail": detail });
            self.audit(actor, "alarm", artifact.as_str(), &seen).await?;
        }
        Ok(new)
    }

    /// Keeps an alarm; whether it is a new one.
    pub(super) async fn alarm(
        &mut self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        alarm: &Alarm,
    ) -> Result<bool> {
        let path = alarm.path.as_ref().map(ContentPath::as_str);
        let detail = plain(&alarm.detail);
        let unique = super::rows::json(&(artifact, path, &alarm.rule, &detail))?;
        let fingerprint = Sha256Digest::of(unique.as_bytes()).to_string();
        let now = self.now().as_micros();
        let known = sql("SELECT 1 AS found FROM alarm WHERE repository = $1 AND fingerprint = $2");
        let known = self.optional(known.bind(repository.0).bind(fingerprint.as_str())).await?;
        let put =
            sql("INSERT INTO alarm (repository, artifact, path, rule, detail, at, last_at, fingerprint) \
                       VALUES ($1, $2, $3, $4, $5, $6, $6, $7) \
                       ON CONFLICT (repository, fingerprint) DO UPDATE SET last_at = excluded.last_at");
        let put = put.bind(repository.0).bind(artifact.as_str()).bind(path).bind(alarm.rule.as_str());
        let put = put.bind(detail).bind(now).bind(fingerprint);
        self.execute(put).await?;
        Ok(known.is_none())
    }
}
