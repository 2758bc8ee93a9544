//! Which index files there are, before any package is looked at.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use futures::TryStreamExt as _;
use reservoir_core::{
    Result,
    digest::Sha256Digest,
    ecosystem::{DiscoveredFile, Mode},
    name::RevisionName,
    snapshot::{Contents, Entry},
};
use serde_json::Value;

use super::listing::join;
use crate::{
    attribute,
    name::{Architecture, Component, Suite, last_part},
    options::Options,
};

/// Changes whenever the same content would give other members.
const RENDERING: u32 = 3;

/// What a publication consists of.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) suites: Vec<SuitePlan>,
    /// The index files of all suites.
    pub(super) files: Vec<FilePlan>,
    /// By the keys that stanzas are kept under: the index files that they may go to.
    by_key: HashMap<String, Vec<usize>>,
    /// Where uploaded packages go.
    hosted: Option<String>,
    /// Phased-Update-Percentage is left out.
    pub(super) strip_phasing: bool,
}

/// One suite.
#[derive(Debug)]
pub(super) struct SuitePlan {
    pub(super) suite: Suite,
    pub(super) components: Vec<Component>,
    pub(super) architectures: Vec<Architecture>,
    /// The fields of upstream's newest Release, names in lower case; none where there is no upstream.
    pub(super) upstream: BTreeMap<String, String>,
}

/// One index file.
#[derive(Debug)]
pub(super) struct FilePlan {
    /// Its suite's place in the plan.
    pub(super) suite: usize,
    /// `main/binary-amd64`, relative to the suite; empty in a flat one.
    pub(super) folder: String,
    kind: Kind,
}

/// What a stanza of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Package,
    /// A package that somebody uploaded, by its own control paragraph.
    Upload,
    Source,
    Description,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Packages of one architecture and of `all`; of every architecture wanted in a flat suite.
    Packages(Vec<Architecture>),
    Sources,
    /// Long descriptions.
    Descriptions,
}

impl Plan {
    pub(super) async fn new(contents: &Contents<'_>, options: &Options) -> Result<Self> {
        let mut upstream = releases(contents).await?;
        let is_hosted = contents.repository.mode == Mode::Hosted;
        let mut plan = Self {
            suites: Vec::new(),
            files: Vec::new(),
            by_key: HashMap::new(),
            hosted: None,
            strip_phasing: options.strip_phasing,
        };
        let default_suite = || -> Result<Vec<Suite>> { Ok(vec!["stable".parse()?]) };
        let suites = if options.suites.is_empty() { default_suite()? } else { options.suites.clone() };
        for suite in suites {
            let release = match upstream.remove(&suite) {
                Some(newest) => newest.release,
                None if is_hosted => BTreeMap::new(),
                // Nothing is said of it yet. What would be made up here, clients would remember and hold against what
                // upstream says later.
                None => continue,
            };
            let mut components = options.components.clone();
            if components.is_empty() && !suite.is_flat() {
                let offered = release.get("components").map_or("main", String::as_str);
                let all = offered.split_ascii_whitespace().filter_map(|name| last_part(name).parse().ok());
                components = all.collect();
            }
            components.sort();
            components.dedup();
            plan.add(suite, components, options, release);
        }
        if is_hosted {
            // Uploads lie in the pool of the first component that is named.
            plan.hosted = plan.suites.first().map(|first| {
                let component = options.components.first().or(first.components.first());
                first.suite.key(component)
            });
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        suite: Suite,
        components: Vec<Component>,
        options: &Options,
        upstream: BTreeMap<String, String>,
    ) {
        let place = self.suites.len();
        let mut architectures = options.architectures.clone();
        architectures.sort();
        architectures.dedup();
        if suite.is_flat() {
            self.file(place, suite.key(None), String::new(), Kind::Packages(architectures.clone()));
            if options.sources {
                self.file(place, suite.key(None), String::new(), Kind::Sources);
            }
        }
        for component in &components {
            let key = suite.key(Some(component));
            for architecture in &architectures {
                let folder = format!("{component}/binary-{architecture}");
                self.file(place, key.clone(), folder, Kind::Packages(vec![architecture.clone()]));
            }
            if options.lists_descriptions() {
                self.file(place, key.clone(), format!("{component}/i18n"), Kind::Descriptions);
            }
            if options.sources {
                self.file(place, key, format!("{component}/source"), Kind::Sources);
            }
        }
        self.suites.push(SuitePlan { suite, components, architectures, upstream });
    }

    fn file(&mut self, suite: usize, key: String, folder: String, kind: Kind) {
        self.by_key.entry(key).or_default().push(self.files.len());
        self.files.push(FilePlan { suite, folder, kind });
    }

    /// The stanzas of an entry, each with the index files it goes to.
    pub(super) fn stanzas<'e>(&self, entry: &'e Entry) -> Vec<(Vec<usize>, Listed, &'e str)> {
        let architecture = entry.revision.as_ref().and_then(|name| name.as_str().rsplit_once(':'));
        let architecture = architecture.map_or("", |(_, architecture)| architecture);
        let objects = [
            (attribute::STANZAS, Listed::Package),
            (attribute::SOURCES, Listed::Source),
            (attribute::DESCRIPTIONS, Listed::Description),
        ];
        let mut found = Vec::new();
        for (name, listed) in objects {
            let Some(Value::Object(stanzas)) = entry.attributes.get(name) else { continue };
            for (key, stanza) in stanzas {
                let Some(stanza) = stanza.as_str() else { continue };
                found.push((self.targets(key, architecture, listed), listed, stanza));
            }
        }
        if let Some(key) = &self.hosted
            && let Some(control) = entry.attributes.get(attribute::CONTROL).and_then(Value::as_str)
        {
            found.push((self.targets(key, architecture, Listed::Package), Listed::Upload, control));
        }
        found.retain(|(files, ..)| !files.is_empty());
        found
    }

