//! The conformance suite of [`Ecosystem`]: one call that every format survives.
//!
//! A format says by a [`Fixture`] what good files look like and where a registry offers them.
#![expect(clippy::unwrap_used, reason = "a suite panics where a test would")]

mod serving;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;

use super::memory::MemoryStore;
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Ecosystem, Inspection, PulledFile, RepositoryConfig},
    error::{Error, ErrorKind, Result},
    name::{ArtifactName, RevisionName},
    openpgp::Signer,
    path::ContentPath,
    snapshot::{Contents, Edit, Entry, IndexWriter, Manifest, Pages},
    store::{BlobSink as _, Store},
};

/// What a format brings to its suite.
pub trait Fixture: Send + Sync {
    /// The format.
    type Ecosystem: Ecosystem;

    /// A new value of it.
    fn ecosystem(&self) -> Self::Ecosystem;

    /// A repository named `suite` with the registry `upstream` that selects every file of [`files`](Self::files).
    fn repository(&self) -> RepositoryConfig;

    /// Repositories that `configure` refuses.
    fn junk(&self) -> Vec<RepositoryConfig>;

    /// The address of a registry that offers exactly [`files`](Self::files), up as long as the fixture lives.
    fn registry(&self) -> Url;

    /// The ecosystem's own keys of that registry. By default none.
    fn registry_options(&self) -> BTreeMap<String, serde_json::Value> {
        BTreeMap::new()
    }

    /// What signs the publications of formats whose clients want that, always with the same key. By default nothing.
    fn signer(&self) -> Option<Signer> {
        None
    }

    /// Good files, two or more, of two or more revisions.
    fn files(&self) -> Vec<GoodFile>;

    /// Where a client fetches a file, below the repository. By default its path.
    fn address(&self, path: &ContentPath) -> String {
        path.to_string()
    }

    /// Pages that a client reads when everything is published, below the repository.
    fn pages(&self) -> Vec<String>;
}

/// A file that the format takes.
#[derive(Debug, Clone)]
pub struct GoodFile {
    /// Its artifact.
    pub artifact: ArtifactName,
    /// Its revision.
    pub revision: RevisionName,
    /// Its path within a repository.
    pub path: ContentPath,
    /// What the registry says of it.
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Runs every check of the contract of [`Ecosystem`].
pub async fn suite(fixture: &impl Fixture) {
    configuration(fixture);
    good_files(fixture).await;
    wrong_names(fixture).await;
    damaged_files(fixture).await;
    indexes(fixture).await;
    serving::suite(fixture).await;
}

fn configuration(fixture: &impl Fixture) {
    let ecosystem = fixture.ecosystem();
    assert_eq!(ecosystem.id(), fixture.ecosystem().id());
    assert!(!ecosystem.modes().is_empty());
    let mut keys: Vec<_> = ecosystem.repository_options().iter().map(|option| option.key).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count, "each key once");
    let repository = fixture.repository();
    for key in repository.options.keys() {
        assert!(keys.contains(&key.as_str()), "`{key}` is not among repository_options()");
    }
    ecosystem.configure(&repository).unwrap();
    assert!(!ecosystem.roots(&repository, &[]).unwrap().is_empty());
    for junk in fixture.junk() {
        let error = ecosystem.configure(&junk).unwrap_err();
        assert!(is_refusal(&error), "{junk:?}: {error}");
    }
    let base = Url::parse("http://127.0.0.1:9/under").unwrap();
    let setup = ecosystem.client_setup(&repository, &base);
    let text = format!("{}{:?}", setup.command, setup.files);
    assert!(text.contains("127.0.0.1:9/under") && text.contains(repository.name.as_str()), "{text}");
}

/// An error that says what is wrong with the input, not with us.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Malformed
            | ErrorKind::Integrity
            | ErrorKind::Untrusted
            | ErrorKind::Invalid
            | ErrorKind::Unsupported
            | ErrorKind::Quota
    )
}

async fn inspect(ecosystem: &impl Ecosystem, file: &GoodFile) -> Result<(Inspection, crate::store::Blob)> {
    let store = MemoryStore::new();
    let blob = store.put_bytes(file.bytes.clone()).await?;
    let pulled = PulledFile {
        artifact: &file.artifact,
        revision: &file.revision,
        path: &file.path,
        attributes: &file.attributes,
        blob: &blob,
        store: &store,
    };
    Ok((ecosystem.inspect(&pulled).await?, blob))
}

async fn good_files(fixture: &impl Fixture) {
    for file in fixture.files() {
        let (found, _) = inspect(&fixture.ecosystem(), &file).await.unwrap();
        let (again, _) = inspect(&fixture.ecosystem(), &file).await.unwrap();
        assert_eq!(found, again, "{}: the same bytes say the same", file.path);
        assert_eq!(found.derived, again.derived);
        for derived in &found.derived {
            assert_ne!(derived.path, file.path, "what is taken out has a path of its own");
        }
    }
}

