//! For whom it is decided what goes together: a suite and an architecture.

use std::fmt;

use reservoir_core::{
    Error, Result,
    depends::{Gather, Offered, PackageId, Universe},
    ecosystem::RepositoryConfig,
};
use serde_json::Value;

use super::Archive;
use crate::{
    attribute,
    control::Stanza,
    name::{Architecture, Component, Suite},
    options::Options,
};

/// Machines of one architecture that use one suite, and those beside it that it is made to be used with:
///
/// - of `bookworm-updates`, `bookworm-security`, `bookworm-backports` the suite `bookworm` and its other updates,
///   where the repository has them;
/// - of a flat repository all suites.
#[derive(Debug, Clone)]
pub(super) struct Target {
    suite: Suite,
    beside: Vec<Suite>,
    architecture: Architecture,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.suite, self.architecture)
    }
}

impl Target {
    /// The targets of a repository.
    pub(super) fn all(options: &Options) -> Result<Vec<Self>> {
        let mut suites = options.suites.clone();
        if suites.is_empty() {
            // A hosted repository without the key has this one.
            suites.push("stable".parse()?);
        }
        let mut targets = Vec::new();
        for suite in &suites {
            let beside: Vec<Suite> =
                suites.iter().filter(|other| goes_beside(other, suite, &suites)).cloned().collect();
            for architecture in &options.architectures {
                let (suite, architecture) = (suite.clone(), architecture.clone());
                targets.push(Self { suite, beside: beside.clone(), architecture });
            }
        }
        Ok(targets)
    }

    fn find(options: &Options, name: &str) -> Result<Self> {
        let found = Self::all(options)?.into_iter().find(|target| target.to_string() == name);
        found.ok_or_else(|| Error::not_found("target", name))
    }
}

/// The architectures of the repository whose programs machines of the target run beside their own. Others are for other
/// machines.
fn foreign<'o>(target: &Target, options: &'o Options) -> Vec<&'o str> {
    let runs = |native: &str, other: &str| matches!((native, other), ("amd64", "i386") | ("arm64", "armhf"));
    let own = target.architecture.as_str();
    options.architectures.iter().map(AsRef::as_ref).filter(|other| runs(own, other)).collect()
}

/// Whether who uses `suite` uses `other`, too.
fn goes_beside(other: &Suite, suite: &Suite, all: &[Suite]) -> bool {
    if other == suite {
        return false;
    }
    if suite.is_flat() {
        return true;
    }
    let grows_from = |suite: &Suite, base: &Suite| {
        let tail = suite.name().strip_prefix(base.name());
        !base.is_flat() && tail.is_some_and(|tail| tail.starts_with(['-', '/']))
    };
    if grows_from(suite, other) {
        return true;
    }
    let base = all.iter().find(|base| grows_from(suite, base));
    let updates = ["-updates", "-security", "/updates"];
    base.is_some_and(|base| {
        grows_from(other, base) && updates.iter().any(|tail| other.name().ends_with(tail))
    })
}

/// The packages of a target, as they come.
#[derive(Debug)]
pub(super) struct Suites {
    target: Target,
    options: Options,
    archive: Archive,
}

impl Suites {
    pub(super) fn of(repository: &RepositoryConfig, target: &str) -> Result<Self> {
        let options = Options::of(repository)?;
        let target = Target::find(&options, target)?;
        let archive =
            Archive::new(target.architecture.as_str(), &foreign(&target, &options), options.recommends);
        Ok(Self { target, options, archive })
    }

    /// Whether a key of the stanzas means a component of `suite` that is wanted.
    fn means(&self, key: &str, suite: &Suite) -> bool {
        if suite.is_flat() {
            return *key == suite.to_string();
        }
        let component = key.strip_prefix(suite.name()).and_then(|rest| rest.strip_prefix('/'));
        component.is_some_and(|component| {
            component.parse::<Component>().is_ok() && self.options.wants_component(component)
        })
    }
}

impl Gather for Suites {
    fn add(&mut self, file: &Offered<'_>) -> Result<Option<PackageId>> {
        let (mut text, mut in_question) = (None, false);
        if let Some(stanzas) = file.attributes.get(attribute::STANZAS).and_then(Value::as_object) {
            for (key, stanza) in stanzas {
                if file.beside {
                    text = stanza.as_str();
                } else if self.means(key, &self.target.suite) {
                    (text, in_question) = (stanza.as_str(), true);
                    break;
                } else if self.target.beside.iter().any(|suite| self.means(key, suite)) {
                    text = stanza.as_str();
                }
            }
        } else if let Some(control) = file.attributes.get(attribute::CONTROL).and_then(Value::as_str) {
            (text, in_question) = (Some(control), !file.beside);
        }
        // A stanza that cannot be read is not published either.
        let stanza = text.and_then(|text| Stanza::parse(text.as_bytes()).ok());
        let Some(stanza) = stanza else { return Ok(None) };
        // Those for other architectures are judged where these are native.
        let own = self.target.architecture.as_str();
        let is_native = stanza.get("Architecture").is_some_and(|word| word == own || word == "all");
        match self.archive.add(&stanza, in_question && is_native) {
            Err(error @ Error::LimitExceeded { .. }) => Err(error),
            added => Ok(added.unwrap_or_default()),
        }
    }

    fn finish(self: Box<Self>) -> Box<dyn Universe> {
        Box::new(self.archive.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_used_with_what_they_update() {
        let all: Vec<Suite> =
            ["noble", "noble-updates", "noble-security", "noble-backports", "jammy", "x86_64/"]
                .iter()
                .map(|suite| suite.parse().unwrap())
                .collect();
        let beside = |suite: &str| {
            let suite: Suite = suite.parse().unwrap();
            let beside = all.iter().filter(|other| goes_beside(other, &suite, &all));
            beside.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(beside("noble"), [""; 0]);
        assert_eq!(beside("jammy"), [""; 0]);
        assert_eq!(beside("noble-updates"), ["noble", "noble-security"]);
        assert_eq!(beside("noble-backports"), ["noble", "noble-updates", "noble-security"]);
        assert_eq!(beside("x86_64/").len(), 5);
    }
}