    fn targets(&self, key: &str, architecture: &str, listed: Listed) -> Vec<usize> {
        let files = self.by_key.get(key).or_else(|| {
            // `bookworm-security/updates/main` is what its clients call `bookworm-security/main`.
            let (suite, component) = key.split_once('/')?;
            self.by_key.get(&format!("{suite}/{}", last_part(component)))
        });
        let takes = |file: &&usize| match &self.files[**file].kind {
            Kind::Sources => listed == Listed::Source,
            Kind::Descriptions => listed == Listed::Description,
            Kind::Packages(architectures) => {
                let fits = architecture == "all" || architectures.iter().any(|a| a.as_str() == architecture);
                listed == Listed::Package && fits
            }
        };
        files.into_iter().flatten().filter(takes).copied().collect()
    }

    /// Where an index file lies in the publication.
    pub(super) fn folder(&self, file: &FilePlan) -> String {
        join_folders(&self.suites[file.suite].suite.folder(), &file.folder)
    }

    /// What members depend on beside their pages.
    pub(super) fn fingerprint(&self) -> Sha256Digest {
        let mut text = format!("{RENDERING} {} {:?}\n", self.strip_phasing, self.hosted);
        let mut keys: Vec<_> = self.by_key.iter().collect();
        keys.sort();
        for (key, files) in keys {
            for file in files {
                let at = &self.files[*file];
                let _ = writeln!(text, "{key} {:?} {:?}", self.folder(at), at.kind);
            }
        }
        Sha256Digest::of(text.as_bytes())
    }
}

impl FilePlan {
    /// Whether clients are told of it though nothing is in it. apt takes an index of descriptions for one more file to
    /// fetch.
    pub(super) fn is_listed(&self, size: u64) -> bool {
        size > 0 || self.kind != Kind::Descriptions
    }

    /// `Packages`, `Sources` or `Translation-en`.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Packages(_) => "Packages",
            Kind::Sources => "Sources",
            Kind::Descriptions => "Translation-en",
        }
    }

    /// Its name relative to the suite, as a Release lists it, not compressed.
    pub(super) fn listed(&self) -> String {
        join(&self.folder, self.name())
    }
}

/// The newest Release that upstream signed of a suite, of those that are here whole.
#[derive(Debug)]
pub(super) struct Newest {
    revision: RevisionName,
    /// Whether its registry offers the suite still, in this state or in another.
    is_offered: bool,
    /// The folder of that revision in the content, with a slash at its end.
    pub(super) folder: String,
    pub(super) release: BTreeMap<String, String>,
}

/// The Release of each suite that is shown, of all that are in the content: the newest of the first of the repository's
/// registries that has the suite.
///
/// As soon as upstream is known to have a new one, the one before is withdrawn: what was said of it is below `gone`.
/// It is shown all the same until the new one is here whole, as clients would have none otherwise.
pub(super) async fn releases(contents: &Contents<'_>) -> Result<HashMap<Suite, Newest>> {
    let registries = &contents.repository.registries;
    let mut newest: BTreeMap<(Suite, String), Newest> = BTreeMap::new();
    let mut entries = contents.content.scan("upstream/");
    while let Some(entry) = entries.try_next().await? {
        let (Some(artifact), Some(revision)) = (&entry.artifact, &entry.revision) else { continue };
        let Some(Value::Object(fields)) = attribute::fact(&entry.attributes, attribute::RELEASE) else {
            continue;
        };
        let Some(suite) = Suite::of_artifact(artifact) else { continue };
        let is_offered = !entry.attributes.contains_key(DiscoveredFile::GONE);
        let key = (suite, registry_of(&entry).to_owned());
        let known = newest.get_mut(&key);
        let is_offered = is_offered || known.as_ref().is_some_and(|known| known.is_offered);
        if let Some(known) = known
            && known.revision >= *revision
        {
            known.is_offered = is_offered;
            continue;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let release = fields.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect();
        let path = entry.path.as_str();
        let folder = path[..path.len() - entry.path.file_name().len()].to_owned();
        newest.insert(key, Newest { revision: revision.clone(), is_offered, folder, release });
    }
    let mut shown: HashMap<Suite, ((bool, usize), Newest)> = HashMap::new();
    for ((suite, registry), newest) in newest {
        let place = registries.iter().position(|known| known.as_str() == registry);
        let rank = (!newest.is_offered, place.unwrap_or(registries.len()));
        if shown.get(&suite).is_none_or(|(known, _)| rank < *known) {
            shown.insert(suite, (rank, newest));
        }
    }
    Ok(shown.into_iter().map(|(suite, (_, newest))| (suite, newest)).collect())
}

/// `upstream/<registry>/…`
fn registry_of(entry: &Entry) -> &str {
    entry.path.as_str().split('/').nth(1).unwrap_or_default()
}

fn join_folders(first: &str, second: &str) -> String {
    if second.is_empty() { first.to_owned() } else { join(first, second) }
}
