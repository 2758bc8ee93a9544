//! Reading the file: every mistake is told with its line and, for keys, a suggestion.

use std::{collections::BTreeSet, ops::Range, path::Path};

use reservoir_core::{
    Engine, Error, Result,
    ecosystem::{Ecosystem, Mistake, Mode, OptionSpec, Registry, RepositoryConfig},
    name::EcosystemId,
};
use serde_json::{Map, Value};
use toml_edit::{Document as Toml, Item, TableLike};
use url::Url;

/// Keys of every `[[repository]]`, beside those of its ecosystem.
const REPOSITORY_KEYS: [&str; 11] = [
    "name",
    "ecosystem",
    "registry",
    "registries",
    "mode",
    "hosted",
    "approval",
    "publish",
    "schedule",
    "dependencies",
    "max_import",
];
/// Keys of every `[[registry]]`, beside those of its ecosystem.
const REGISTRY_KEYS: [&str; 6] = ["name", "ecosystem", "url", "allowed_hosts", "concurrency", "bandwidth"];

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Its registries, in order.
    pub(crate) registries: Vec<Registry>,
    /// Its repositories, in order.
    pub(crate) repositories: Vec<RepositoryConfig>,
}

/// Parses and checks a file. `file` names it in messages.
pub(crate) async fn parse(engine: &Engine, file: &str, text: &str) -> Result<Document> {
    let reader = Reader { engine, file, text };
    let toml = Toml::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| reader.line(&span));
        Error::invalid(format!("{file}:{line}"), error.message().to_owned())
    })?;
    let mut document = Document::default();
    for (key, item) in toml.iter() {
        match key {
            "registry" => {
                for table in reader.tables(key, item)? {
                    document.registries.push(reader.registry(table)?);
                }
            }
            "repository" => {
                for table in reader.tables(key, item)? {
                    document.repositories.push(reader.repository(table)?);
                }
            }
            _ => return Err(reader.unknown(key, item.span(), "table", &["registry", "repository"])),
        }
    }
    reader.no_strangers(&document, &toml).await?;
    reader.no_twins(&toml, "registry")?;
    reader.no_twins(&toml, "repository")?;
    Ok(document)
}

