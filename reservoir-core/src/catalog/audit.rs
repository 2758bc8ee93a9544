//! Who decided what, in a chain of hashes that shows any record changed, removed or moved afterwards.
//!
//! A record's hash is the SHA-256 of this JSON object, keys in this order, no white space, where `at` is
//! microseconds and `detail` is the stored JSON text as a string:
//! `{"action","actor","at","detail","previous","seq","subject"}`.

use serde::Serialize;
use serde_json::Value;
use sqlx::any::AnyRow;

use super::{
    Catalog,
    failure::corrupt,
    rows::{Columns as _, WIDE, built, json, plain, sql, tuples},
    write::Write,
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    lifecycle::Revision,
    name::Actor,
};

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// Its place in the chain, from 1, without gaps.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What was done, such as `snapshot.commit`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Counts and reasons.
    pub detail: Value,
    /// The hash of the record before; zeros for the first.
    pub previous: Sha256Digest,
    /// Its own hash.
    pub hash: Sha256Digest,
}

#[derive(Serialize)]
struct Hashed<'a> {
    action: &'a str,
    actor: &'a str,
    at: i64,
    detail: &'a str,
    previous: Sha256Digest,
    seq: i64,
    subject: &'a str,
}

impl Hashed<'_> {
    fn hash(&self) -> Result<Sha256Digest> {
        Ok(Sha256Digest::of(json(self)?.as_bytes()))
    }
}

/// A moment in the order of commits: what was committed before it is seen by every later read, and what is committed
/// after it stands behind it in the audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    /// The number of the last record of the audit log, and its hash.
    pub(crate) seq: i64,
    pub(crate) hash: Sha256Digest,
}

/// Records verified at a time.
const PAGE: u32 = 1000;

impl Write {
    /// Appends to the chain. The write lock makes the order of the chain the order of the commits.
    pub(super) async fn audit(
        &mut self,
        actor: &Actor,
        action: &'static str,
        subject: &str,
        detail: &Value,
    ) -> Result<()> {
        self.audit_all(&[(actor, action, subject.to_owned(), detail.clone())]).await
    }

    /// The same for many records, in this order: actor, action, subject, detail.
    pub(super) async fn audit_all(
        &mut self,
        records: &[(&Actor, &'static str, String, Value)],
    ) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let head = self.one(sql("SELECT seq, hash FROM audit_head WHERE id = 1")).await?;
        let (mut seq, mut previous) = (head.int("seq")?, head.parsed("hash")?);
        let at = self.now().as_micros();
        for records in records.chunks(WIDE) {
            let mut insert = built(format!(
                "INSERT INTO audit (seq, at, actor, action, subject, detail, previous, hash) VALUES {}",
                tuples(records.len(), 8)
            ));
            for (actor, action, subject, detail) in records {
                seq += 1;
                let (actor, subject, detail) = (actor.as_str(), plain(subject), json(detail)?);
                let record = Hashed { action, actor, at, detail: &detail, previous, seq, subject: &subject };
                let hash = record.hash()?;
                insert = insert.bind(seq).bind(at).bind(actor.to_owned()).bind(*action).bind(subject);
                insert = insert.bind(detail).bind(previous.to_string()).bind(hash.to_string());
                previous = hash;
            }
            self.execute(insert).await?;
        }
        let update = sql("UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1");
        self.execute(update.bind(seq).bind(previous.to_string())).await?;
        Ok(())
    }
}

impl Catalog {
    /// Records after `after` (0 for all), oldest first.
    pub async fn audit(&self, after: i64, limit: u32) -> Result<Vec<AuditRecord>> {
        self.audit_rows(after, limit).await?.iter().map(record).collect()
    }

