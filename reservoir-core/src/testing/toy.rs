//! A small but complete [`Ecosystem`], so that the engine is tested without any real format. It is also the
//! worked example of `docs/adding-an-ecosystem.md`.
//!
//! A registry is one JSON document, [`INDEX`] below the registry's URL:
//!
//! ```json
//! {"hammer": [{"version": "1.0", "file": "hammer-1.0.toy", "sha256": "…", "size": 42}]}
//! ```
//!
//! A file is text. Its first lines say what it is; what follows the first empty line is payload:
//!
//! ```text
//! name: hammer
//! version: 1.0
//! requires: nail>=1
//! ```
//!
//! It is called `NAME-VERSION.toy`, or `NAME-VERSION+VARIANT.toy` when a version has several files, and lies at
//! `files/NAME/`. The head is kept beside it as `….toy.head`. Clients read `list/NAME`, a line a file.

mod depends;
mod file;
mod registry;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::json;
use url::Url;

pub use self::{
    file::{FileName, Head},
    registry::{ToyFile, ToyRegistry},
};
use crate::{
    clock::Timestamp,
    depends::Dependencies,
    digest::Sha256Digest,
    ecosystem::{
        Accepted, Candidate, Chosen, ClientSetup, Cursor, Derived, Discover, Discovered, DiscoveredArtifact,
        DiscoveredFile, DiscoverySink, Ecosystem, Inspection, Mode, OptionSpec, PulledFile, Received,
        RepositoryConfig, Requirement,
    },
    error::{Error, Result},
    fetch::{PageOptions, PageOutcome, Validators},
    name::EcosystemId,
    path::ContentPath,
    snapshot::{Change, Contents, IndexWriter},
};

/// The registry's document, below its URL.
pub const INDEX: &str = "index.json";
/// The only key of a repository: requirements such as `hammer`, `hammer=1.0` or `hammer=*`.
const PACKAGES: &str = "packages";
/// The largest file that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// The key that makes lists go stale.
const FRESH: &str = "fresh";
/// The cursor's only field.
const ETAG: &str = "etag";

/// The ecosystem `toy`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Toy;

/// One line of the registry's document.
#[derive(Debug, Deserialize)]
struct Offer {
    version: String,
    file: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    sha256: Option<Sha256Digest>,
    #[serde(default)]
    note: Option<String>,
}

