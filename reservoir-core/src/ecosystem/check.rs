//! Whether what a person configured can be meant: the same checks for every host, told at the key that has the mistake.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{CacheOptions, Ecosystem, Mode, OptionSpec, Registry, RepositoryConfig};
use crate::error::{Error, Result};

/// A mistake in a configuration.
#[derive(Debug)]
pub struct Mistake {
    /// The key that has it, where one has it alone: of the table, or one of the ecosystem's own.
    pub key: Option<String>,
    /// What is wrong; names the registry or repository.
    pub error: Error,
}

impl Registry {
    /// Checks everything that can be checked without a catalog or a network. `ecosystem` is the one it names.
    ///
    /// # Errors
    /// The first [`Mistake`]: a name that stands for something else, an address that is neither `http` nor `https`, a
    /// key that nobody knows, a limit that is none.
    pub fn check(&self, ecosystem: &dyn Ecosystem) -> Result<(), Mistake> {
        let wrong = |key: &str, detail: String| Mistake {
            key: Some(key.to_owned()),
            error: Error::invalid(format!("registry `{}`, key `{key}`", self.name), detail),
        };
        if Self::RESERVED.contains(&self.name.as_str()) {
            let detail = "the name says where files come from that no registry has; choose another";
            return Err(wrong("name", detail.into()));
        }
        if let Some(url) = self.url.as_ref().filter(|url| !matches!(url.scheme(), "http" | "https")) {
            return Err(wrong("url", format!("`{}` is neither http nor https", url.scheme())));
        }
        let mut known = keys(ecosystem.registry_options());
        known.extend(Self::LIMITS);
        if let Some(key) = unknown(&self.options, &known) {
            return Err(wrong(key, are_known(&known)));
        }
        self.limits().map(drop).map_err(|error| {
            let alone = |key: &&str| {
                let mut one = self.clone();
                one.options.retain(|other, _| other == *key);
                one.limits().is_err()
            };
            Mistake { key: Self::LIMITS.into_iter().find(alone).map(str::to_owned), error }
        })
    }
}

impl RepositoryConfig {
    /// Checks that every key of the ecosystem's own is one of `options`: what a format does before it reads them.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the repository and the first key that is not.
    pub fn known_keys(&self, options: &[OptionSpec]) -> Result<()> {
        let known = keys(options);
        unknown(&self.options, &known).map_or(Ok(()), |key| {
            Err(Error::invalid(format!("repository `{}`, key `{key}`", self.name), are_known(&known)))
        })
    }

    /// Checks everything that can be checked without a catalog or a network. `ecosystem` is the one it names.
    /// `schedule` is for the host that keeps it.
    ///
    /// # Errors
    /// The first [`Mistake`]: a mode that the ecosystem does not have, uploads where they cannot be taken, no registry
    /// where one is needed, a key that nobody knows, keys of a cache that are wrong or where there is none, and what
    /// the ecosystem finds.
    pub fn check(&self, ecosystem: &dyn Ecosystem) -> Result<(), Mistake> {
        let wrong = |key: &str, detail: String| Mistake {
            key: Some(key.to_owned()),
            error: Error::invalid(format!("repository `{}`, key `{key}`", self.name), detail),
        };
        if !ecosystem.modes().contains(&self.mode) {
            let mode = format!("{:?}", self.mode).to_lowercase();
            return Err(wrong("mode", format!("`{mode}` is not there yet for {}", ecosystem.id())));
        }
        if self.hosted && self.mode != Mode::Hosted && !ecosystem.takes_uploads_beside() {
            let detail = format!(
                "{} takes no uploads beside a mirror or a cache; leave it out, and give uploads a repository of their \
                 own with `mode = \"hosted\"`",
                ecosystem.id()
            );
            return Err(wrong("hosted", detail));
        }
        if self.mode != Mode::Hosted && self.registries.is_empty() {
            let what = format!("repository `{}`", self.name);
            return Err(Mistake { key: None, error: Error::invalid(what, "needs a registry to read from") });
        }
        let known = keys(ecosystem.repository_options());
        if let Some(key) = unknown(&self.options, &known) {
            return Err(wrong(key, are_known(&known)));
        }
        let is_given = |key: &&&str| self.options.contains_key(**key);
        if self.mode != Mode::Cache
            && let Some(key) = CacheOptions::KEYS.iter().find(is_given)
        {
            return Err(wrong(key, "is for `mode = \"cache\"`; leave it out".into()));
        }
        let configure = |config: &Self| {
            if config.mode == Mode::Cache {
                CacheOptions::of(config)?;
            }
            ecosystem.configure(config)
        };
        configure(self).map_err(|error| {
            let alone = |key: &&String| {
                let mut one = self.clone();
                one.options.retain(|other, _| other == *key);
                configure(&one).is_err()
            };
            Mistake { key: self.options.keys().find(alone).cloned(), error }
        })
    }
}

fn keys(options: &[OptionSpec]) -> Vec<&'static str> {
    options.iter().map(|option| option.key).collect()
}

/// The first key that is not among `known`.
fn unknown<'a>(options: &'a BTreeMap<String, Value>, known: &[&str]) -> Option<&'a str> {
    options.keys().map(String::as_str).find(|key| !known.contains(key))
}

fn are_known(known: &[&str]) -> String {
    format!("is not known; the keys are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::toy::Toy;

    fn repository(change: &Value) -> Result<(), Mistake> {
        let mut config = json!({ "name": "tools", "ecosystem": "toy", "registries": ["upstream"] });
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<RepositoryConfig>(config).unwrap().check(&Toy)
    }

    fn registry(change: &Value) -> Result<(), Mistake> {
        let mut config =
            json!({ "name": "upstream", "ecosystem": "toy", "url": "https://index.example.com/" });
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<Registry>(config).unwrap().check(&Toy)
    }

    #[test]
    fn a_mistake_is_told_at_its_key() {
        for (change, key) in [
            (json!({ "mode": "cache" }), Some("mode")),
            (json!({ "registries": [] }), None),
            (json!({ "hosted": true }), Some("hosted")),
            (json!({ "options": { "packages": ["hammer"], "colour": "red" } }), Some("colour")),
            (json!({ "options": { "packages": 7, "fresh": 1 } }), Some("packages")),
        ] {
            let mistake = repository(&change).unwrap_err();
            assert_eq!(mistake.key.as_deref(), key, "{change}: {}", mistake.error);
            assert!(mistake.error.to_string().contains("`tools`"), "{}", mistake.error);
        }
        repository(&json!({ "options": { "packages": ["hammer"] } })).unwrap();
        repository(&json!({ "mode": "hosted", "registries": [] })).unwrap();

        for (change, key) in [
            (json!({ "name": "upload" }), "name"),
            (json!({ "name": "snapshot" }), "name"),
            (json!({ "url": "ftp://index.example.com/" }), "url"),
            (json!({ "options": { "colour": "red" } }), "colour"),
            (json!({ "options": { "bandwidth": "fast", "concurrency": 3 } }), "bandwidth"),
        ] {
            let mistake = registry(&change).unwrap_err();
            assert_eq!(mistake.key.as_deref(), Some(key), "{change}: {}", mistake.error);
        }
        registry(&json!({ "options": { "concurrency": 3 } })).unwrap();
    }
}
