//! The keys that a Python repository adds to `[[repository]]`.

use reservoir_core::{
    Error, Result,
    ecosystem::{CacheOptions, OptionSpec, RepositoryConfig},
};
use serde::{Deserialize, Deserializer, de};

use crate::{
    filter::{self, Filter},
    requirement::PyRequirement,
    target::Target,
};

/// The keys, for `--help`, the documentation and the check for unknown ones.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "packages",
        help: "what to mirror: `\"six==1.17.0\"`, `\"requests>=2.31,<3\"`, `\"torch\"` (its newest version) or \
               `{ name = \"torch\", versions = \"all\" }`",
    },
    OptionSpec {
        key: "targets",
        help: "interpreters and platforms: `[{ python = \"3.11\", platform = \"manylinux_2_28_x86_64\" }]`; \
               without any, every wheel of the chosen versions is taken",
    },
    OptionSpec {
        key: "sdists",
        help: "source distributions: `true`, `false`, or `\"fallback\"` (the default: where no wheel fits)",
    },
    OptionSpec {
        key: "builds",
        help: "clients build source distributions: what these are built with is taken along with `dependencies`, and \
               `check` looks for it",
    },
    OptionSpec {
        key: "newest",
        help: "take at most this many versions for each requirement and target, newest first",
    },
    OptionSpec { key: "whole", help: "take all versions of packages that are listed by name alone" },
    OptionSpec {
        key: "prereleases",
        help: "take pre-releases: `true` always, `false` never; without this key, as PEP 440 says",
    },
    OptionSpec { key: "yanked", help: "take yanked files too; otherwise only exact pins (`==`) take them" },
    filter::EXCLUDE_NEWER,
    filter::MAX_SIZE,
    filter::EXCLUDE_PLATFORMS,
    CacheOptions::FRESH_FOR,
    CacheOptions::FOLD_EVERY,
    CacheOptions::CACHE_SIZE,
];

/// A repository's own keys, checked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The selection.
    pub packages: Vec<PackageSpec>,
    /// What it is for; empty means every wheel.
    pub targets: Vec<Target>,
    /// Whether sdists are taken.
    pub sdists: Sdists,
    /// Whether clients build sdists.
    pub builds: bool,
    /// At most so many versions for each requirement and target.
    pub newest: Option<usize>,
    /// All versions of packages that are listed by name alone.
    pub whole: bool,
    /// Pre-releases always or never; `None` leaves it to PEP 440.
    pub prereleases: Option<bool>,
    /// Yanked files without an exact pin.
    pub yanked: bool,
    /// What is taken from nobody.
    pub filter: Filter,
}

/// One line of `packages`.
#[derive(Debug, Clone)]
pub struct PackageSpec {
    /// The requirement.
    pub requirement: PyRequirement,
    /// All versions, whatever their number.
    pub all: bool,
}

/// `sdists = true | false | "fallback"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sdists {
    /// Never.
    Never,
    /// Of each chosen version.
    Always,
    /// Where no wheel fits.
    #[default]
    Fallback,
}

impl Options {
    /// Reads and checks the keys of a repository.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the repository and the key.
    pub fn of(repository: &RepositoryConfig) -> Result<Self> {
        repository.known_keys(OPTIONS)?;
        let options = Self {
            packages: repository.option("packages")?,
            targets: repository.option("targets")?,
            sdists: repository.option("sdists")?,
            builds: repository.option("builds")?,
            newest: repository.option("newest")?,
            whole: repository.option("whole")?,
            prereleases: repository.option("prereleases")?,
            yanked: repository.option("yanked")?,
            filter: Filter::of(repository)?,
        };
        if options.newest == Some(0) {
            return Err(Error::invalid(
                format!("repository `{}`, key `newest`", repository.name),
                "takes nothing at 0; leave it out or write 1 or more",
            ));
        }
        Ok(options)
    }
}

impl PackageSpec {
    /// Reads a requirement as a user writes it. Direct references are refused: an index has no place for them.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rule `requirement`, [`Error::Denied`] for a direct reference.
    pub fn parse(text: &str) -> Result<Self> {
        let requirement = PyRequirement::parse(text)?;
        requirement.refuse_url("the selection")?;
        Ok(Self { requirement, all: false })
    }
}

impl<'de> Deserialize<'de> for PackageSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a requirement, or a table `{ name = …, versions = \"all\" | \"newest\" }`"
        )]
        enum Written {
            Line(String),
            Table(Table),
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            #[serde(default)]
            versions: Versions,
        }

        #[derive(Deserialize, Default, PartialEq)]
        #[serde(rename_all = "lowercase")]
        enum Versions {
            All,
            #[default]
            Newest,
        }

        let (line, all) = match Written::deserialize(deserializer)? {
            Written::Line(line) => (line, false),
            Written::Table(table) => (table.name, table.versions == Versions::All),
        };
        let spec = Self::parse(&line).map_err(de::Error::custom)?;
        Ok(Self { all, ..spec })
    }
}

impl<'de> Deserialize<'de> for Sdists {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bool(bool),
            Word(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bool(true) => Ok(Self::Always),
            Written::Bool(false) => Ok(Self::Never),
            Written::Word(word) if word == "fallback" => Ok(Self::Fallback),
            Written::Word(word) => {
                Err(de::Error::custom(format!("`{word}` is not true, false or \"fallback\"")))
            }
        }
    }
}
