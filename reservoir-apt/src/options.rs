//! The keys that an apt repository adds to `[[repository]]`, and an apt registry to `[[registry]]`.

use std::{path::PathBuf, time::Duration};

use reservoir_core::{
    Error, Result,
    ecosystem::{Approval, CacheOptions, Mode, OptionSpec, Registry, RepositoryConfig, duration_within},
    name::RepositoryName,
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::{
    name::{Architecture, Component, Suite, last_part},
    presets::Preset,
    select::PackageSpec,
};

/// The keys of a repository, for `--help`, the documentation and the check for unknown ones.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "preset",
        help: "suites, components and architectures of a known archive, where they are not given: `\"ubuntu-22.04\"`, \
               `\"ubuntu-24.04\"`, `\"dgx-os-6\"`, `\"dgx-os-7\"`",
    },
    OptionSpec {
        key: "suites",
        help: "which suites: `[\"bookworm\", \"bookworm-updates\"]`; `\"/\"` or a folder ending with `/` is a flat \
               repository",
    },
    OptionSpec { key: "components", help: "which components of them: `[\"main\"]`; without it, all" },
    OptionSpec {
        key: "architectures",
        help: "which architectures beside `all`: `[\"amd64\", \"arm64\"]`; without it, `[\"amd64\"]`",
    },
    OptionSpec {
        key: "packages",
        help: "what to mirror: `\"jq\"`, `\"jq (>= 1.6)\"`, `\"jq=1.6-2.1\"`; without it, everything in the suites",
    },
    OptionSpec { key: "sections", help: "only packages of these sections: `[\"admin\", \"net\"]`" },
    OptionSpec {
        key: "priorities",
        help: "only packages of these priorities: `[\"required\", \"important\"]`",
    },
    OptionSpec {
        key: "newest",
        help: "take at most this many versions of each package and architecture, newest first",
    },
    OptionSpec { key: "sources", help: "take the source packages, too" },
    OptionSpec {
        key: "base",
        help: "other apt repositories here that clients use as well: what is in them counts as available, for \
               `dependencies` and `check`, and is not mirrored again",
    },
    OptionSpec { key: "recommends", help: "with `dependencies`: follow Recommends, too" },
    OptionSpec {
        key: "view",
        help: "`\"curated\"` (the default): only what is AVAILABLE, under our signature; `\"verbatim\"`: the suites \
               exactly as upstream signed them",
    },
    OptionSpec {
        key: "valid_for",
        help: "Valid-Until of a curated suite, after its signature: `\"14d\"`; `serve` signs anew when half of it is \
               over; without it, a suite is good for ever",
    },
    OptionSpec {
        key: "allow_release_change",
        help: "publish a changed Origin, Label or Codename, although every client will refuse it until told otherwise",
    },
    OptionSpec {
        key: "strip_phasing",
        help: "leave Phased-Update-Percentage out of curated suites, so that every client upgrades at once",
    },
    OptionSpec {
        key: "descriptions",
        help: "long descriptions in English, for `apt show` and searches: `true` (the default) or `false`",
    },
    CacheOptions::FRESH_FOR,
    CacheOptions::FOLD_EVERY,
    CacheOptions::CACHE_SIZE,
];

/// Suites that are signed anew more often than twice a minute keep every client downloading.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_hours(10 * 366 * 24);

/// The keys of a registry.
pub const REGISTRY_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "keyring",
        help: "a file of OpenPGP certificates that may sign the suites; without it and without `keys`, what this \
               machine's apt trusts for the address",
    },
    OptionSpec {
        key: "keys",
        help: "fingerprints: only these certificates (or subkeys) of the keyring may sign",
    },
    OptionSpec {
        key: "suites",
        help: "which of the repository's suites it has; without it, each is looked for here",
    },
    OptionSpec {
        key: "accept_changes",
        help: "`true` accepts once that a suite changed its Origin, Label, Codename or Suite; otherwise that is an \
               alarm and nothing is taken over",
    },
    OptionSpec {
        key: "check_valid_until",
        help: "`false` accepts suites whose Valid-Until has passed, such as those of a frozen archive",
    },
];