#[async_trait]
impl Ecosystem for Toy {
    fn id(&self) -> EcosystemId {
        "toy".parse().expect("`toy` is a valid ecosystem name")
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Mirror, Mode::Hosted]
    }

    fn repository_options(&self) -> &'static [OptionSpec] {
        &[
            OptionSpec {
                key: PACKAGES,
                help: "what to mirror: `hammer`, `hammer=1.0`, `hammer>=1`, `hammer=*`",
            },
            OptionSpec { key: FRESH, help: "for how many milliseconds a list is good" },
        ]
    }

    fn configure(&self, repository: &RepositoryConfig) -> Result<()> {
        if !self.modes().contains(&repository.mode) {
            return Err(Error::invalid(
                format!("repository `{}`, key `mode`", repository.name),
                "must be `mirror` or `hosted`",
            ));
        }
        self.roots(repository, &[]).map(drop)
    }

    async fn discover(&self, request: Discover<'_>, found: &mut dyn DiscoverySink) -> Result<()> {
        let base =
            request.registry.url.as_ref().ok_or_else(|| {
                Error::invalid(format!("registry `{}`", request.registry.name), "has no URL")
            })?;
        let url = base.join(INDEX).map_err(|error| Error::invalid("registry URL", error.to_string()))?;
        let mut known = BTreeSet::new();
        for artifact in request.artifacts {
            known.insert(found.cursor(artifact).await?.and_then(|cursor| cursor.0.get(ETAG).cloned()));
        }
        // One document for all artifacts: it can be asked for conditionally only if all saw the same one.
        let etag = known.pop_first().flatten().filter(|_| known.is_empty());
        let conditional = Validators { etag, last_modified: None };
        let options = PageOptions {
            accept: "application/json",
            conditional: (!conditional.is_empty()).then_some(&conditional),
            ..PageOptions::default()
        };
        let page = match request.fetcher.get_page(&url, options).await? {
            PageOutcome::Page(page) => page,
            outcome => {
                let unchanged = matches!(outcome, PageOutcome::NotModified);
                for artifact in request.artifacts.iter().cloned() {
                    let unit = if unchanged {
                        Discovered::Unchanged { artifact }
                    } else {
                        Discovered::Missing { artifact }
                    };
                    found.found(unit).await?;
                }
                return Ok(());
            }
        };
        let mut offers: BTreeMap<String, Vec<Offer>> = serde_json::from_slice(&page.body)
            .map_err(|error| Error::malformed(format!("`{url}`"), "toy-index", error.to_string()))?;
        let cursor = Cursor(page.validators.etag.map(|etag| (ETAG.to_owned(), etag)).into_iter().collect());
        for artifact in request.artifacts {
            let Some(offers) = offers.remove(artifact.as_str()) else {
                found.found(Discovered::Missing { artifact: artifact.clone() }).await?;
                continue;
            };
            let mut unit = DiscoveredArtifact {
                artifact: artifact.clone(),
                cursor: cursor.clone(),
                attributes: BTreeMap::new(),
                quarantined: None,
                files: Vec::with_capacity(offers.len()),
                skipped: Vec::new(),
            };
            for offer in offers {
                match discovered(artifact.as_str(), &page.final_url, &offer) {
                    Ok(file) => unit.files.push(file),
                    Err(error) => unit.skipped.push(error.to_string()),
                }
            }
            found.found(Discovered::Artifact(Box::new(unit))).await?;
        }
        Ok(())
    }

    fn roots(&self, repository: &RepositoryConfig, specs: &[String]) -> Result<Vec<Requirement>> {
        let configured: Vec<String> = repository.option(PACKAGES)?;
        let specs = if specs.is_empty() { &configured } else { specs };
        specs.iter().map(|spec| depends::parse(spec, None)).collect()
    }

    fn choose(
        &self,
        _: &RepositoryConfig,
        requirement: &Requirement,
        candidates: &[Candidate],
    ) -> Result<Vec<Chosen>> {
        Ok(depends::choose(requirement, candidates))
    }

    async fn identify(&self, file: &Received<'_>) -> Result<Accepted> {
        let bytes = file.store.read_whole(&file.blob.sha256, FILE_LIMIT).await?;
        let (head, _) = Head::parse(file.name, &bytes)?;
        let name: FileName = file.name.parse()?;
        Ok(Accepted {
            artifact: head.name.parse()?,
            revision: head.version.parse()?,
            path: format!("files/{}/{}", name.name, file.name).parse()?,
            attributes: BTreeMap::new(),
            inspection: None,
        })
    }

    fn fresh_until(&self, repository: &RepositoryConfig, published: Timestamp) -> Option<Timestamp> {
        let millis: Option<u64> = repository.option(FRESH).ok()?;
        Some(published.plus(Duration::from_millis(millis?)))
    }

    async fn inspect(&self, file: &PulledFile<'_>) -> Result<Inspection> {
        let bytes = file.store.read_whole(&file.blob.sha256, FILE_LIMIT).await?;
        let (head, length) = Head::parse(file.path.as_str(), &bytes)?;
        let name: FileName = file.path.file_name().parse()?;
        let claims = [
            ("name", head.name.as_str(), [file.artifact.as_str(), &name.name]),
            ("version", head.version.as_str(), [file.revision.as_str(), &name.version]),
        ];
        for (field, found, expected) in claims {
            if let Some(other) = expected.into_iter().find(|expected| *expected != found) {
                let detail = format!("its head says `{field}: {found}`, it was offered as `{other}`");
                return Err(Error::malformed(format!("`{}`", file.path), "toy-identity", detail));
            }
        }
        Ok(Inspection {
            attributes: BTreeMap::from([("payload".to_owned(), json!(bytes.len() - length))]),
            derived: vec![Derived {
                path: format!("{}.head", file.path).parse()?,
                bytes: bytes.slice(..length),
            }],
            requirements: head.requires,
            labels: Vec::new(),
        })
    }

    fn dependencies(&self) -> Option<&dyn Dependencies> {
        Some(self)
    }

    async fn index(&self, contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
        let mut names = BTreeSet::new();
        let mut changes = contents.changes();
        while let Some(change) = changes.try_next().await? {
            let (Change::Added(entry) | Change::Removed(entry) | Change::Changed { new: entry, .. }) = change;
            names.extend(entry.path.as_str().split('/').nth(1).map(str::to_owned));
        }
        for name in names {
            let mut lines = String::new();
            let mut entries = contents.content.scan(&format!("files/{name}/"));
            while let Some(entry) = entries.try_next().await? {
                let _ = writeln!(lines, "{} {} /{}", entry.blob.sha256, entry.blob.size, entry.path);
            }
            let path: ContentPath = format!("list/{name}").parse()?;
            if lines.is_empty() {
                out.remove(path);
            } else {
                out.put(path, lines.into(), BTreeMap::new()).await?;
            }
        }
        Ok(())
    }

    fn client_setup(&self, repository: &RepositoryConfig, base: &Url) -> ClientSetup {
        let base = base.as_str().trim_end_matches('/');
        ClientSetup { command: format!("curl {base}/{}/list/NAME", repository.name), files: Vec::new() }
    }
}

/// What one line of the registry's document offers, if its names are what they should be.
fn discovered(artifact: &str, base: &Url, offer: &Offer) -> Result<DiscoveredFile> {
    let name: FileName = offer.file.parse()?;
    if name.name != artifact || name.version != offer.version {
        let detail = format!("it is offered as `{artifact}` `{}`", offer.version);
        return Err(Error::malformed(format!("file `{}`", offer.file), "toy-offer", detail));
    }
    let note = offer.note.iter().map(|note| ("note".to_owned(), json!(note)));
    Ok(DiscoveredFile {
        revision: offer.version.parse()?,
        path: format!("files/{artifact}/{}", offer.file).parse()?,
        url: base.join(&offer.file).map_err(|error| Error::invalid("file URL", error.to_string()))?,
        size: offer.size,
        sha256: offer.sha256,
        attributes: note.collect(),
        bytes: None,
    })
}
