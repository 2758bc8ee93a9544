//! Asking registries what they offer, and recording it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;

use super::{Source, SyncReport, Syncer, is_fatal};
use crate::{
    catalog::{Part, Seen},
    digest::Sha256Digest,
    ecosystem::{
        Cursor, Discover, Discovered, DiscoveredArtifact, DiscoveredFile, DiscoverySink, Requirement, Scope,
    },
    error::{Error, Result, chain},
    name::ArtifactName,
    path::ContentPath,
    store::{Blob, BlobSink as _},
    task::Progress,
};

/// The key under which a stored cursor says whose it is.
const REGISTRY: &str = "registry";

impl Syncer<'_> {
    /// Asks the registries in order; the first that knows an artifact wins, where they are asked for
    /// artifacts. Otherwise each is asked for all it has. Whether anything but "unchanged" was heard.
    pub(super) async fn discover(
        &self,
        mut artifacts: Vec<ArtifactName>,
        wanted: &[Requirement],
        report: &mut SyncReport,
    ) -> Result<bool> {
        let scope = self.ecosystem.scope();
        let mut changed = false;
        // Where offers add up: what no registry has.
        let mut nowhere: Option<BTreeSet<ArtifactName>> = None;
        if self.repository.config.takes_uploads() && scope == Scope::Artifacts {
            // Nobody outside hears of internal names, and nobody outside can offer anything under one.
            let internal = self.catalog.internal(self.repository.id, &artifacts).await?;
            artifacts.retain(|artifact| !internal.contains(artifact));
        }
        self.task.report(Progress::Phase { name: "discover", total: Some(artifacts.len() as u64) });
        for source in &self.sources {
            if artifacts.is_empty() && scope == Scope::Artifacts {
                break;
            }
            self.task.checkpoint()?;
            match self.ask(source, &artifacts, wanted, report).await {
                Ok(asked) => {
                    changed |= asked.changed;
                    if scope == Scope::Artifacts {
                        artifacts = asked.missing;
                        continue;
                    }
                    let missing: BTreeSet<ArtifactName> = asked.missing.into_iter().collect();
                    nowhere = Some(match nowhere {
                        Some(before) => before.intersection(&missing).cloned().collect(),
                        None => missing,
                    });
                }
                Err(error) if is_fatal(&error) => return Err(error),
                // A registry that is away must not make the next one win (dependency confusion): what is
                // known stays, and the sync says that it is incomplete.
                Err(error) => {
                    report.alarms.push(format!("registry `{}`: {}", source.registry.name, chain(&error)));
                    changed = true;
                    if scope == Scope::Artifacts {
                        return Ok(changed);
                    }
                }
            }
        }
        if scope == Scope::Registry {
            artifacts = nowhere.unwrap_or_default().into_iter().collect();
        }
        report.missing.extend(artifacts.iter().map(|artifact| format!("no registry knows `{artifact}`")));
        Ok(changed)
    }

    /// Asks one registry and records what it says.
    pub(crate) async fn ask(
        &self,
        source: &Source,
        artifacts: &[ArtifactName],
        wanted: &[Requirement],
        report: &mut SyncReport,
    ) -> Result<Asked> {
        self.ask_of(source, artifacts, wanted, None, report).await
    }

    /// Asks the registries after the first for files that a lock names by their digests and the first that knows their
    /// artifacts does not offer: an index of special builds has them under the names of the common one. The digests say
    /// what they are, whoever offers them. Whether any was found.
    pub(super) async fn look_further(
        &self,
        lacking: &BTreeMap<ArtifactName, BTreeSet<Sha256Digest>>,
        report: &mut SyncReport,
    ) -> Result<bool> {
        if self.sources.len() < 2 || lacking.is_empty() || self.ecosystem.scope() != Scope::Artifacts {
            return Ok(false);
        }
        let artifacts: Vec<ArtifactName> = lacking.keys().cloned().collect();
        let internal = self.catalog.internal(self.repository.id, &artifacts).await?;
        let artifacts: Vec<ArtifactName> =
            artifacts.into_iter().filter(|artifact| !internal.contains(artifact)).collect();
        let before = report.new_files;
        for source in &self.sources {
            self.task.checkpoint()?;
            match self.ask_of(source, &artifacts, &[], Some(lacking), report).await {
                Err(error) if !is_fatal(&error) => {
                    report.alarms.push(format!("registry `{}`: {}", source.registry.name, chain(&error)));
                }
                asked => drop(asked?),
            }
        }
        Ok(report.new_files > before)
    }

    async fn ask_of(
        &self,
        source: &Source,
        artifacts: &[ArtifactName],
        wanted: &[Requirement],
        only: Option<&BTreeMap<ArtifactName, BTreeSet<Sha256Digest>>>,
        report: &mut SyncReport,
    ) -> Result<Asked> {
        let mut sink = Recorder { only, ..Recorder::new(self, source, report) };
        let request = Discover {
            registry: &source.registry,
            repository: &self.repository.config,
            artifacts,
            wanted,
            fetcher: &source.fetcher,
        };
        let asked = self.task.or_cancelled(self.ecosystem.discover(request, &mut sink)).await;
        // What it found before it failed is worth keeping.
        sink.flush().await?;
        asked.map(|()| Asked { missing: std::mem::take(&mut sink.missing), changed: sink.changed })
    }
}

