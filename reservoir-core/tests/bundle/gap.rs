//! An outside, an inside, and media between them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use reservoir_core::{
    Base, Engine, EngineBuilder, ExportOptions, Exported, Loaded, Medium, Result,
    bundle::{StreamKey, Target},
    catalog::{Accept, Catalog, CatalogOptions, RevisionFilter, TrustedKey},
    clock::Timestamp,
    digest::Sha256Digest,
    store::Store,
    testing::toy::ToyFile,
};

use crate::world::{World, ann, builder, over, sqlite, store, tools};

pub(crate) struct Gap {
    pub(crate) outside: World,
    pub(crate) key: PathBuf,
    pub(crate) inside: Inside,
    pub(crate) media: tempfile::TempDir,
}

pub(crate) struct Inside {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) engine: Engine,
}

impl Inside {
    /// An empty home that trusts nobody.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path(), store(folder.path()).await).await;
        Self { folder, engine }
    }

    pub(crate) async fn trust(&self, key: &StreamKey, accept: Accept) {
        let key = TrustedKey {
            public: key.public(),
            comment: "outside".into(),
            accept,
            predecessor: None,
            added_at: Timestamp::now(),
        };
        self.engine.catalog().trust_key(&key, &ann()).await.unwrap();
    }

    /// Its own key.
    pub(crate) fn key(&self) -> StreamKey {
        StreamKey::load(self.folder.path().join("bundle.key")).unwrap()
    }

    pub(crate) async fn load(&self, paths: &[PathBuf]) -> Result<Vec<Loaded>> {
        load(&self.engine, paths, false).await
    }

    /// Loads what comes down a stream.
    pub(crate) async fn load_tape(&self, tape: impl std::io::Read + Send + 'static) -> Result<Loaded> {
        let loaded = self.engine.load(Medium::Stream(Box::new(tape)), false, ann()).await?.wait().await?;
        Ok(loaded[0].clone())
    }

    /// Everything that a refusal must leave as it was: the store byte by byte, and what the catalog says.
    pub(crate) async fn state(&self) -> (BTreeMap<PathBuf, Sha256Digest>, String) {
        let catalog = self.engine.catalog();
        let mut said = String::new();
        for repository in catalog.repositories().await.unwrap() {
            writeln!(said, "{repository:?}").unwrap();
            writeln!(said, "{:?}", catalog.refs(repository.id).await.unwrap()).unwrap();
            writeln!(said, "{:?}", catalog.snapshots(repository.id, None, 1000).await.unwrap()).unwrap();
            let revisions =
                catalog.revisions(repository.id, &RevisionFilter::default(), None, 1000).await.unwrap();
            for revision in revisions {
                writeln!(said, "{revision:?} {:?}", catalog.files(revision.id).await.unwrap()).unwrap();
            }
        }
        writeln!(said, "{:?}", catalog.arriving_streams().await.unwrap()).unwrap();
        (tree(&self.folder.path().join("store")), said)
    }
}

pub(crate) async fn engine(folder: &Path, store: Arc<dyn Store>) -> Engine {
    built(folder, store).await.build().unwrap()
}

/// The parts of an inside's engine.
pub(crate) async fn built(folder: &Path, store: Arc<dyn Store>) -> EngineBuilder {
    let catalog = Catalog::open(&sqlite(folder), CatalogOptions::default()).await.unwrap();
    let key = folder.join("bundle.key");
    if !key.exists() {
        StreamKey::generate().unwrap().save(&key).unwrap();
    }
    over(folder, catalog, store).bundle_key(StreamKey::load(&key).unwrap())
}

pub(crate) async fn load(engine: &Engine, paths: &[PathBuf], dry_run: bool) -> Result<Vec<Loaded>> {
    engine.load(Medium::Paths(paths.to_vec()), dry_run, ann()).await?.wait().await
}

