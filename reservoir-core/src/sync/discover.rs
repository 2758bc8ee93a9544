//! Asking registries what they offer, and recording it.

use async_trait::async_trait;

use super::{Source, SyncReport, Syncer, is_fatal};
use crate::{
    ecosystem::{Cursor, Discover, Discovered, DiscoverySink},
    error::Result,
    name::ArtifactName,
    task::Progress,
};

/// The key under which a stored cursor says whose it is.
const REGISTRY: &str = "registry";

impl Syncer<'_> {
    /// Asks the registries in order; the first that knows an artifact wins.
    pub(super) async fn discover(
        &self,
        mut artifacts: Vec<ArtifactName>,
        report: &mut SyncReport,
    ) -> Result<()> {
        self.task.report(Progress::Phase { name: "discover", total: Some(artifacts.len() as u64) });
        for source in &self.sources {
            if artifacts.is_empty() {
                break;
            }
            self.task.checkpoint()?;
            let mut sink = Recorder { syncer: self, source, report, missing: Vec::new() };
            let request = Discover {
                registry: &source.registry,
                repository: &self.repository.config,
                artifacts: &artifacts,
                fetcher: &source.fetcher,
            };
            let asked = self.task.or_cancelled(self.ecosystem.discover(request, &mut sink)).await;
            let missing = std::mem::take(&mut sink.missing);
            match asked {
                Ok(()) => artifacts = missing,
                Err(error) if is_fatal(&error) => return Err(error),
                // A registry that is away must not make the next one win (dependency confusion): what is
                // known stays, and the sync says that it is incomplete.
                Err(error) => {
                    report.alarms.push(format!("registry `{}`: {}", source.registry.name, chain(&error)));
                    return Ok(());
                }
            }
        }
        for artifact in artifacts {
            report.missing.push(format!("no registry knows `{artifact}`"));
        }
        Ok(())
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

struct Recorder<'s, 'a> {
    syncer: &'s Syncer<'a>,
    source: &'s Source,
    report: &'s mut SyncReport,
    missing: Vec<ArtifactName>,
}

#[async_trait]
impl DiscoverySink for Recorder<'_, '_> {
    async fn cursor(&mut self, artifact: &ArtifactName) -> Result<Option<Cursor>> {
        let mut cursor = self.syncer.catalog.cursor(self.syncer.repository.id, artifact).await?;
        // What another registry said of it means nothing here.
        let registry = cursor.as_mut().and_then(|cursor| cursor.0.remove(REGISTRY));
        Ok(cursor.filter(|_| registry.as_deref() == Some(self.source.registry.name.as_str())))
    }

    async fn found(&mut self, unit: Discovered) -> Result<()> {
        self.syncer.task.checkpoint()?;
        let (catalog, repository) = (self.syncer.catalog, self.syncer.repository.id);
        let artifact = match &unit {
            Discovered::Unchanged { artifact }
            | Discovered::Missing { artifact }
            | Discovered::Alarm { artifact, .. } => artifact.clone(),
            Discovered::Artifact(found) => found.artifact.clone(),
        };
        match unit {
            Discovered::Missing { artifact } => {
                self.missing.push(artifact);
                return Ok(());
            }
            Discovered::Unchanged { .. } => self.report.unchanged += 1,
            Discovered::Alarm { artifact, rule, detail } => {
                catalog.record_alarm(repository, &artifact, None, rule, &detail, &self.syncer.actor).await?;
                self.report.alarms.push(format!("{artifact}: {rule}: {detail}"));
            }
            Discovered::Artifact(mut found) => {
                let registry = self.source.registry.name.to_string();
                found.cursor.0.insert(REGISTRY.to_owned(), registry);
                let outcome = catalog
                    .record_discovery(repository, &self.source.registry.name, &found, &self.syncer.actor)
                    .await?;
                self.report.new_files += outcome.new_files;
                for alarm in outcome.alarms {
                    let path = alarm.path.map(|path| format!(" `{path}`")).unwrap_or_default();
                    self.report.alarms.push(format!("{artifact}{path}: {}: {}", alarm.rule, alarm.detail));
                }
                self.report.skip(found.skipped);
            }
        }
        self.report.asked += 1;
        self.syncer.task.report(Progress::Discovered { artifact });
        Ok(())
    }
}
