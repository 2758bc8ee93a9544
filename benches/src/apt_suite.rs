//! The index of a large suite, read and written back signed: against apt-sortpkgs and aptly on the same file.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use reservoir_apt::{
    Apt,
    control::{Piece, Stanza, Stanzas},
};
use reservoir_core::{
    clock::Timestamp,
    digest::{Blake3Digest, Sha256Digest},
    ecosystem::{Ecosystem as _, RepositoryConfig},
    openpgp::{Signer, SigningKey},
    snapshot::{Contents, Edit, Entry, IndexWriter, Manifest, Pages},
    store::{Blob, ObjectBlobs, ObjectStoreOptions, Store},
    testing::{
        batch::Batched,
        upstream::{Reply, Upstream},
    },
};
use tempfile::TempDir;

use crate::{
    Effort, Result,
    table::{Table, percent, time, verdict},
};

/// Memory for decoded pages, as an engine has it.
const PAGE_CACHE: u64 = 48 << 20;

/// # Errors
/// When a peer is missing, or this machine's apt has no index to read.
pub(crate) async fn run(effort: Effort) -> Result<Table> {
    let folder = TempDir::with_prefix("reservoir-bench")?;
    let packages = folder.path().join("Packages");
    let records = index(&packages, effort)?;
    let bytes = std::fs::metadata(&packages)?.len();

    let (mut whole, mut one, mut sorted, mut aptly) = (f64::MAX, f64::MAX, f64::MAX, f64::MAX);
    for round in 0..effort.rounds {
        let site = Site::open(&folder.path().join(format!("store-{round}"))).await?;
        let started = Instant::now();
        let edits = read(&packages)?;
        let first = site.publish(None, edits, 1).await?;
        whole = whole.min(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let change = vec![Edit::Remove(site.first(&first).await?)];
        site.publish(Some(&first), change, 2).await?;
        one = one.min(started.elapsed().as_secs_f64());
        sorted = sorted.min(by_sortpkgs(&packages, folder.path())?);
        aptly = aptly.min(by_aptly(&packages, folder.path()).await?);
    }
    let title = format!("{records} packages ({} MB) read and written back as a suite", bytes / 1_000_000);
    let mut table = Table::new(title, &["", "what it does", "time", "ours of it", "target"]);
    let row = |table: &mut Table, name: &str, what: &str, seconds: f64, target: bool| {
        let (ratio, met) = if target {
            (percent(whole / seconds), verdict(whole < seconds, "faster"))
        } else {
            (String::new(), String::new())
        };
        table.row([name.to_owned(), what.to_owned(), time(seconds), ratio, met]);
    };
    row(&mut table, "ours", "read, check, content, compress, hash, sign, store durably", whole, false);
    row(&mut table, "ours, one package less", "the same, after the first", one, false);
    row(&mut table, "apt-sortpkgs", "read, sort, write", sorted, true);
    row(&mut table, "aptly", "mirror update, all filtered out", aptly, true);
    table.note(format!(
        "Best of {}. Ours in this process, from the file to a signed publication in a store on disk; the peers as whole \
         processes. aptly fetches the index over the loopback, compressed.",
        effort.rounds
    ));
    Ok(table)
}

/// The largest index that this machine's apt has, decompressed; how many records it has.
pub(crate) fn index(to: &Path, effort: Effort) -> Result<usize> {
    let listed = Command::new("apt-get")
        .args(["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"])
        .output()
        .map_err(|error| format!("apt-get: {error}"))?;
    let files = String::from_utf8(listed.stdout)?;
    let size = |path: &&str| std::fs::metadata(path).map_or(0, |data| data.len());
    let largest =
        files.lines().max_by_key(size).ok_or("this machine's apt has no index; run apt-get update")?;
    let helper = PathBuf::from("/usr/lib/apt/apt-helper");
    let status = Command::new(helper).args(["cat-file", largest]).stdout(File::create(to)?).status()?;
    if !status.success() {
        return Err(format!("apt-helper cat-file: {status}").into());
    }
    let text = std::fs::read_to_string(to)?;
    let stanzas: Vec<&str> = text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).collect();
    let count = effort.size(stanzas.len(), 500.min(stanzas.len()));
    let mut text = stanzas[..count].join("\n\n").trim_end().to_owned();
    text.push_str("\n\n");
    std::fs::write(to, text)?;
    Ok(count)
}

/// What discovery does with an index: every stanza checked, and what is needed of it taken out.
fn read(packages: &Path) -> Result<Vec<Edit>> {
    let mut stanzas = Stanzas::new(File::open(packages)?);
    let mut edits = Vec::new();
    while let Some(piece) = stanzas.next_piece()? {
        let Piece::Stanza(bytes) = piece else { continue };
        let stanza = Stanza::parse(bytes)?;
        let sha256: Sha256Digest = stanza.required("SHA256")?.parse()?;
        let revision = format!("{}:{}", stanza.required("Version")?, stanza.required("Architecture")?);
        let stanzas = serde_json::json!({ "bookworm/main": stanza.text() });
        let entry = Entry {
            path: stanza.required("Filename")?.parse()?,
            blob: Blob {
                sha256,
                blake3: Blake3Digest::from_bytes(*sha256.as_bytes()),
                size: stanza.required("Size")?.parse()?,
            },
            artifact: Some(stanza.required("Package")?.parse()?),
            revision: Some(revision.parse()?),
            attributes: BTreeMap::from([("stanzas".to_owned(), stanzas)]),
        };
        edits.push(Edit::Put(Box::new(entry)));
    }
    edits.sort_unstable_by(|a, b| a.path().cmp(b.path()));
    Ok(edits)
}

