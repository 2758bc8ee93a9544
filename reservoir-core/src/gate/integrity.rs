//! The scanner that is always there: the bytes that were inspected are the bytes that are stored.

use async_trait::async_trait;

use super::{Scanner, Subject, Verdict};
use crate::{error::Result, path::ContentPath};

/// Digests, identity and the strict archive check have passed before a subject exists at all (see
/// [`Ecosystem::inspect`](crate::ecosystem::Ecosystem::inspect)); what is left to say is that the store still has what was inspected.
#[derive(Debug, Default, Clone, Copy)]
pub struct Integrity;

#[async_trait]
impl Scanner for Integrity {
    fn id(&self) -> &'static str {
        "integrity"
    }

    async fn rules(&self) -> Result<String> {
        Ok("1".into())
    }

    /// It looks at nothing that the run of a cache has not looked at before it ends.
    fn lets_follow(&self, _: &ContentPath) -> bool {
        true
    }

    async fn scan(&self, subject: &Subject<'_>) -> Result<Verdict> {
        Ok(match subject.store.stat(&subject.blob.sha256).await? {
            Some(stored) if stored.size == subject.blob.size => Verdict::Clean,
            Some(stored) => Verdict::Finding {
                rule: "size".into(),
                detail: format!("{} bytes are stored, {} were recorded", stored.size, subject.blob.size),
            },
            None => Verdict::Incomplete { reason: "its bytes are not in the store".into() },
        })
    }
}
