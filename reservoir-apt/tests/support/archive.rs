//! An archive on the loopback: packages, indexes in any compression, signed Releases; and a mirror of it.

use std::{collections::BTreeMap, io::Write as _, path::Path, sync::Arc};

use reservoir_apt::Apt;
use reservoir_core::{
    Engine, EngineBuilder,
    archive::Compression,
    catalog::{Catalog, CatalogOptions, Repository},
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::Candidate,
    name::Actor,
    openpgp::{Signer, SigningKey},
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
    sync::SyncReport,
    testing::upstream::{Reply, Upstream},
};
use serde_json::{Value, json};

use super::deb::Deb;

/// Compresses as the real tools do.
pub fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(bytes, 3).unwrap(),
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lzma => {
            let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
            let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
            let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => bytes.to_vec(),
    }
}

/// A date as Release files write it, so many hours from now.
pub fn date(hours: i64) -> String {
    let time = Timestamp::from_micros(Timestamp::now().as_micros() + hours * 3_600_000_000);
    time.to_jiff().strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

/// One suite, ready to be served.
#[derive(Debug, Clone)]
pub struct SuiteFiles {
    /// `dists/stable`, or nothing for a flat repository.
    pub folder: String,
    /// Fields before the list of files.
    pub head: String,
    /// Files by their paths below the folder, as served.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files that are listed and not served.
    pub absent: BTreeMap<String, Vec<u8>>,
}

impl SuiteFiles {
    pub fn new(name: &str, hours: i64) -> Self {
        let head = format!(
            "Origin: Example\nLabel: Example\nSuite: {name}\nCodename: {name}\nDate: {}\n\
             Architectures: all amd64 arm64\nComponents: main\n",
            date(hours)
        );
        let folder = format!("dists/{name}");
        Self { folder, head, files: BTreeMap::new(), absent: BTreeMap::new() }
    }

    pub fn flat(hours: i64) -> Self {
        let head = format!("Origin: Example\nDate: {}\nArchitecture: x86_64\n", date(hours));
        Self { folder: String::new(), head, files: BTreeMap::new(), absent: BTreeMap::new() }
    }

    /// Adds an index in one compression, and lists its plain form as real archives do.
    pub fn index(mut self, path: &str, text: &str, compression: Compression) -> Self {
        let ending = if compression == Compression::None { "" } else { "." };
        let name = format!("{path}{ending}{}", compression.extension());
        self.files.insert(name, compress(compression, text.as_bytes()));
        if compression != Compression::None {
            self.absent.insert(path.to_owned(), text.as_bytes().to_vec());
        }
        self
    }

    pub fn packages(self, stanzas: &[String]) -> Self {
        self.index("main/binary-amd64/Packages", &(stanzas.join("\n\n") + "\n"), Compression::Xz)
    }

    pub fn field(mut self, line: &str) -> Self {
        self.head += &format!("{line}\n");
        self
    }

    pub fn release(&self) -> String {
        let mut text = format!("{}SHA256:\n", self.head);
        for (path, bytes) in self.files.iter().chain(&self.absent) {
            text += &format!(" {} {:>8} {path}\n", Sha256Digest::of(bytes), bytes.len());
        }
        text
    }
}

/// An archive and a mirror of it.
pub struct World {
    pub upstream: Upstream,
    pub engine: Engine,
    pub catalog: Catalog,
    pub signer: Signer,
    folder: tempfile::TempDir,
}

pub fn ann() -> Actor {
    "ann".parse().unwrap()
}

/// An engine at rest in `folder`.
pub async fn engine_in(folder: &Path) -> EngineBuilder {
    let database = format!("sqlite:{}", folder.join("catalog.db").display());
    let scratch = folder.join("scratch");
    let options =
        ObjectStoreOptions { scratch: scratch.clone(), fsync: false, ..ObjectStoreOptions::default() };
    let store = Arc::new(ObjectBlobs::local(folder.join("store"), options).await.unwrap());
    Engine::builder()
        .catalog(Catalog::open(&database, CatalogOptions::default()).await.unwrap())
        .store(store as Arc<dyn Store>)
        .ecosystem(Apt)
        .key(InstanceKey::generate().unwrap())
        .scratch(scratch)
}

impl World {
    /// A mirror of the suite `stable` with these keys of its own.
    pub async fn new(options: Value) -> Self {
        let upstream = Upstream::start().await;
        let folder = tempfile::tempdir().unwrap();
        let signer =
            Signer::new(vec![SigningKey::generate("Archive <archive@example.com>").unwrap()]).unwrap();
        let engine = engine_in(folder.path()).await.build().unwrap();
        let catalog = engine.catalog().clone();
        std::fs::write(folder.path().join("keyring.asc"), signer.armored_public().unwrap()).unwrap();
        let world = Self { upstream, engine, catalog, signer, folder };
        world.registry("up", "", json!({})).await;
        world.repository(&["up"], options).await;
        world
    }

    /// Replaces the certificates that every registry's suites may be signed by.
    pub fn keyring(&self, armored: &str) {
        std::fs::write(self.folder.path().join("keyring.asc"), armored).unwrap();
    }

    /// Adds a registry below a folder of the server, with its keyring.
    pub async fn registry(&self, name: &str, folder: &str, mut options: Value) {
        options["keyring"] = self.folder.path().join("keyring.asc").display().to_string().into();
        let url = self.upstream.url(&format!("/debian{folder}"));
        let registry = json!({ "name": name, "ecosystem": "apt", "url": url, "options": options });
        self.catalog.put_registry(&serde_json::from_value(registry).unwrap(), &ann()).await.unwrap();
    }

    pub async fn repository(&self, registries: &[&str], mut options: Value) {
        if options.get("suites").is_none() {
            options["suites"] = json!(["stable"]);
        }
        let repository = json!({
            "name": "debian", "ecosystem": "apt", "registries": registries, "publish": "manual", "options": options,
        });
        self.catalog.put_repository(&serde_json::from_value(repository).unwrap(), &ann()).await.unwrap();
    }

    /// Serves a package.
    pub fn deb(&self, deb: &Deb) -> String {
        let bytes = deb.build();
        self.upstream.route(format!("/debian/{}", deb.pool()), Reply::ok(bytes.clone()));
        deb.stanza(&deb.pool(), &bytes)
    }

    /// Serves a suite, signed by the archive's key.
    pub fn suite(&self, suite: &SuiteFiles) {
        self.suite_below("", suite);
    }

    pub fn suite_below(&self, folder: &str, suite: &SuiteFiles) {
        let signed = self.signer.clearsign(&suite.release(), Timestamp::now()).unwrap();
        self.in_release(folder, suite, signed.into_bytes());
        self.files(folder, suite);
    }

    pub fn in_release(&self, folder: &str, suite: &SuiteFiles, bytes: Vec<u8>) {
        let etag = format!("\"{}\"", Sha256Digest::of(&bytes));
        self.upstream.route(path(folder, suite, "InRelease"), Reply::ok(bytes).etag(&etag));
    }

    pub fn files(&self, folder: &str, suite: &SuiteFiles) {
        for (file, bytes) in &suite.files {
            self.upstream.route(path(folder, suite, file), Reply::ok(bytes.clone()));
        }
    }

    pub async fn sync(&self) -> SyncReport {
        self.engine.sync(&"debian".parse().unwrap(), ann()).await.unwrap().wait().await.unwrap()
    }

    pub async fn scan(&self) -> SyncReport {
        self.engine.scan(&"debian".parse().unwrap(), ann()).await.unwrap().wait().await.unwrap()
    }

    pub async fn row(&self) -> Repository {
        self.catalog.repository(&"debian".parse().unwrap()).await.unwrap()
    }

    pub async fn candidates(&self, artifact: &str) -> Vec<Candidate> {
        self.catalog.candidates(self.row().await.id, &artifact.parse().unwrap()).await.unwrap()
    }

    /// The revisions of a package that are known.
    pub async fn revisions(&self, artifact: &str) -> Vec<String> {
        self.candidates(artifact).await.iter().map(|candidate| candidate.revision.to_string()).collect()
    }

    /// Paths of all requests so far, without `/debian/`.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.upstream.requests();
        requests.iter().map(|request| request.target.trim_start_matches("/debian/").to_owned()).collect()
    }
}

pub fn path(folder: &str, suite: &SuiteFiles, file: &str) -> String {
    let slash = if suite.folder.is_empty() { "" } else { "/" };
    format!("/debian{folder}/{}{slash}{file}", suite.folder)
}