/// A repository without a catalog.
struct Site {
    store: Arc<ObjectBlobs>,
    pages: Pages,
    signer: Signer,
    config: RepositoryConfig,
}

struct Published {
    content: Manifest,
    publication: Manifest,
}

impl Site {
    async fn open(folder: &Path) -> Result<Self> {
        let options = ObjectStoreOptions { scratch: folder.to_owned(), ..ObjectStoreOptions::default() };
        let store = Arc::new(ObjectBlobs::local(folder, options).await?);
        let pages = Pages::new(Arc::clone(&store) as Arc<dyn Store>, PAGE_CACHE);
        let mut config = RepositoryConfig::new("bookworm".parse()?, Apt.id());
        config.options = serde_json::from_value(serde_json::json!({
            "suites": ["bookworm"], "components": ["main"], "architectures": ["amd64"],
        }))?;
        let signer = SigningKey::generate("Benchmark <bench@example.com>")?.into();
        Ok(Self { store, pages, signer, config })
    }

    async fn first(&self, of: &Published) -> Result<reservoir_core::path::ContentPath> {
        let first = of.content.scan("pool/").try_next().await?;
        Ok(first.ok_or("nothing was published")?.path)
    }

    async fn publish(&self, parent: Option<&Published>, edits: Vec<Edit>, number: u64) -> Result<Published> {
        let sink = Batched::new(Arc::clone(&self.store) as Arc<dyn Store>);
        let pages = sink.pages(&self.pages);
        let edits = stream::iter(edits.into_iter().map(Ok)).boxed();
        let written = pages.write(parent.map(|parent| &parent.content), edits, &sink).await?;
        let content = pages.open(written.root).await?;
        let before = parent.map(|parent| (&parent.content, &parent.publication));
        let contents = Contents::new(&self.config, (number, Timestamp::now()), &content, before, &pages)
            .signed_by(Some(&self.signer));
        let mut out = IndexWriter::new(&sink);
        Apt.index(&contents, &mut out).await?;
        let before = parent.map(|parent| &parent.publication);
        let written_too = pages.write(before, out.into_edits(), &sink).await?;
        sink.settle().await?;
        let (content, publication) =
            (self.pages.open(written.root).await?, self.pages.open(written_too.root).await?);
        Ok(Published { content, publication })
    }
}

fn by_sortpkgs(packages: &Path, folder: &Path) -> Result<f64> {
    let out = File::create(folder.join("sorted"))?;
    let started = Instant::now();
    let status = Command::new("apt-sortpkgs")
        .arg(packages)
        .stdout(out)
        .status()
        .map_err(|error| format!("apt-sortpkgs: {error}; it is in apt-utils"))?;
    let seconds = started.elapsed().as_secs_f64();
    if status.success() { Ok(seconds) } else { Err(format!("apt-sortpkgs: {status}").into()) }
}

async fn by_aptly(packages: &Path, folder: &Path) -> Result<f64> {
    let text = std::fs::read(packages)?;
    let gz = Command::new("gzip").args(["-1", "-c"]).arg(packages).output()?.stdout;
    let upstream = Upstream::start().await;
    let name = "main/binary-amd64/Packages";
    let release = format!(
        "Suite: bookworm\nCodename: bookworm\nArchitectures: amd64\nComponents: main\n\
         Date: Sat, 21 Nov 2026 10:00:00 UTC\nSHA256:\n {} {} {name}\n {} {} {name}.gz\n",
        Sha256Digest::of(&text),
        text.len(),
        Sha256Digest::of(&gz),
        gz.len()
    );
    upstream.route("/dists/bookworm/Release", Reply::ok(release));
    upstream.route(format!("/dists/bookworm/{name}.gz"), Reply::ok(gz));
    let root = TempDir::new_in(folder)?;
    let configuration = root.path().join("aptly.conf");
    std::fs::write(&configuration, serde_json::json!({ "rootDir": root.path() }).to_string())?;
    let aptly = |arguments: Vec<String>| {
        let mut command = Command::new("aptly");
        command.arg("-config").arg(&configuration).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.env_remove("http_proxy").env_remove("HTTP_PROXY");
        command
    };
    let base = upstream.url("/").to_string();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let create = words(&[
        "mirror",
        "create",
        "-ignore-signatures",
        "-filter=Name (= none)",
        "m",
        &base,
        "bookworm",
        "main",
    ]);
    let mut create = aptly(create);
    let run = move || -> Result<()> {
        let status = create.status().map_err(|error| format!("aptly: {error}; apt-get install aptly"))?;
        if status.success() { Ok(()) } else { Err(format!("aptly mirror create: {status}").into()) }
    };
    tokio::task::spawn_blocking(run).await??;
    let mut update = aptly(words(&["mirror", "update", "-ignore-signatures", "m"]));
    let timed = move || -> Result<f64> {
        let started = Instant::now();
        let status = update.status()?;
        let seconds = started.elapsed().as_secs_f64();
        if status.success() { Ok(seconds) } else { Err(format!("aptly mirror update: {status}").into()) }
    };
    tokio::task::spawn_blocking(timed).await?
}