/// What clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// Only what is AVAILABLE, under our own Release and signature.
    #[default]
    Curated,
    /// The suites exactly as upstream signed them.
    Verbatim,
}

/// A repository's own keys, checked.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Options {
    /// The suites.
    pub suites: Vec<Suite>,
    /// Components of them; empty means all.
    pub components: Vec<Component>,
    /// Architectures beside `all`.
    pub architectures: Vec<Architecture>,
    /// The packages; `None` means everything.
    pub packages: Option<Vec<PackageSpec>>,
    /// Only these sections, where not empty.
    pub sections: Vec<String>,
    /// Only these priorities, where not empty.
    pub priorities: Vec<String>,
    /// At most so many versions of each package and architecture.
    pub newest: Option<usize>,
    /// Source packages, too.
    pub sources: bool,
    /// Other repositories that clients use as well.
    pub base: Vec<RepositoryName>,
    /// Recommends count as dependencies.
    pub recommends: bool,
    /// What clients see.
    pub view: View,
    /// For how long a curated suite is good after it was signed.
    pub valid_for: Option<Duration>,
    /// Publish although clients will refuse a changed Origin, Label or Codename.
    pub allow_release_change: bool,
    /// Leave Phased-Update-Percentage out.
    pub strip_phasing: bool,
    /// Long descriptions in our own indexes.
    pub descriptions: bool,
}

impl Options {
    /// Reads and checks the keys of a repository.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the repository and the key.
    pub fn of(repository: &RepositoryConfig) -> Result<Self> {
        repository.known_keys(OPTIONS)?;
        let mut options = Self {
            suites: repository.option("suites")?,
            components: repository.option("components")?,
            architectures: repository.option("architectures")?,
            packages: repository.option("packages")?,
            sections: repository.option("sections")?,
            priorities: repository.option("priorities")?,
            newest: repository.option("newest")?,
            sources: repository.option("sources")?,
            base: repository.option("base")?,
            recommends: repository.option("recommends")?,
            view: repository.option("view")?,
            valid_for: repository.option::<Option<Span>>("valid_for")?.map(|span| span.0),
            allow_release_change: repository.option("allow_release_change")?,
            strip_phasing: repository.option("strip_phasing")?,
            descriptions: repository.option::<Option<bool>>("descriptions")?.unwrap_or(true),
        };
        if let Some(name) = repository.option::<Option<String>>("preset")? {
            let preset = Preset::named(&name).map_err(|error| {
                Error::invalid(format!("repository `{}`", repository.name), error.to_string())
            })?;
            fill(&mut options.suites, preset.suites());
            fill(&mut options.components, preset.components());
            fill(&mut options.architectures, preset.architectures());
        }
        if options.architectures.is_empty() {
            options.architectures.push("amd64".parse()?);
        }
        if repository.mode != Mode::Hosted && options.suites.is_empty() {
            return refuse(
                repository,
                "suites",
                "is needed: `suites = [\"bookworm\"]`, or `[\"/\"]` for a flat repository",
            );
        }
        if repository.mode == Mode::Cache {
            options.check_cache(repository)?;
            options.view = View::Verbatim;
        }
        if options.newest == Some(0) {
            return refuse(repository, "newest", "takes nothing at 0; leave it out or write 1 or more");
        }
        if options.view == View::Verbatim {
            options.check_verbatim(repository)?;
        }
        Ok(options)
    }

    /// What a cache cannot be asked for.
    fn check_cache(&self, repository: &RepositoryConfig) -> Result<()> {
        if repository.options.contains_key("view") && self.view == View::Curated {
            return refuse(
                repository,
                "view",
                "`curated` indexes are made of what is here, and a cache begins with nothing; a cache passes the \
                 suites on as upstream signed them, so leave `view` out",
            );
        }
        if repository.dependencies {
            return refuse(
                repository,
                "dependencies",
                "a cache brings what its clients ask for; leave it out",
            );
        }
        Ok(())
    }

