//! A scanner of one's own: some bytes need a person, whatever they are called.

use std::collections::BTreeSet;

use async_trait::async_trait;
use reservoir_core::{
    Result,
    digest::Sha256Digest,
    gate::{Scanner, Subject, Verdict},
};

/// Finds every file whose SHA-256 is on a list. A finding never lets a revision in by itself: it waits for a person's
/// `approve` or `reject`.
#[derive(Debug, Clone)]
pub struct DenyByDigest {
    digests: BTreeSet<Sha256Digest>,
}

impl DenyByDigest {
    /// A scanner that finds files with these bytes.
    pub fn new(digests: impl IntoIterator<Item = Sha256Digest>) -> Self {
        Self { digests: digests.into_iter().collect() }
    }
}

#[async_trait]
impl Scanner for DenyByDigest {
    fn id(&self) -> &'static str {
        "deny-by-digest"
    }

    /// The list itself, in short: with another list, no older verdict counts.
    async fn rules(&self) -> Result<String> {
        let list: Vec<String> = self.digests.iter().map(ToString::to_string).collect();
        Ok(Sha256Digest::of(list.join(",").as_bytes()).to_string())
    }

    /// Goes by the bytes alone, because the verdict is kept for the bytes: a file of the same bytes under another name
    /// has it, too, and is not asked about.
    async fn scan(&self, subject: &Subject<'_>) -> Result<Verdict> {
        if self.digests.contains(&subject.blob.sha256) {
            let detail = format!("`{}` is on this host's list", subject.path);
            return Ok(Verdict::Finding { rule: "denied-digest".into(), detail });
        }
        Ok(Verdict::Clean)
    }
}