/// What asking one registry came to.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The artifacts that it does not know.
    pub(crate) missing: Vec<ArtifactName>,
    /// Whether anything differs from what was known.
    pub(crate) changed: bool,
}

/// Units recorded in one transaction.
const UNITS: usize = 200;
/// The same for units of an index, which are small.
const INDEX_UNITS: usize = 2000;
/// Bytes that came with them, and bytes of their facts.
const UNIT_BYTES: usize = 8 << 20;

struct Recorder<'s, 'a> {
    syncer: &'s Syncer<'a>,
    source: &'s Source,
    report: &'s mut SyncReport,
    missing: Vec<ArtifactName>,
    /// Not recorded yet.
    units: Vec<DiscoveredArtifact>,
    stored: HashMap<ContentPath, Blob>,
    bytes: usize,
    /// The index that is being read, where registries have such.
    part: Part,
    seen: Seen,
    /// The only files that are recorded, where somebody else has told the rest.
    only: Option<&'s BTreeMap<ArtifactName, BTreeSet<Sha256Digest>>>,
    /// Whether anything but "unchanged" was heard.
    changed: bool,
}

impl<'s, 'a> Recorder<'s, 'a> {
    fn new(syncer: &'s Syncer<'a>, source: &'s Source, report: &'s mut SyncReport) -> Self {
        Self {
            syncer,
            source,
            report,
            missing: Vec::new(),
            units: Vec::new(),
            stored: HashMap::new(),
            bytes: 0,
            part: Part { registry: source.registry.name.clone(), name: String::new() },
            seen: Seen::new(syncer.ecosystem.replaces_bytes(&syncer.repository.config)),
            only: None,
            changed: false,
        }
    }

    fn adds_up(&self) -> bool {
        self.syncer.ecosystem.scope() == Scope::Registry
    }