struct Reader<'a> {
    engine: &'a Engine,
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        self.text[..span.start.min(self.text.len())].matches('\n').count() + 1
    }

    fn at(&self, span: Option<Range<usize>>) -> String {
        match span {
            Some(span) => format!("{}:{}", self.file, self.line(&span)),
            None => self.file.to_owned(),
        }
    }

    fn unknown(&self, key: &str, span: Option<Range<usize>>, what: &str, known: &[&str]) -> Error {
        let nearest = known
            .iter()
            .map(|candidate| (strsim::damerau_levenshtein(key, candidate), candidate))
            .min()
            .filter(|(distance, candidate)| *distance <= candidate.len().max(key.len()) / 2);
        let hint = match nearest {
            Some((_, candidate)) => format!("did you mean `{candidate}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        Error::invalid(self.at(span), format!("unknown {what} `{key}`; {hint}"))
    }

    fn tables<'t>(&self, key: &str, item: &'t Item) -> Result<Vec<&'t dyn TableLike>> {
        match item {
            Item::ArrayOfTables(tables) => Ok(tables.iter().map(|table| table as &dyn TableLike).collect()),
            _ => Err(Error::invalid(self.at(item.span()), format!("`{key}` is written as [[{key}]]"))),
        }
    }

    fn registry(&self, table: &dyn TableLike) -> Result<Registry> {
        let ecosystem = self.ecosystem(table, "registry")?;
        let (mut common, mut options) =
            self.split(table, &REGISTRY_KEYS, ecosystem.registry_options(), "registry")?;
        options.extend(Registry::LIMITS.into_iter().filter_map(|key| common.remove_entry(key)));
        for key in ecosystem.registry_paths() {
            if let Some(Value::String(path)) = options.get_mut(*key) {
                *path = self.beside(path)?;
            }
        }
        let url = match common.remove("url") {
            Some(Value::String(text)) if text == "system" => None,
            Some(Value::String(text)) => Some(self.url(&text, table)?),
            _ => {
                return Err(Error::invalid(
                    self.at(span_of(table)),
                    "a registry needs `url`: an address, or \"system\" for what this machine's own client uses",
                ));
            }
        };
        common.insert("url".into(), url.map_or(Value::Null, |url| Value::String(url.to_string())));
        common.insert("options".into(), Value::Object(options));
        let registry: Registry = self.build(&common, table, "registry")?;
        registry.check(&*ecosystem).map_err(|mistake| self.mistake(&mistake, table))?;
        Ok(registry)
    }

    /// A path as the file means it: relative to its own folder.
    fn beside(&self, path: &str) -> Result<String> {
        let folder = Path::new(self.file).parent().unwrap_or(Path::new(""));
        let absolute =
            std::path::absolute(folder.join(path)).map_err(Error::io(format!("resolve `{path}`")))?;
        Ok(absolute.display().to_string())
    }

    fn url(&self, text: &str, table: &dyn TableLike) -> Result<Url> {
        let span = table.get("url").and_then(Item::span);
        let url: Url = text.parse().map_err(|error| {
            Error::invalid(self.at(span.clone()), format!("`url` is no address: {error}"))
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::invalid(
                self.at(span),
                format!("`{}` is neither http nor https", url.scheme()),
            ));
        }
        Ok(url)
    }

    fn repository(&self, table: &dyn TableLike) -> Result<RepositoryConfig> {
        let ecosystem = self.ecosystem(table, "repository")?;
        let (mut common, options) =
            self.split(table, &REPOSITORY_KEYS, ecosystem.repository_options(), "repository")?;
        if let Some(registry) = common.remove("registry") {
            if common.contains_key("registries") {
                return Err(Error::invalid(
                    self.at(span_of(table)),
                    "has both `registry` and `registries`; keep one",
                ));
            }
            common.insert("registries".into(), Value::Array(vec![registry]));
        }
        common.insert("options".into(), Value::Object(options));
        let config: RepositoryConfig = self.build(&common, table, "repository")?;
        if config.mode != Mode::Hosted && config.registries.is_empty() {
            return Err(Error::invalid(
                self.at(span_of(table)),
                format!("repository `{}` needs `registry`: the [[registry]] to read from", config.name),
            ));
        }
        if let Some(schedule) = &config.schedule {
            let span = table.get("schedule").and_then(Item::span);
            crate::schedule::Schedule::parse(schedule)
                .map_err(|error| Error::invalid(self.at(span), error))?;
        }
        config.check(&*ecosystem).map_err(|mistake| self.mistake(&mistake, table))?;
        Ok(config)
    }

    fn ecosystem(&self, table: &dyn TableLike, what: &str) -> Result<std::sync::Arc<dyn Ecosystem>> {
        let item = table.get("ecosystem");
        let Some(text) = item.and_then(Item::as_str) else {
            return Err(Error::invalid(self.at(span_of(table)), format!("this {what} needs `ecosystem`")));
        };
        let here = |error: Error| Error::invalid(self.at(item.and_then(Item::span)), error.to_string());
        let id: EcosystemId = text.parse().map_err(here)?;
        self.engine.ecosystem(&id).map_err(here)
    }

    /// Splits a table into the common keys and the ecosystem's own; unknown keys are errors.
    fn split(
        &self,
        table: &dyn TableLike,
        common: &[&str],
        own: &[OptionSpec],
        what: &str,
    ) -> Result<(Map<String, Value>, Map<String, Value>)> {
        let known: Vec<&str> = common.iter().copied().chain(own.iter().map(|option| option.key)).collect();
        let (mut first, mut second) = (Map::new(), Map::new());
        for (key, item) in table.iter() {
            let span = table.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span());
            let value = json(item);
            if common.contains(&key) {
                first.insert(key.to_owned(), value);
            } else if own.iter().any(|option| option.key == key) {
                second.insert(key.to_owned(), value);
            } else {
                return Err(self.unknown(key, span, &format!("{what} key"), &known));
            }
        }
        Ok((first, second))
    }

    fn build<T: serde::de::DeserializeOwned>(
        &self,
        fields: &Map<String, Value>,
        table: &dyn TableLike,
        what: &str,
    ) -> Result<T> {
        // The type as a whole is told no lines: on a mistake each field is tried beside those that are needed.
        let needed = |key: &str| fields.get(key).map(|value| (key.to_owned(), value.clone()));
        let alone = |key: &String| {
            let fields = ["name", "ecosystem", "url"].into_iter().filter_map(needed).chain(needed(key));
            serde_json::from_value::<T>(Value::Object(fields.collect())).is_err()
        };
        let build = serde_json::from_value(Value::Object(fields.clone()));
        build.map_err(|error| {
            let key = fields.keys().filter(|key| *key == "name").chain(fields.keys()).find(|key| alone(key));
            match key.and_then(|key| Some((key, Self::key_span(table, key)?))) {
                Some((key, span)) => Error::invalid(self.at(Some(span)), format!("`{key}`: {error}")),
                None => Error::invalid(self.at(span_of(table)), format!("this {what}: {error}")),
            }
        })
    }

    /// A mistake that the engine finds, at the key that has it when one has it alone.
    fn mistake(&self, mistake: &Mistake, table: &dyn TableLike) -> Error {
        let span = mistake.key.as_deref().and_then(|key| Self::key_span(table, key));
        Error::invalid(self.at(span.or_else(|| span_of(table))), mistake.error.to_string())
    }

    fn key_span(table: &dyn TableLike, key: &str) -> Option<Range<usize>> {
        let (key, item) = table.get_key_value(key)?;
        key.span().or_else(|| item.span())
    }

    /// Every registry that a repository names is in the file or known already, and of the same ecosystem.
    async fn no_strangers(&self, document: &Document, toml: &Toml<&str>) -> Result<()> {
        let known = self.engine.catalog().registries().await?;
        let tables = toml.get("repository").and_then(Item::as_array_of_tables);
        for (index, repository) in document.repositories.iter().enumerate() {
            let span = tables.and_then(|tables| tables.get(index)).and_then(|table| span_of(table));
            for name in &repository.registries {
                let mut all = document.registries.iter().chain(&known);
                match all.find(|registry| registry.name == *name) {
                    None => {
                        let detail = format!(
                            "repository `{}` names the registry `{name}`, which nobody defines",
                            repository.name
                        );
                        return Err(Error::invalid(self.at(span), detail));
                    }
                    // Another Reservoir has repositories of every ecosystem.
                    Some(registry) if registry.ecosystem.as_str() == "reservoir" => {}
                    Some(registry) if registry.ecosystem != repository.ecosystem => {
                        let detail = format!(
                            "repository `{}` is {}, its registry `{name}` is {}",
                            repository.name, repository.ecosystem, registry.ecosystem
                        );
                        return Err(Error::invalid(self.at(span), detail));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn no_twins(&self, toml: &Toml<&str>, what: &str) -> Result<()> {
        let mut seen = BTreeSet::new();
        for table in toml.get(what).and_then(Item::as_array_of_tables).into_iter().flatten() {
            let Some(name) = table.get("name").and_then(Item::as_str) else { continue };
            if !seen.insert(name) {
                let span = Self::key_span(table, "name");
                return Err(Error::invalid(self.at(span), format!("{what} `{name}` is there twice")));
            }
        }
        Ok(())
    }
}

fn span_of(table: &dyn TableLike) -> Option<Range<usize>> {
    table.iter().filter_map(|(_, item)| item.span()).min_by_key(|span| span.start)
}

fn json(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => json_value(value),
        Item::Table(table) => {
            Value::Object(table.iter().map(|(key, item)| (key.to_owned(), json(item))).collect())
        }
        Item::ArrayOfTables(tables) => Value::Array(
            tables
                .iter()
                .map(|table| {
                    Value::Object(table.iter().map(|(key, item)| (key.to_owned(), json(item))).collect())
                })
                .collect(),
        ),
    }
}

fn json_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::String(text.value().clone()),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Float(number) => (*number.value()).into(),
        toml_edit::Value::Boolean(flag) => (*flag.value()).into(),
        toml_edit::Value::Datetime(date) => Value::String(date.value().to_string()),
        toml_edit::Value::Array(values) => Value::Array(values.iter().map(json_value).collect()),
        toml_edit::Value::InlineTable(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.to_owned(), json_value(value))).collect())
        }
    }
}