    /// What was decided about one artifact of a repository as a whole and about one of its revisions, oldest
    /// first; a thousand at most.
    pub async fn audit_of(&self, revision: &Revision) -> Result<Vec<AuditRecord>> {
        let query = sql("SELECT seq, at, actor, action, subject, detail, previous, hash FROM audit \
                         WHERE subject IN ($1, $2) ORDER BY seq LIMIT 1000");
        let query = query.bind(revision.artifact.as_str());
        let query = query.bind(format!("{}@{}", revision.artifact, revision.revision));
        let mut records = Vec::new();
        for row in self.all("read the audit log", query).await? {
            let record = record(&row)?;
            // Other repositories have artifacts of the same name.
            if record.detail.get("repository").and_then(Value::as_i64) == Some(revision.repository.0) {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Where the chain ends: the number of its last record and its hash. Whoever notes it somewhere else can show later
    /// that nothing up to there was written anew.
    pub async fn audit_head(&self) -> Result<(i64, Sha256Digest)> {
        let head =
            self.one("read the audit head", sql("SELECT seq, hash FROM audit_head WHERE id = 1")).await?;
        Ok((head.int("seq")?, head.parsed("hash")?))
    }

    /// Now, in the order of commits: writers are waited for, as they take their time under the same lock.
    pub(crate) async fn moment(&self) -> Result<Moment> {
        let mut write = self.write_relaxed("look at the order of commits").await?;
        let head = write.one(sql("SELECT seq, hash FROM audit_head WHERE id = 1")).await?;
        Ok(Moment { at: write.now(), seq: head.int("seq")?, hash: head.parsed("hash")? })
    }

    /// The earliest time that a record behind the one of that number bears; `None` when there is none. Clocks that were
    /// set back, or are another machine's, make it earlier than that record's own.
    pub(crate) async fn earliest_behind(&self, seq: i64) -> Result<Option<Timestamp>> {
        let query = sql("SELECT MIN(at) AS at FROM audit WHERE seq > $1").bind(seq);
        let row = self.one("read the audit log", query).await?;
        Ok(row.int_or_none("at")?.map(Timestamp::from_micros))
    }

    /// Recomputes the whole chain; returns how many records it has.
    ///
    /// # Errors
    /// [`Error::Integrity`] names the first record that was changed, removed or moved.
    pub async fn verify_audit(&self) -> Result<u64> {
        // The head is read first: records appended meanwhile lie behind it and are only checked as a chain.
        let (head_seq, head_hash) = self.audit_head().await?;
        let mut seq = 0;
        let mut previous = Sha256Digest::from_bytes([0; 32]);
        if head_seq == 0 {
            expect(0, "hash", previous, head_hash)?;
        }
        loop {
            let rows = self.audit_rows(seq, PAGE).await?;
            for row in &rows {
                let found = row.int("seq")?;
                if found != seq + 1 {
                    return Err(broken(seq + 1, format!("record {}", seq + 1), format!("record {found}")));
                }
                seq = found;
                expect(seq, "previous", previous, row.parsed("previous")?)?;
                previous = rehash(row)?;
                expect(seq, "hash", previous, row.parsed("hash")?)?;
                if seq == head_seq {
                    expect(seq, "head", head_hash, previous)?;
                }
            }
            if rows.len() < PAGE as usize {
                break;
            }
        }
        if seq < head_seq {
            return Err(broken(seq + 1, format!("{head_seq} records"), format!("{seq} records")));
        }
        Ok(seq.unsigned_abs())
    }

    async fn audit_rows(&self, after: i64, limit: u32) -> Result<Vec<AnyRow>> {
        let query = sql("SELECT seq, at, actor, action, subject, detail, previous, hash FROM audit \
                         WHERE seq > $1 ORDER BY seq LIMIT $2");
        self.all("read the audit log", query.bind(after).bind(i64::from(limit))).await
    }
}

fn rehash(row: &AnyRow) -> Result<Sha256Digest> {
    Hashed {
        action: &row.text("action")?,
        actor: &row.text("actor")?,
        at: row.int("at")?,
        detail: &row.text("detail")?,
        previous: row.parsed("previous")?,
        seq: row.int("seq")?,
        subject: &row.text("subject")?,
    }
    .hash()
}

fn record(row: &AnyRow) -> Result<AuditRecord> {
    Ok(AuditRecord {
        seq: row.int("seq")?,
        at: row.time("at")?,
        actor: row.parsed("actor")?,
        action: row.text("action")?,
        subject: row.text("subject")?,
        detail: serde_json::from_str(&row.text("detail")?).map_err(|error| corrupt("detail", error))?,
        previous: row.parsed("previous")?,
        hash: row.parsed("hash")?,
    })
}

fn expect(seq: i64, what: &str, expected: Sha256Digest, found: Sha256Digest) -> Result<()> {
    if expected == found { Ok(()) } else { Err(broken(seq, format!("{what} {expected}"), found.to_string())) }
}

fn broken(seq: i64, expected: String, actual: String) -> Error {
    Error::Integrity { what: format!("audit record {seq}"), expected, actual }
}
