//! What scanners said of blobs, so that they are not asked again.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::any::AnyRow;

use super::{
    Catalog, Fence,
    rows::{BATCH, Columns as _, WIDE, built, json, list, sql, tuples},
    write::Write,
};
use crate::{clock::Timestamp, digest::Sha256Digest, error::Result, gate::Verdict};

/// One verdict as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictRow {
    /// The scanner.
    pub scanner: String,
    /// The version of its rules.
    pub rules: String,
    /// What it said.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// When.
    pub at: Timestamp,
}

/// What one scanner said of a blob.
#[derive(Debug, Clone)]
pub(crate) struct NewVerdict {
    pub(crate) scanner: String,
    pub(crate) rules: String,
    pub(crate) verdict: Verdict,
}

impl Catalog {
    /// Keeps what a scanner with these rules says of a blob.
    #[cfg(any(test, feature = "testing"))]
    pub async fn put_verdict(
        &self,
        sha256: &Sha256Digest,
        scanner: &str,
        rules: &str,
        verdict: &Verdict,
    ) -> Result<()> {
        let mut write = self.write("keep a verdict").await?;
        let (scanner, rules, verdict) = (scanner.to_owned(), rules.to_owned(), verdict.clone());
        write.put_verdicts(&[(*sha256, &NewVerdict { scanner, rules, verdict })]).await?;
        write.commit().await
    }

    /// Keeps what the scanners here say of what a bundle brings. Durable once the load is committed.
    pub(crate) async fn receive_verdicts(
        &self,
        verdicts: &[(Sha256Digest, NewVerdict)],
        fence: &Fence,
    ) -> Result<()> {
        if verdicts.is_empty() {
            return Ok(());
        }
        let mut write = self.fenced_relaxed("keep verdicts", fence).await?;
        let verdicts: Vec<_> = verdicts.iter().map(|(sha256, verdict)| (*sha256, verdict)).collect();
        write.put_verdicts(&verdicts).await?;
        write.commit().await
    }

    /// What a scanner with exactly these rules said of a blob.
    pub async fn verdict(
        &self,
        sha256: &Sha256Digest,
        scanner: &str,
        rules: &str,
    ) -> Result<Option<Verdict>> {
        let query = sql("SELECT verdict FROM verdict WHERE sha256 = $1 AND scanner = $2 AND rules = $3");
        let query = query.bind(sha256.to_string()).bind(scanner).bind(rules);
        self.optional("read a verdict", query).await?.map(|row| row.decoded("verdict")).transpose()
    }

    /// [`verdicts`](Self::verdicts) of many blobs; those of which nothing was said are not among them.
    pub async fn verdicts_of(
        &self,
        blobs: &[Sha256Digest],
    ) -> Result<HashMap<Sha256Digest, Vec<VerdictRow>>> {
        let mut found: HashMap<Sha256Digest, Vec<VerdictRow>> = HashMap::new();
        for blobs in blobs.chunks(BATCH) {
            let digests = list(1, blobs.len());
            let text = format!(
                "SELECT sha256, scanner, rules, verdict, at FROM verdict WHERE sha256 IN ({digests}) \
                 ORDER BY at DESC, scanner, rules"
            );
            let query = blobs.iter().fold(built(text), |query, blob| query.bind(blob.to_string()));
            for row in &self.all("list verdicts", query).await? {
                found.entry(row.parsed("sha256")?).or_default().push(verdict(row)?);
            }
        }
        Ok(found)
    }

    /// Everything that was said of a blob, the latest first.
    pub async fn verdicts(&self, sha256: &Sha256Digest) -> Result<Vec<VerdictRow>> {
        let query = sql("SELECT scanner, rules, verdict, at FROM verdict WHERE sha256 = $1 \
                         ORDER BY at DESC, scanner, rules");
        let rows = self.all("list verdicts", query.bind(sha256.to_string())).await?;
        rows.iter().map(verdict).collect()
    }
}

impl Write {
    /// Keeps what scanners said; of two on the same by the same, the later counts.
    pub(super) async fn put_verdicts(&mut self, verdicts: &[(Sha256Digest, &NewVerdict)]) -> Result<()> {
        let now = self.now().as_micros();
        let mut latest: BTreeMap<(String, &str, &str), &Verdict> = BTreeMap::new();
        for (sha256, NewVerdict { scanner, rules, verdict }) in verdicts {
            latest.insert((sha256.to_string(), scanner, rules), verdict);
        }
        let latest: Vec<_> = latest.into_iter().collect();
        for part in latest.chunks(WIDE) {
            let text = tuples(part.len(), 5);
            let mut put = built(format!(
                "INSERT INTO verdict (sha256, scanner, rules, verdict, at) VALUES {text} \
                 ON CONFLICT (sha256, scanner, rules) DO UPDATE SET verdict = excluded.verdict, at = excluded.at"
            ));
            for ((sha256, scanner, rules), verdict) in part {
                put = put.bind(sha256.clone()).bind((*scanner).to_owned()).bind((*rules).to_owned());
                put = put.bind(json(verdict)?).bind(now);
            }
            self.execute(put).await?;
        }
        Ok(())
    }
}

fn verdict(row: &AnyRow) -> Result<VerdictRow> {
    Ok(VerdictRow {
        scanner: row.text("scanner")?,
        rules: row.text("rules")?,
        verdict: row.decoded("verdict")?,
        at: row.time("at")?,
    })
}
