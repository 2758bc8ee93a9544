//! A scanner of one's own: some names need a person, whatever their bytes are.

use std::collections::BTreeSet;

use async_trait::async_trait;
use reservoir_core::{
    Result,
    gate::{Scanner, Subject, Verdict},
};

/// Finds every file of the artifacts it is given. A finding never lets a revision in by itself: it waits for
/// a person's `approve` or `reject`.
#[derive(Debug, Clone)]
pub struct DenyByName {
    names: BTreeSet<String>,
}

impl DenyByName {
    /// A scanner that finds these artifacts, each in its ecosystem's canonical spelling.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }
}

#[async_trait]
impl Scanner for DenyByName {
    fn id(&self) -> &'static str {
        "deny-by-name"
    }

    /// The names themselves: with other names, every older verdict is asked for again.
    async fn rules(&self) -> Result<String> {
        Ok(self.names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    }

    async fn scan(&self, subject: &Subject<'_>) -> Result<Verdict> {
        let artifact = subject.artifact.as_str();
        if self.names.contains(artifact) {
            let detail = format!("`{artifact}` is on this host's list");
            return Ok(Verdict::Finding { rule: "denied-name".into(), detail });
        }
        Ok(Verdict::Clean)
    }
}