/// A file is not taken for another artifact or version than it says it is.
async fn wrong_names(fixture: &impl Fixture) {
    for file in fixture.files() {
        let artifact = GoodFile { artifact: "unheardof".parse().unwrap(), ..file.clone() };
        let revision = GoodFile { revision: "987.654.321".parse().unwrap(), ..file.clone() };
        for wrong in [artifact, revision] {
            let error = inspect(&fixture.ecosystem(), &wrong).await.unwrap_err();
            assert!(is_refusal(&error), "{}: {error}", file.path);
        }
    }
}

/// Cut anywhere or with any bit flipped, a file is read or refused; it never panics.
async fn damaged_files(fixture: &impl Fixture) {
    for file in fixture.files() {
        let step = (file.bytes.len() / 60).max(1);
        for at in (0..file.bytes.len()).step_by(step) {
            let cut = GoodFile { bytes: file.bytes.slice(..at), ..file.clone() };
            let mut bytes = file.bytes.to_vec();
            bytes[at] ^= 1 << (at % 8);
            let flipped = GoodFile { bytes: bytes.into(), ..file.clone() };
            for damaged in [cut, flipped] {
                if let Err(error) = inspect(&fixture.ecosystem(), &damaged).await {
                    assert!(is_refusal(&error), "{} damaged at {at}: {error}", file.path);
                }
            }
        }
        let empty = GoodFile { bytes: Bytes::new(), ..file.clone() };
        assert!(inspect(&fixture.ecosystem(), &empty).await.is_err(), "{}: nothing is no file", file.path);
    }
}

/// The same contents give the same pages, whether they are written at once or on top of an older state.
async fn indexes(fixture: &impl Fixture) {
    let store = MemoryStore::new();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let pages = Pages::new(shared, 16 << 20);
    let mut edits: BTreeMap<ContentPath, Entry> = BTreeMap::new();
    for file in fixture.files() {
        let (inspection, blob) = inspect(&fixture.ecosystem(), &file).await.unwrap();
        store.put_bytes(file.bytes.clone()).await.unwrap();
        let entry = |path: ContentPath, blob, attributes| Entry {
            path,
            blob,
            artifact: Some(file.artifact.clone()),
            revision: Some(file.revision.clone()),
            attributes,
        };
        for derived in inspection.derived {
            let blob = store.put_bytes(derived.bytes).await.unwrap();
            let owner = BTreeMap::from([("derived-from".to_owned(), file.path.as_str().into())]);
            edits.insert(derived.path.clone(), entry(derived.path, blob, owner));
        }
        let mut attributes = file.attributes.clone();
        attributes.extend(inspection.attributes);
        edits.insert(file.path.clone(), entry(file.path.clone(), blob, attributes));
    }
    let all: Vec<Entry> = edits.into_values().collect();
    let full = content(&pages, &store, &all).await;
    let half = content(&pages, &store, &all[..all.len() / 2]).await;

    let once = index(fixture, &pages, &store, &full, None).await;
    let again = index(fixture, &pages, &store, &full, None).await;
    assert_eq!(once.root(), again.root(), "indexes are deterministic");
    let before = index(fixture, &pages, &store, &half, None).await;
    let grown = index(fixture, &pages, &store, &full, Some((&half, &before))).await;
    assert_eq!(listed(&grown).await, listed(&once).await, "added to an older state");
    let shrunk = index(fixture, &pages, &store, &half, Some((&full, &once))).await;
    for (path, digest) in listed(&before).await {
        assert_eq!(listed(&shrunk).await.get(&path), Some(&digest), "`{path}`, taken from a newer state");
    }
}

async fn content(pages: &Pages, store: &MemoryStore, entries: &[Entry]) -> Manifest {
    let edits = entries.iter().cloned().map(|entry| Ok(Edit::Put(Box::new(entry))));
    let written = pages.write(None, stream::iter(edits).boxed(), store).await.unwrap();
    pages.open(written.root).await.unwrap()
}

/// The number and the time are held still, so that pages which tell them can be compared.
async fn index(
    fixture: &impl Fixture,
    pages: &Pages,
    store: &MemoryStore,
    content: &Manifest,
    parent: Option<(&Manifest, &Manifest)>,
) -> Manifest {
    let repository = fixture.repository();
    let instant = (7, Timestamp::from_micros(1_700_000_000_000_000));
    let signer = fixture.signer();
    let contents = Contents::new(&repository, instant, content, parent, pages).signed_by(signer.as_ref());
    let mut entries = content.scan("");
    while let Some(entry) = entries.try_next().await.unwrap() {
        fixture.ecosystem().check_entry(&entry).unwrap();
    }
    let mut out = IndexWriter::new(store);
    fixture.ecosystem().index(&contents, &mut out).await.unwrap();
    let parent = parent.map(|(_, publication)| publication);
    let written = pages.write(parent, out.into_edits(), store).await.unwrap();
    pages.open(written.root).await.unwrap()
}

async fn listed(manifest: &Manifest) -> BTreeMap<String, Sha256Digest> {
    manifest.scan("").map_ok(|entry| (entry.path.to_string(), entry.blob.sha256)).try_collect().await.unwrap()
}
