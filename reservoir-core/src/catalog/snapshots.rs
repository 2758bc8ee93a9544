//! Numbered states of repositories.

use serde_json::json as object;
use sqlx::any::AnyRow;

use super::{
    Catalog, Fence, RepositoryId,
    rows::{BATCH, Columns as _, built, list, plain, sql},
    write::Write,
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    name::RefName,
    snapshot::Snapshot,
};

/// A snapshot to make visible. Its blobs and its record are durable in the store already.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// Of which repository.
    pub repository: RepositoryId,
    /// The snapshot; its number is the repository's next.
    pub snapshot: Snapshot,
    /// The ref that shall point at it; `None` where one is pointed at it later.
    pub ref_name: Option<RefName>,
    /// Where that ref points now; `None` when there is none yet.
    pub expected_parent: Option<u64>,
    /// The digest of its signed record.
    pub record: Sha256Digest,
    /// Another snapshot whose pages this one takes over without pinning them: it must still be there.
    pub relies_on: Option<(RepositoryId, u64)>,
    /// The mark of [`Catalog::dirty_until`] it was made from.
    pub settles: Option<i64>,
}

impl Catalog {
    /// Makes a snapshot and moves its ref, or nothing at all.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the number is taken or the ref has moved.
    pub async fn commit_snapshot(&self, new: NewSnapshot, fence: &Fence) -> Result<()> {
        let mut write = self.fenced("commit a snapshot", Some(fence)).await?;
        write.put_next_snapshot(&new).await?;
        write.commit().await
    }

    /// Puts back a snapshot that was found in the store's records, when a lost catalog is rebuilt. Numbers
    /// may have gaps but only grow; the ref is moved without asking where it points.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a snapshot of that number or a later one is there.
    pub async fn restore_snapshot(&self, mut new: NewSnapshot, fence: &Fence) -> Result<()> {
        let mut write = self.fenced("restore a snapshot", Some(fence)).await?;
        let next = write.next_number(new.repository).await?;
        if new.snapshot.number < next {
            return Err(Error::Conflict {
                what: format!("snapshot {}", new.snapshot.number),
                detail: format!("the next number is {next}; restore in order, into an empty repository"),
            });
        }
        if let Some(name) = &new.ref_name {
            new.expected_parent = write.ref_number(new.repository, name).await?;
        }
        write.put_snapshot(&new).await?;
        write.commit().await
    }

    /// The number that the repository's next snapshot gets.
    pub async fn next_number(&self, repository: RepositoryId) -> Result<u64> {
        let query = sql("SELECT next_number FROM repository WHERE id = $1").bind(repository.0);
        let row = self.optional("read the next number", query).await?;
        row.ok_or_else(|| Error::not_found("repository", repository.0))?.count("next_number")
    }

    /// The number and the digest of the repository's last record.
    pub async fn last_record(&self, repository: RepositoryId) -> Result<Option<(u64, Sha256Digest)>> {
        let query = sql("SELECT last_record_number, last_record FROM repository WHERE id = $1");
        let row = self.optional("read the last record", query.bind(repository.0)).await?;
        let row = row.ok_or_else(|| Error::not_found("repository", repository.0))?;
        Ok(row.count_or_none("last_record_number")?.zip(row.parsed_or_none("last_record")?))
    }

    /// One snapshot.
    pub async fn snapshot(&self, repository: RepositoryId, number: u64) -> Result<Snapshot> {
        let query =
            sql("SELECT number, content, publication, parent, author, created_at, message FROM snapshot \
                         WHERE repository = $1 AND number = $2");
        let row = self.optional("read a snapshot", query.bind(repository.0).bind(number as i64)).await?;
        snapshot(&row.ok_or_else(|| Error::not_found("snapshot", number))?)
    }

    /// The newest snapshot with this content.
    pub(crate) async fn snapshot_of_content(
        &self,
        repository: RepositoryId,
        content: &Sha256Digest,
    ) -> Result<Option<u64>> {
        let query = sql("SELECT MAX(number) AS number FROM snapshot WHERE repository = $1 AND content = $2");
        let row = self.one("look for a snapshot", query.bind(repository.0).bind(content.to_string())).await?;
        row.count_or_none("number")
    }

