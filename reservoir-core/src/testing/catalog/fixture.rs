//! What the tests of the catalog stand on.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use crate::{
    catalog::{Catalog, CatalogOptions, DiscoveryOutcome, Fence, FileRow, Repository},
    clock::{Clock, Timestamp},
    digest::{Blake3Digest, Sha256Digest},
    ecosystem::{
        Approval, Cursor, DiscoveredArtifact, DiscoveredFile, Inspection, Mode, Publish, Registry,
        RepositoryConfig,
    },
    lifecycle::{ArtifactLifecycle as _, Revision, Status, Transition},
    name::Actor,
    store::Blob,
};

/// A catalog with one registry (`index`) and one repository (`python`), and a clock that stands still.
#[derive(Debug)]
pub struct Fixture {
    /// The address of the database.
    pub url: String,
    /// The catalog.
    pub catalog: Catalog,
    /// The repository.
    pub repository: Repository,
    /// The clock of the catalog.
    pub clock: Clock,
    /// Somebody.
    pub actor: Actor,
}

impl Fixture {
    /// Opens an empty database.
    pub async fn open(url: &str) -> Self {
        let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_000_000));
        let options = CatalogOptions { clock: clock.clone(), ..CatalogOptions::default() };
        let catalog = Catalog::open(url, options).await.unwrap();
        let actor: Actor = "tester".parse().unwrap();
        assert!(catalog.put_registry(&registry("index"), &actor).await.unwrap());
        assert!(catalog.put_repository(&config("python"), &actor).await.unwrap());
        let repository = catalog.repository(&"python".parse().unwrap()).await.unwrap();
        Self { url: url.to_owned(), catalog, repository, clock, actor }
    }

    /// A second pool on the same database, as another process has it.
    pub async fn another(&self) -> Catalog {
        let options = CatalogOptions { clock: self.clock.clone(), ..CatalogOptions::default() };
        Catalog::open(&self.url, options).await.unwrap()
    }

    /// Runs a statement behind the catalog's back.
    pub async fn tamper(&self, statement: &str) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Records a discovery in the repository.
    pub async fn discover(&self, found: &DiscoveredArtifact) -> DiscoveryOutcome {
        let (repository, registry) = (self.repository.id, "index".parse().unwrap());
        self.catalog.record_discovery(repository, &registry, found, &self.actor).await.unwrap()
    }

    /// A revision by its names.
    pub async fn revision(&self, artifact: &str, revision: &str) -> Revision {
        let (artifact, revision) = (artifact.parse().unwrap(), revision.parse().unwrap());
        self.catalog.find_revision(self.repository.id, &artifact, &revision).await.unwrap()
    }

    /// The only file of a revision.
    pub async fn file(&self, artifact: &str, revision: &str) -> FileRow {
        let mut files = self.catalog.files(self.revision(artifact, revision).await.id).await.unwrap();
        assert_eq!(files.len(), 1);
        files.remove(0)
    }

    /// Moves a revision along.
    pub async fn go(&self, revision: &Revision, steps: &[Status]) -> Revision {
        let mut revision = revision.clone();
        for &to in steps {
            let change = Transition {
                revision: revision.id,
                from: revision.status,
                attempt: revision.attempt,
                to,
                actor: self.actor.clone(),
                reason: format!("test wants {to}"),
            };
            revision = self.catalog.transition(&[change], None).await.unwrap().remove(0);
        }
        revision
    }

    /// Stores, inspects, admits and serves every file of a revision; each blob is named by its path.
    pub async fn serve(&self, artifact: &str, revision: &str) -> Revision {
        let found = self.revision(artifact, revision).await;
        let mut judged = Vec::new();
        for file in self.catalog.files(found.id).await.unwrap() {
            let blob = Blob { size: file.size.unwrap_or(10), ..blob(file.path.as_str()) };
            let blob = Blob { sha256: file.sha256.unwrap_or(blob.sha256), ..blob };
            judged.push(blob.sha256);
            self.catalog.store_file(file.id, &blob, None).await.unwrap();
            self.catalog.inspected_file(file.id, &Inspection::default(), &[], None).await.unwrap();
        }
        self.catalog.admit_files(found.id, &judged, None).await.unwrap();
        self.go(&found, &[Status::Pulling, Status::Pulled, Status::Verifying, Status::Available]).await
    }

    /// Takes a lease for an hour.
    pub async fn fence(&self, name: &str) -> Fence {
        self.catalog.acquire_lease(name, "test", Duration::from_hours(1)).await.unwrap().unwrap()
    }
}

/// A registry.
pub(super) fn registry(name: &str) -> Registry {
    Registry {
        name: name.parse().unwrap(),
        ecosystem: "pypi".parse().unwrap(),
        url: Some("https://index.example.com/simple/".parse().unwrap()),
        allowed_hosts: Vec::new(),
        options: BTreeMap::new(),
    }
}

/// A repository that reads from `index`.
pub(super) fn config(name: &str) -> RepositoryConfig {
    RepositoryConfig {
        name: name.parse().unwrap(),
        ecosystem: "pypi".parse().unwrap(),
        registries: vec!["index".parse().unwrap()],
        mode: Mode::Mirror,
        hosted: false,
        approval: Approval::Automatic,
        publish: Publish::Automatic,
        schedule: None,
        dependencies: false,
        max_import: None,
        options: BTreeMap::new(),
    }
}

/// The digest of a text.
pub(super) fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

/// A blob of ten bytes, named by a text.
pub(super) fn blob(text: &str) -> Blob {
    Blob { sha256: digest(text), blake3: Blake3Digest::from(blake3::hash(text.as_bytes())), size: 10 }
}

/// A file on offer.
pub(super) fn offered(artifact: &str, revision: &str) -> DiscoveredFile {
    let name = format!("{artifact}-{revision}.whl");
    DiscoveredFile {
        revision: revision.parse().unwrap(),
        path: format!("{artifact}/{name}").parse().unwrap(),
        url: format!("https://files.example.com/{name}").parse().unwrap(),
        size: Some(10),
        sha256: Some(digest(&name)),
        attributes: BTreeMap::from([("requires-python".into(), Value::from(">=3.8"))]),
        bytes: None,
    }
}

/// An artifact on offer, one file a revision.
pub(super) fn found(artifact: &str, revisions: &[&str]) -> DiscoveredArtifact {
    DiscoveredArtifact {
        artifact: artifact.parse().unwrap(),
        cursor: Cursor(BTreeMap::from([("etag".into(), format!("\"{}\"", revisions.join(",")))])),
        attributes: BTreeMap::new(),
        quarantined: None,
        files: revisions.iter().map(|revision| offered(artifact, revision)).collect(),
        skipped: Vec::new(),
    }
}
