//! The keys that a Hub repository adds to `[[repository]]`.

use reservoir_core::{
    Error, Result,
    ecosystem::{CacheOptions, Mode, OptionSpec, RepositoryConfig},
};

use crate::{
    name::{Label, RepoId, RepoKind},
    patterns::{self, Patterns},
};

/// The keys, for `--help`, the documentation and the check for unknown ones.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "models",
        help: "models to mirror: `\"org/name\"` (its branch `main`), `\"org/name@v1.0\"` (a branch, a tag or \
               a commit); of a cache: the only ones that clients may ask for, by name alone",
    },
    OptionSpec { key: "datasets", help: "datasets to mirror, written like models" },
    OptionSpec {
        key: "allow_patterns",
        help: "take only files that match one of these: `[\"*.json\", \"*.safetensors\"]`; what is not taken \
               stays listed",
    },
    OptionSpec { key: "ignore_patterns", help: "take no files that match one of these" },
    CacheOptions::FRESH_FOR,
    CacheOptions::FOLD_EVERY,
    CacheOptions::CACHE_SIZE,
];

/// A repository's own keys, checked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What to mirror.
    pub selection: Vec<(RepoId, Label)>,
    /// Which files of it.
    pub patterns: Patterns,
}

impl Options {
    /// Whether a cache may ask its registry for a repository: for every one, unless some of its kind are named.
    #[must_use]
    pub fn may_ask_for(&self, repo: &RepoId) -> bool {
        let mut named = self.selection.iter().filter(|(other, _)| other.kind() == repo.kind()).peekable();
        named.peek().is_none() || named.any(|(other, _)| other == repo)
    }

    /// Reads and checks the keys of a repository.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the repository and the key; [`Error::Malformed`] for what is no name.
    pub fn of(repository: &RepositoryConfig) -> Result<Self> {
        repository.known_keys(OPTIONS)?;
        let mut selection = Vec::new();
        for (key, kind) in [("models", RepoKind::Model), ("datasets", RepoKind::Dataset)] {
            for text in repository.option::<Vec<String>>(key)? {
                let (id, label) = split(&text);
                let parsed = RepoId::new(kind, id).and_then(|repo| Ok((repo, parse_label(label)?)));
                selection.push(parsed.map_err(|error| {
                    Error::invalid(
                        format!("repository `{}`, key `{key}`", repository.name),
                        error.to_string(),
                    )
                })?);
            }
        }
        if repository.mode == Mode::Hosted
            && let Some(key) = repository.options.keys().next()
        {
            return Err(Error::invalid(
                format!("repository `{}`, key `{key}`", repository.name),
                "means nothing where `mode` is \"hosted\"",
            ));
        }
        let globs = |key: &str| {
            let list = repository.option::<Option<Vec<String>>>(key)?;
            list.as_deref().map(patterns::set).transpose().map_err(|error| {
                Error::invalid(format!("repository `{}`, key `{key}`", repository.name), error.to_string())
            })
        };
        let patterns = Patterns { allow: globs("allow_patterns")?, ignore: globs("ignore_patterns")? };
        Ok(Self { selection, patterns })
    }
}

/// Reads `org/name`, `org/name@label`, `datasets/org/name@label`.
///
/// # Errors
/// [`Error::Malformed`] with the rule `repo-id` or `ref-name`.
pub fn parse_spec(text: &str) -> Result<(RepoId, Label)> {
    let (id, label) = split(text);
    Ok((id.parse()?, parse_label(label)?))
}

/// No id has an `@` in it; names of branches may.
fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once('@').map_or((text, None), |(id, label)| (id, Some(label)))
}

fn parse_label(label: Option<&str>) -> Result<Label> {
    label.map_or_else(|| Ok(Label::default()), str::parse)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_that_is_none_is_told_at_its_key() {
        for key in ["allow_patterns", "ignore_patterns"] {
            let mut repository = RepositoryConfig::new("hub".parse().unwrap(), "hf".parse().unwrap());
            repository.options.insert(key.to_owned(), json!(["*.json", "[a"]));
            let told = Options::of(&repository).unwrap_err().to_string();
            for word in ["repository `hub`", key, "`[a`"] {
                assert!(told.contains(word), "{told}");
            }
        }
    }
}