    /// Snapshots, the newest first, those before `before`.
    pub async fn snapshots(
        &self,
        repository: RepositoryId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Snapshot>> {
        let query =
            sql("SELECT number, content, publication, parent, author, created_at, message FROM snapshot \
                         WHERE repository = $1 AND number < $2 ORDER BY number DESC LIMIT $3");
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let query = query.bind(repository.0).bind(before).bind(i64::from(limit));
        self.all("list snapshots", query).await?.iter().map(snapshot).collect()
    }

    /// Forgets snapshots by retention, never one that a ref points at; returns how many. Their numbers are
    /// not used again.
    pub async fn forget_snapshots(&self, repository: RepositoryId, numbers: &[u64]) -> Result<u64> {
        let mut write = self.write("forget snapshots").await?;
        let mut forgotten = 0;
        for numbers in numbers.chunks(BATCH) {
            let text = format!(
                "DELETE FROM snapshot WHERE repository = $1 AND number IN ({}) \
                 AND number NOT IN (SELECT number FROM reference WHERE repository = $1)",
                list(2, numbers.len())
            );
            let forget = numbers
                .iter()
                .fold(built(text).bind(repository.0), |query, &number| query.bind(number as i64));
            forgotten += write.execute(forget).await?;
        }
        if forgotten > 0 {
            let detail = object!({ "repository": repository, "snapshots": forgotten });
            let actor = crate::name::Actor::policy();
            write.audit(&actor, "snapshot.forget", &format!("repository {}", repository.0), &detail).await?;
        }
        write.commit().await?;
        Ok(forgotten)
    }
}

impl Write {
    async fn next_number(&mut self, repository: RepositoryId) -> Result<u64> {
        let row =
            self.optional(sql("SELECT next_number FROM repository WHERE id = $1").bind(repository.0)).await?;
        row.ok_or_else(|| Error::not_found("repository", repository.0))?.count("next_number")
    }

    /// A snapshot that must be the repository's next.
    pub(super) async fn put_next_snapshot(&mut self, new: &NewSnapshot) -> Result<()> {
        let next = self.next_number(new.repository).await?;
        if new.snapshot.number != next {
            return Err(Error::Conflict {
                what: format!("snapshot {}", new.snapshot.number),
                detail: format!("the next number is {next}"),
            });
        }
        self.put_snapshot(new).await
    }

    async fn put_snapshot(&mut self, new: &NewSnapshot) -> Result<()> {
        let (repository, snapshot, record) = (new.repository, &new.snapshot, new.record.to_string());
        if let Some((owner, number)) = new.relies_on {
            let query = sql("SELECT 1 AS found FROM snapshot WHERE repository = $1 AND number = $2");
            if self.optional(query.bind(owner.0).bind(number as i64)).await?.is_none() {
                return Err(Error::Conflict {
                    what: format!("snapshot {number}"),
                    detail: "retention has forgotten it in the meantime".into(),
                });
            }
        }
        if let Some(name) = &new.ref_name {
            let now = self.ref_number(repository, name).await?;
            if now != new.expected_parent {
                let shown =
                    |number: Option<u64>| number.map_or("nothing".into(), |number| number.to_string());
                return Err(Error::Conflict {
                    what: format!("ref `{name}`"),
                    detail: format!(
                        "it points at {}, not at {} any more",
                        shown(now),
                        shown(new.expected_parent)
                    ),
                });
            }
        }
        let insert = sql("INSERT INTO snapshot (repository, number, content, publication, parent, author, \
                          created_at, message, record) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
        let insert =
            insert.bind(repository.0).bind(snapshot.number as i64).bind(snapshot.content.to_string());
        let insert =
            insert.bind(snapshot.publication.to_string()).bind(snapshot.parent.map(|number| number as i64));
        let insert = insert.bind(snapshot.author.as_str()).bind(snapshot.created_at.as_micros());
        self.execute(insert.bind(plain(&snapshot.message)).bind(record.as_str())).await?;
        let update =
            sql("UPDATE repository SET next_number = $1, last_record_number = $2, last_record = $3 \
                          WHERE id = $4");
        let number = snapshot.number as i64;
        self.execute(update.bind(number + 1).bind(number).bind(record).bind(repository.0)).await?;
        if let Some(name) = &new.ref_name {
            self.point(repository, name, snapshot.number).await?;
        }
        if let Some(mark) = new.settles {
            let settle = sql("DELETE FROM dirty WHERE repository = $1 AND seq <= $2");
            self.execute(settle.bind(repository.0).bind(mark)).await?;
        }
        let detail = object!({
            "repository": repository,
            "number": snapshot.number,
            "content": snapshot.content,
            "publication": snapshot.publication,
            "record": new.record,
            "message": snapshot.message,
        });
        let name = new.ref_name.as_ref().map_or("", RefName::as_str);
        self.audit(&snapshot.author, "snapshot.commit", name, &detail).await
    }
}

pub(super) fn snapshot(row: &AnyRow) -> Result<Snapshot> {
    Ok(Snapshot {
        number: row.count("number")?,
        content: row.parsed("content")?,
        publication: row.parsed("publication")?,
        parent: row.count_or_none("parent")?,
        author: row.parsed("author")?,
        created_at: row.time("created_at")?,
        message: row.text("message")?,
    })
}
