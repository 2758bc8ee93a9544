//! `uv.lock`: packages with all their files, and who needs whom under which marker.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reservoir_core::{Result, ecosystem::LockFile};
use serde::Deserialize;

use super::{Detail, PACKAGES, Reader, TomlFile};
use crate::{
    name::{ProjectName, normalize},
    target::Target,
};

#[derive(Debug, Deserialize)]
struct Document {
    version: u64,
    #[serde(default)]
    package: Vec<Package>,
    #[serde(default)]
    manifest: Manifest,
}

/// Of a script, what it asks for itself.
#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    requirements: Vec<Edge>,
    #[serde(default, rename = "dependency-groups")]
    groups: BTreeMap<String, Vec<Edge>>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: ProjectName,
    version: Option<String>,
    #[serde(default)]
    source: BTreeMap<String, toml::Value>,
    #[serde(default)]
    dependencies: Vec<Edge>,
    #[serde(default, rename = "optional-dependencies")]
    extras: BTreeMap<String, Vec<Edge>>,
    #[serde(default, rename = "dev-dependencies")]
    groups: BTreeMap<String, Vec<Edge>>,
    sdist: Option<TomlFile>,
    #[serde(default)]
    wheels: Vec<TomlFile>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    name: ProjectName,
    version: Option<String>,
    source: Option<BTreeMap<String, toml::Value>>,
    #[serde(default, alias = "extras")]
    extra: Vec<String>,
    marker: Option<String>,
}

/// Where a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// An index.
    Registry,
    /// The project itself, and what lies beside it.
    Local,
    /// What no index has.
    Elsewhere,
}

impl Package {
    fn origin(&self) -> Origin {
        let has = |key: &str| self.source.contains_key(key);
        if has("registry") {
            Origin::Registry
        } else if has("editable") || has("virtual") || has("directory") || self.source.is_empty() {
            Origin::Local
        } else {
            Origin::Elsewhere
        }
    }
}

pub(super) fn read(reader: &Reader<'_>, text: &str) -> Result<LockFile> {
    let document: Document = reader.toml(text)?;
    if document.version != 1 {
        return Err(reader.malformed(format!("has the version {}; 1 is understood", document.version)));
    }
    if document.package.len() > PACKAGES {
        return Err(reader.malformed(format!("has more than {PACKAGES} packages")));
    }
    let mut needed: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let graph = Graph::of(reader, &document);
    for (place, target) in reader.environments() {
        for package in graph.reached(target)? {
            needed.entry(package).or_default().push(place);
        }
    }
    let mut lock = LockFile::default();
    for (index, package) in document.package.into_iter().enumerate() {
        let Some(targets) = needed.remove(&index) else { continue };
        let Package { name, version, .. } = &package;
        let shown =
            version.as_deref().map_or_else(|| name.to_string(), |version| format!("{name}=={version}"));
        match package.origin() {
            Origin::Local => continue,
            Origin::Elsewhere => {
                let from: Vec<&str> = package.source.keys().map(String::as_str).collect();
                lock.missing.push(format!(
                    "`{shown}` ({}): it comes from {} and not from an index",
                    reader.name,
                    from.join(", ")
                ));
                continue;
            }
            Origin::Registry => {}
        }
        let version = version.as_deref().and_then(|version| version.parse().ok());
        let Some(version) = version else {
            return Err(reader.malformed(format!("`{name}` has no version that PEP 440 knows")));
        };
        let files = package.wheels.into_iter().chain(package.sdist).filter_map(TomlFile::locked).collect();
        let detail = Detail { lock: reader.name.to_owned(), files, hashes: Vec::new(), targets };
        lock.packages.push(reader.package(&package.name, &version, detail)?);
    }
    Ok(lock)
}

/// Who needs whom.
struct Graph<'d> {
    reader: &'d Reader<'d>,
    document: &'d Document,
    by_name: BTreeMap<&'d ProjectName, Vec<usize>>,
}

impl<'d> Graph<'d> {
    fn of(reader: &'d Reader<'d>, document: &'d Document) -> Self {
        let mut by_name: BTreeMap<&ProjectName, Vec<usize>> = BTreeMap::new();
        for (index, package) in document.package.iter().enumerate() {
            by_name.entry(&package.name).or_default().push(index);
        }
        Self { reader, document, by_name }
    }

    /// The packages that a target may need: from the projects themselves, with all their extras and groups.
    fn reached(&self, target: Option<&Target>) -> Result<BTreeSet<usize>> {
        let (mut reached, mut waiting) = (BTreeSet::new(), VecDeque::new());
        let mut visit = |node: (usize, Option<String>), waiting: &mut VecDeque<_>| {
            if reached.insert(node.clone()) {
                waiting.push_back(node);
            }
        };
        let Manifest { requirements, groups } = &self.document.manifest;
        for edge in requirements.iter().chain(groups.values().flatten()) {
            self.follow(edge, target, &mut |node| visit(node, &mut waiting))?;
        }
        for (index, package) in self.document.package.iter().enumerate() {
            if package.origin() == Origin::Local {
                visit((index, None), &mut waiting);
                for extra in package.extras.keys() {
                    visit((index, Some(extra.clone())), &mut waiting);
                }
                for edge in package.groups.values().flatten() {
                    self.follow(edge, target, &mut |node| visit(node, &mut waiting))?;
                }
            }
        }
        if waiting.is_empty() {
            // Nothing says what it is for: all of it.
            return Ok((0..self.document.package.len()).collect());
        }
        while let Some((index, extra)) = waiting.pop_front() {
            let package = &self.document.package[index];
            let edges = match &extra {
                None => Some(&package.dependencies),
                Some(extra) => {
                    package.extras.iter().find(|(name, _)| normalize(name) == *extra).map(|(_, e)| e)
                }
            };
            for edge in edges.into_iter().flatten() {
                self.follow(edge, target, &mut |node| visit(node, &mut waiting))?;
            }
        }
        Ok(reached.into_iter().map(|(index, _)| index).collect())
    }

    fn follow(
        &self,
        edge: &Edge,
        target: Option<&Target>,
        visit: &mut dyn FnMut((usize, Option<String>)),
    ) -> Result<()> {
        if !self.reader.may_hold(edge.marker.as_deref(), target)? {
            return Ok(());
        }
        // Version and source stand there where the name alone does not say which.
        let is_meant = |index: &&usize| {
            let package = &self.document.package[**index];
            (edge.version.is_none() || edge.version == package.version)
                && edge.source.as_ref().is_none_or(|source| *source == package.source)
        };
        for index in self.by_name.get(&edge.name).into_iter().flatten().filter(is_meant) {
            visit((*index, None));
            for extra in &edge.extra {
                visit((*index, Some(normalize(extra))));
            }
        }
        Ok(())
    }
}
