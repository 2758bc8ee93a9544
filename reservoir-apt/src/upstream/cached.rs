//! Reading a registry for a cache: what signs a suite when a client asks for it, what the suite lists when somebody
//! wants a package of it. Index files that clients ask for are brought one by one, as packages are.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result,
    ecosystem::{Discovered, DiscoveredArtifact, DiscoverySink},
};
use serde_json::Value;

use super::{Reader, Remembered, Whole, alarm, suite::Answer, verbatim};
use crate::name::{Kind, Suite};

/// Of what a suite lists: the digest of the signed file that it was read of.
pub(crate) const LISTS_OF: &str = "lists-of";

/// States of a suite whose index files are known, beside those that are here: as many as clients may be in the middle
/// of reading.
const STATES: usize = 3;

impl Reader<'_> {
    /// Reads what is asked for: suites, or what they list.
    pub(super) async fn cached(&self, sink: &mut dyn DiscoverySink) -> Result<()> {
        for artifact in self.request.artifacts {
            let kind = Kind::of(artifact);
            let suite = match &kind {
                Some(Kind::Suite(suite) | Kind::Lists(suite)) => Some(suite),
                _ => None,
            };
            let has = |suite: &&Suite| {
                self.options.suites.contains(suite)
                    && self.registry.suites.as_ref().is_none_or(|known| known.contains(suite))
            };
            let Some(suite) = suite.filter(has) else {
                sink.found(Discovered::Missing { artifact: artifact.clone() }).await?;
                continue;
            };
            let known = Remembered::of(sink.cursor(artifact).await?);
            let outcome = match kind {
                Some(Kind::Lists(_)) => self.lists(suite, known.as_ref(), sink).await,
                _ => self.state(suite, known.as_ref(), sink).await,
            };
            let Err(error) = outcome else { continue };
            let Some(rule) = alarm(&error) else { return Err(error) };
            let (artifact, detail) = (artifact.clone(), error.to_string());
            sink.found(Discovered::Alarm { artifact, rule, detail }).await?;
        }
        Ok(())
    }

    /// What signs a suite, and the files that it lists.
    async fn state(
        &self,
        suite: &Suite,
        known: Option<&Remembered>,
        sink: &mut dyn DiscoverySink,
    ) -> Result<()> {
        let artifact = suite.to_artifact();
        let place = self.site(suite);
        let current = known.filter(|known| known.settings == self.settings);
        let answer = place.read(current.map(|known| (&known.validators, known.sha256.as_str()))).await?;
        let signed = match answer {
            Answer::Unchanged => {
                self.check_valid_until(known.and_then(|known| known.valid_until))?;
                return sink.found(Discovered::Unchanged { artifact }).await;
            }
            Answer::Missing => return sink.found(Discovered::Missing { artifact }).await,
            Answer::Signed(signed) => signed,
        };
        self.judge(suite, &signed, known)?;
        let mut state = self.state_of(&signed, known);
        let revision = state.revision()?;
        let mut files = self.signed_files(&place, &signed, &revision)?;
        let registry = &self.request.registry.name;
        files.extend(verbatim::listed(&place, registry, &signed.release, &revision, &self.options).await?);
        // Each state is a part, so that clients which have read the one before find its files.
        let part = |revision: &str| format!("{suite} {revision}");
        let mut states = known.map(|known| known.indexes.clone()).unwrap_or_default();
        states.insert(revision.to_string(), String::new());
        let mut over = Vec::new();
        while states.len() > STATES {
            over.extend(states.pop_first().map(|(revision, _)| revision));
        }
        state.indexes = states;
        sink.begin_part(&part(revision.as_str())).await?;
        sink.found(Discovered::Artifact(Box::new(DiscoveredArtifact {
            artifact,
            cursor: state.to_cursor(),
            attributes: BTreeMap::new(),
            quarantined: None,
            files,
            skipped: Vec::new(),
        })))
        .await?;
        sink.end_part().await?;
        for revision in over {
            sink.begin_part(&part(&revision)).await?;
            sink.end_part().await?;
        }
        Ok(())
    }

    /// What a suite lists: its indexes are read as for a mirror, those that changed.
    async fn lists(
        &self,
        suite: &Suite,
        known: Option<&Remembered>,
        sink: &mut dyn DiscoverySink,
    ) -> Result<()> {
        let artifact = suite.to_lists();
        let place = self.site(suite);
        let current = known.filter(|known| known.settings == self.settings);
        let signed = match place.read(current.map(|known| (&known.validators, known.sha256.as_str()))).await?
        {
            Answer::Unchanged => return sink.found(Discovered::Unchanged { artifact }).await,
            Answer::Missing => return sink.found(Discovered::Missing { artifact }).await,
            Answer::Signed(signed) => signed,
        };
        let folder = tempfile::tempdir().map_err(Error::io("make a folder for indexes"))?;
        let Whole { signed, mut state, indexes, .. } =
            self.whole(&place, signed, known, folder.path()).await?;
        state.indexes = self.indexes(&place, indexes, sink).await?;
        let before = known.into_iter().flat_map(|known| known.indexes.keys());
        let gone: Vec<String> = before.filter(|part| !state.indexes.contains_key(*part)).cloned().collect();
        let lists_of = Value::from(signed.sha256.to_string());
        sink.begin_part(&format!("{suite} lists")).await?;
        sink.found(Discovered::Artifact(Box::new(DiscoveredArtifact {
            artifact,
            cursor: state.to_cursor(),
            attributes: BTreeMap::from([(LISTS_OF.to_owned(), lists_of)]),
            quarantined: None,
            files: Vec::new(),
            skipped: Vec::new(),
        })))
        .await?;
        sink.end_part().await?;
        for part in gone {
            sink.begin_part(&part).await?;
            sink.end_part().await?;
        }
        Ok(())
    }
}