    /// What cannot be left out of suites in upstream's own words, or kept back from them.
    fn check_verbatim(&self, repository: &RepositoryConfig) -> Result<()> {
        let part = [
            ("packages", self.packages.is_some()),
            ("sections", !self.sections.is_empty()),
            ("priorities", !self.priorities.is_empty()),
            ("newest", self.newest.is_some()),
        ];
        if let Some((key, _)) = part.iter().find(|(_, given)| *given) {
            return refuse(
                repository,
                "view",
                format!(
                    "`verbatim` serves the suites as upstream signed them, so nothing can be left out of them, and \
                     `{key}` leaves something out; remove `{key}`, or use `view = \"curated\"`"
                ),
            );
        }
        if repository.approval == Approval::Manual {
            return refuse(
                repository,
                "view",
                "`verbatim` serves the suites as upstream signed them: a package that waits for approval is listed all \
                 the same, and clients would fail on it; use `approval = \"automatic\"`, or `view = \"curated\"`",
            );
        }
        Ok(())
    }

    /// Whether our own indexes have long descriptions.
    #[must_use]
    pub fn lists_descriptions(&self) -> bool {
        self.view == View::Curated && self.descriptions
    }

    /// Whether packages of an architecture are wanted.
    #[must_use]
    pub fn wants_architecture(&self, architecture: &str) -> bool {
        architecture == "all" || self.architectures.iter().any(|wanted| wanted.as_str() == architecture)
    }

    /// Whether a component is wanted, by its whole name or as clients call it.
    #[must_use]
    pub fn wants_component(&self, component: &str) -> bool {
        let last = last_part(component);
        self.components.is_empty()
            || self.components.iter().any(|wanted| wanted.as_str() == component || wanted.as_str() == last)
    }
}

/// A registry's own keys, checked.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// The file of certificates.
    pub keyring: Option<PathBuf>,
    /// Fingerprints that may sign, upper case; empty means every certificate of the keyring.
    pub keys: Vec<String>,
    /// The suites it has; `None` where it may have any.
    pub suites: Option<Vec<Suite>>,
    /// Whether a suite may change its Origin, Label, Codename or Suite.
    pub accept_changes: bool,
    /// Whether a passed Valid-Until is an error.
    pub check_valid_until: bool,
}

impl RegistryOptions {
    /// Reads and checks the keys of a registry.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the registry and the key.
    pub fn of(registry: &Registry) -> Result<Self> {
        let keys: Vec<Fingerprint> = registry.option("keys")?;
        Ok(Self {
            keyring: registry.option("keyring")?,
            keys: keys.into_iter().map(|key| key.0).collect(),
            suites: registry.option("suites")?,
            accept_changes: registry.option("accept_changes")?,
            check_valid_until: registry.option::<Option<bool>>("check_valid_until")?.unwrap_or(true),
        })
    }
}

fn refuse<T>(repository: &RepositoryConfig, key: &str, detail: impl Into<String>) -> Result<T> {
    Err(Error::invalid(format!("repository `{}`, key `{key}`", repository.name), detail))
}

/// What a preset says, where nothing was said.
fn fill<T>(given: &mut Vec<T>, preset: Vec<T>) {
    if given.is_empty() {
        *given = preset;
    }
}

/// `14d`, `36h`, `90m`, `30s`: a number and a unit.
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        duration_within(&value, SHORTEST..=LONGEST).map(Self).map_err(de::Error::custom)
    }
}

/// 40 or 64 hexadecimal digits, in any case, spaces between them.
struct Fingerprint(String);

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: String = text.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_uppercase();
        if !matches!(digits.len(), 40 | 64) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(de::Error::custom(format!(
                "`{text}` is no fingerprint: 40 (or 64) hexadecimal digits, as `gpg --fingerprint` shows them; a \
                 short key id can be forged"
            )));
        }
        Ok(Self(digits))
    }
}