impl Gap {
    pub(crate) async fn new() -> Self {
        Self::with(CatalogOptions::default()).await
    }

    /// With these options of the outside's catalog.
    pub(crate) async fn with(options: CatalogOptions) -> Self {
        let outside = World::new().await;
        let key = outside.folder.path().join("bundle.key");
        StreamKey::generate().unwrap().save(&key).unwrap();
        let mut gap = Self { outside, key, inside: Inside::new().await, media: tempfile::tempdir().unwrap() };
        gap.reopen(options).await;
        gap.outside.sync().await;
        gap.inside.trust(&gap.stream_key(), Accept::Evidence).await;
        gap
    }

    pub(crate) async fn reopen(&mut self, options: CatalogOptions) {
        let catalog = Catalog::open(&self.outside.url, options).await.unwrap();
        let built = builder(self.outside.folder.path(), catalog).await;
        self.outside.engine = built.bundle_key(self.stream_key()).build().unwrap();
    }

    /// With content of several volumes.
    pub(crate) async fn large() -> Self {
        let mut gap = Self::new().await;
        let large = ToyFile::new("hammer", "3.0", Some("a"), &["nail>=1"], 200_000);
        gap.outside.registry.offer(large);
        gap.outside.sync().await;
        gap
    }

    /// Copies everything that the outside has to `backup`, or back from there.
    pub(crate) async fn copy_outside(&mut self, backup: &Path, back: bool) {
        self.outside.engine.catalog().close().await;
        let home = self.outside.folder.path();
        let (from, to) = if back { (backup, home) } else { (home, backup) };
        if back {
            for entry in std::fs::read_dir(home).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
                    .unwrap();
            }
        }
        let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
        assert!(copied.unwrap().success());
        self.reopen(CatalogOptions::default()).await;
    }

    pub(crate) fn stream_key(&self) -> StreamKey {
        StreamKey::load(&self.key).unwrap()
    }

    /// The inside's own key, as the outside would trust it.
    pub(crate) fn inside_key(&self) -> TrustedKey {
        TrustedKey {
            public: self.inside.key().public(),
            comment: "inside".into(),
            accept: Accept::Evidence,
            predecessor: None,
            added_at: Timestamp::now(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.media.path().join(name)
    }

    pub(crate) async fn export(&self, name: &str, options: ExportOptions) -> Exported {
        export(&self.outside.engine, &self.path(name), options).await.unwrap()
    }

    /// What the site does not have yet, in small volumes.
    pub(crate) async fn ledger(&self, name: &str) -> Exported {
        self.export(name, options()).await
    }

    /// Offers and pulls another version.
    pub(crate) async fn release(&mut self, version: &str) {
        for variant in ["a", "b"] {
            self.outside.registry.offer(ToyFile::new("hammer", version, Some(variant), &["nail>=1"], 3000));
        }
        self.outside.sync().await;
    }

    pub(crate) async fn load(&self, name: &str) -> Result<Loaded> {
        self.inside.load(&[self.path(name)]).await.map(|loaded| loaded[0].clone())
    }
}

pub(crate) fn options() -> ExportOptions {
    ExportOptions {
        site: "north".into(),
        base: Base::Ledger,
        volume_size: Some(65_536),
        ..ExportOptions::default()
    }
}

pub(crate) async fn export(engine: &Engine, folder: &Path, options: ExportOptions) -> Result<Exported> {
    engine.export(options, Target::Folder(folder.to_owned()), ann()).await?.wait().await
}

/// Every file below a folder with its digest.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Sha256Digest> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&at) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let digest = Sha256Digest::of(&std::fs::read(&path).unwrap());
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), digest);
            }
        }
    }
    found
}

/// The content root of `tools`.
pub(crate) async fn content(engine: &Engine) -> Sha256Digest {
    let repository = engine.catalog().repository(&tools()).await.unwrap();
    engine.catalog().resolve(repository.id, "main").await.unwrap().content
}