    /// Takes one unit; its bytes go to the store at once.
    async fn add(&mut self, mut found: DiscoveredArtifact) -> Result<()> {
        if let Some(only) = self.only {
            let Some(wanted) = only.get(&found.artifact) else { return Ok(()) };
            found.files.retain(|file| file.sha256.is_some_and(|sha256| wanted.contains(&sha256)));
            let (catalog, registry) = (self.syncer.catalog, &self.source.registry.name);
            let (repository, actor) = (self.syncer.repository.id, &self.syncer.actor);
            self.report.new_files += catalog.record_further(repository, registry, &found, actor).await?;
            return Ok(());
        }
        self.changed = true;
        self.bytes += found.weight();
        if !self.adds_up() {
            found.cursor.0.insert(REGISTRY.to_owned(), self.source.registry.name.to_string());
        }
        for file in &mut found.files {
            let Some(bytes) = file.bytes.take() else { continue };
            self.bytes += bytes.len();
            let blob = self.syncer.store.put_bytes(bytes).await?;
            file.url = format!("{}:{}", DiscoveredFile::INLINE, blob.sha256)
                .parse()
                .map_err(|error: url::ParseError| Error::invalid("inline address", error.to_string()))?;
            (file.size, file.sha256) = (Some(blob.size), Some(blob.sha256));
            self.stored.insert(file.path.clone(), blob);
        }
        self.units.push(found);
        let most = if self.adds_up() { INDEX_UNITS } else { UNITS };
        if self.units.len() >= most || self.bytes >= UNIT_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Records what was found and is not recorded yet.
    async fn flush(&mut self) -> Result<()> {
        let (units, stored) = (std::mem::take(&mut self.units), std::mem::take(&mut self.stored));
        self.bytes = 0;
        if units.is_empty() {
            return Ok(());
        }
        let (catalog, repository) = (self.syncer.catalog, self.syncer.repository.id);
        let registry = &self.source.registry.name;
        let actor = &self.syncer.actor;
        if self.adds_up() {
            let (part, seen) = (&self.part, &mut self.seen);
            let outcome = catalog.record_offers(repository, part, &units, &stored, seen, actor).await?;
            self.report.new_files += outcome.new_files;
            for alarm in outcome.alarms {
                let path = alarm.path.map(|path| format!("`{path}`: ")).unwrap_or_default();
                self.report.alarms.push(format!("{registry}: {path}{}: {}", alarm.rule, alarm.detail));
            }
            for found in units {
                self.report.skip(found.skipped);
                // Packages of an index are not asked for one by one.
                if !found.cursor.0.is_empty() {
                    self.report.asked += 1;
                }
                self.syncer.task.report(Progress::Discovered { artifact: found.artifact });
            }
            return Ok(());
        }
        let outcomes = catalog.record_discoveries(repository, registry, &units, &stored, actor).await?;
        for (found, outcome) in units.into_iter().zip(outcomes) {
            let artifact = found.artifact;
            self.report.new_files += outcome.new_files;
            for alarm in outcome.alarms {
                let path = alarm.path.map(|path| format!(" `{path}`")).unwrap_or_default();
                self.report.alarms.push(format!("{artifact}{path}: {}: {}", alarm.rule, alarm.detail));
            }
            self.report.skip(found.skipped);
            self.report.asked += 1;
            self.syncer.task.report(Progress::Discovered { artifact });
        }
        Ok(())
    }
}

#[async_trait]
impl DiscoverySink for Recorder<'_, '_> {
    async fn cursor(&mut self, artifact: &ArtifactName) -> Result<Option<Cursor>> {
        if self.only.is_some() {
            // That its answer has not changed says nothing of what was left out of it.
            return Ok(None);
        }
        if self.adds_up() {
            let (catalog, repository) = (self.syncer.catalog, self.syncer.repository.id);
            return catalog.cursor_of(repository, &self.source.registry.name, artifact).await;
        }
        let mut cursor = self.syncer.catalog.cursor(self.syncer.repository.id, artifact).await?;
        // What another registry said of it means nothing here.
        let registry = cursor.as_mut().and_then(|cursor| cursor.0.remove(REGISTRY));
        Ok(cursor.filter(|_| registry.as_deref() == Some(self.source.registry.name.as_str())))
    }

    async fn found(&mut self, unit: Discovered) -> Result<()> {
        self.syncer.task.checkpoint()?;
        let artifact = match unit {
            Discovered::Artifact(found) => return self.add(*found).await,
            Discovered::Missing { artifact } => {
                self.missing.push(artifact);
                return Ok(());
            }
            Discovered::Unchanged { artifact } => {
                self.report.unchanged += 1;
                artifact
            }
            Discovered::Alarm { artifact, rule, detail } => {
                self.changed = true;
                let (catalog, repository) = (self.syncer.catalog, self.syncer.repository.id);
                catalog.record_alarm(repository, &artifact, None, rule, &detail, &self.syncer.actor).await?;
                self.report.alarms.push(format!("{artifact}: {rule}: {detail}"));
                artifact
            }
        };
        self.report.asked += 1;
        self.syncer.task.report(Progress::Discovered { artifact });
        Ok(())
    }

    async fn begin_part(&mut self, part: &str) -> Result<()> {
        self.flush().await?;
        part.clone_into(&mut self.part.name);
        self.seen = Seen::new(self.syncer.ecosystem.replaces_bytes(&self.syncer.repository.config));
        Ok(())
    }

    async fn end_part(&mut self) -> Result<()> {
        self.flush().await?;
        let (catalog, repository) = (self.syncer.catalog, self.syncer.repository.id);
        let seen = std::mem::take(&mut self.seen);
        let withdrawn = catalog.end_part(repository, &self.part, &seen, &self.syncer.actor).await?;
        self.changed |= withdrawn > 0;
        self.part.name.clear();
        Ok(())
    }

    async fn keep_parts(&mut self, parts: &[String]) -> Result<()> {
        self.flush().await?;
        let (catalog, repository) = (self.syncer.catalog, self.syncer.repository.id);
        let (registry, parts) = (&self.source.registry.name, parts.iter().cloned().collect());
        let withdrawn = catalog.keep_parts(repository, registry, &parts, &self.syncer.actor).await?;
        self.changed |= withdrawn > 0;
        Ok(())
    }
}
