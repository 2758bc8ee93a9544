//! A Hub: a whole repository downloaded by `huggingface_hub` from our server and from nginx with the same bytes, and
//! mirrored from that nginx, against curl and sha256sum.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use reservoir_hf::git::{blob_id, lfs_pointer, object_id};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    Effort, Result,
    binary::{Home, Reservoir},
    curl,
    nginx::{self, Nginx},
    process,
    table::{Table, percent, time, verdict},
};

/// Of nginx's bytes a second, for a whole repository by the same client.
const DOWNLOAD_TARGET: f64 = 0.9;
/// Of the bytes a second of curl and sha256sum, for a mirror.
const MIRROR_TARGET: f64 = 0.8;
/// Bytes of memory.
const MEMORY_TARGET: u64 = 256 << 20;

const REPO: &str = "org/big";
/// Fetches everything into a cache of its own and says how long that took, without the start of Python.
const SCRIPT: &str = "import sys, time\nfrom huggingface_hub import snapshot_download, __version__\n\
                      begun = time.perf_counter()\npath = snapshot_download('org/big', cache_dir=sys.argv[1])\n\
                      print(time.perf_counter() - begun, __version__, path)\n";

/// A file of the repository.
pub(crate) struct Weights {
    name: String,
    pub(crate) size: u64,
    sha256: String,
}

/// The repository on nginx.
pub(crate) struct Hub {
    nginx: Nginx,
    pub(crate) files: Vec<Weights>,
    commit: String,
    bytes: u64,
}

pub(crate) fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let size = effort.size(500_000_000, 300_000);
    let hub = Hub::holding(|root| {
        let file = |number: u64| write(root, format!("model-{number}.safetensors"), &[(number, size)]);
        (0..4).map(file).collect()
    })?;
    let python = python()?;
    let columns = ["what", "bytes", "ours", "peer", "ratio", "target", "our peak", "target"];
    let title = format!("A repository of models: {}, {}", nginx::version()?, curl::version()?);
    let mut table = Table::new(title, &columns);

    let (mut ours, mut theirs, mut peak) = (f64::INFINITY, f64::INFINITY, 0);
    let mut mirrored = None;
    for _ in 0..effort.rounds {
        theirs = theirs.min(hub.curl()?);
        // The one before makes room first.
        drop(mirrored.take());
        let home = reservoir.init()?;
        hub.apply(&home)?;
        let sync = home.run(&["sync", "hub"])?;
        ours = ours.min(sync.seconds);
        peak = peak.max(sync.peak_memory);
        mirrored = Some(home);
    }
    let memory = |peak: u64| [format!("{} MiB", peak >> 20), verdict(peak < MEMORY_TARGET, "256 MiB")];
    let mut row = |what: &str, ours: f64, peer: (&str, f64), target: f64, peak: u64| {
        let rate = |seconds: f64| format!("{} ({:.0} MB/s)", time(seconds), hub.bytes as f64 / seconds / 1e6);
        let (ratio, [peak, fits]) = (peer.1 / ours, memory(peak));
        table.row([
            what.into(),
            hub.bytes.to_string(),
            rate(ours),
            format!("{} {}", peer.0, rate(peer.1)),
            percent(ratio),
            verdict(ratio >= target, &percent(target)),
            peak,
            fits,
        ]);
    };
    row("`reservoir sync`", ours, ("curl and sha256sum", theirs), MIRROR_TARGET, peak);

    let home = mirrored.ok_or("no round was run")?;
    let server = home.serve(&[])?;
    let endpoint = format!("{}/hub", server.address);
    let (mut ours, mut theirs, mut version) = (f64::INFINITY, f64::INFINITY, String::new());
    for _ in 0..effort.rounds {
        for (endpoint, best) in [(&endpoint, &mut ours), (&hub.nginx.address, &mut theirs)] {
            let (seconds, said) = download(&python, endpoint, &hub)?;
            *best = best.min(seconds);
            version = said;
        }
    }
    let peak = process::peak_memory(server.pid()).ok_or("the server is gone")?;
    let what = format!("`snapshot_download`, huggingface_hub {version}");
    row(&what, ours, ("nginx", theirs), DOWNLOAD_TARGET, peak);
    table.note(format!(
        "Best of {} rounds for each side, in turns. `reservoir sync` is the whole process: asking, fetching, hashing, \
         scanning for code, durable writes, snapshot; curl fetches one file after the other and sha256sum reads them \
         again, neither waits for the disk. `snapshot_download` is without the start of Python, into the same disk; \
         every byte from our server is verified as it is read.",
        effort.rounds
    ));
    Ok(table)
}

impl Hub {
    /// One that has what is written into the folder.
    pub(crate) fn holding(write: impl FnOnce(&Path) -> Result<Vec<Weights>>) -> Result<Self> {
        let mut files = Vec::new();
        let mut commit = String::new();
        let nginx = Nginx::start_with(|root| {
            files = write(root)?;
            let (documents, id) = describe(&files);
            commit = id;
            for (name, document) in documents {
                fs::write(root.join(name), document.to_string())?;
            }
            Ok(configure(root, &files, &commit))
        })?;
        let bytes = files.iter().map(|file| file.size).sum();
        Ok(Self { nginx, files, commit, bytes })
    }

    /// Has `hub` in a home be the mirror of it.
    pub(crate) fn apply(&self, home: &Home) -> Result<()> {
        let document = format!(
            "[[registry]]\nname = \"upstream\"\necosystem = \"hf\"\nurl = \"{}\"\n\n[[repository]]\nname = \"hub\"\n\
             ecosystem = \"hf\"\nregistry = \"upstream\"\nmodels = [\"{REPO}\"]\n",
            self.nginx.address
        );
        let file = home.folder().join("mirror.toml");
        fs::write(&file, document)?;
        home.run(&["apply", &file.display().to_string()])?;
        Ok(())
    }

    /// What a person would do who wants the bytes and their digests.
    fn curl(&self) -> Result<f64> {
        let folder = TempDir::with_prefix("reservoir-bench")?;
        let begun = Instant::now();
        for file in &self.files {
            let url = format!("{}/{REPO}/resolve/{}/{}", self.nginx.address, self.commit, file.name);
            let to = folder.path().join(&file.name);
            let fetched = curl::command().args(["-sSf", "-o"]).arg(&to).arg(url).status()?;
            let summed = Command::new("sha256sum").arg(&to).output()?;
            if !fetched.success() || !String::from_utf8_lossy(&summed.stdout).starts_with(&file.sha256) {
                return Err(format!("curl and sha256sum of {} failed", file.name).into());
            }
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// The seconds that the client took, and its version.
fn download(python: &Path, endpoint: &str, hub: &Hub) -> Result<(f64, String)> {
    let folder = TempDir::with_prefix("reservoir-bench")?;
    let mut command = Command::new(python);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HF_") || text.to_lowercase().ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    let output = command
        .env("HF_HOME", folder.path().join("home"))
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env("HF_HUB_DISABLE_UPDATE_CHECK", "1")
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .args(["-c", SCRIPT])
        .arg(folder.path().join("cache"))
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = said.split_ascii_whitespace();
    let (Some(seconds), Some(version), Some(path)) = (words.next(), words.next(), words.next()) else {
        return Err(format!("snapshot_download: {}", String::from_utf8_lossy(&output.stderr)).into());
    };
    for file in &hub.files {
        if fs::metadata(Path::new(path).join(&file.name))?.len() != file.size {
            return Err(format!("{} is not whole", file.name).into());
        }
    }
    Ok((seconds.parse()?, version.to_owned()))
}

fn python() -> Result<PathBuf> {
    let variable = "RESERVOIR_TEST_HUB_2";
    let python = std::env::var_os(variable);
    let python = python.ok_or_else(|| {
        format!("{variable} is not set; run this by `scripts/dev`, which installs the clients")
    })?;
    Ok(python.into())
}

/// Writes tensors of bytes that do not compress, each of a seed and a size.
pub(crate) fn write(root: &Path, name: String, tensors: &[(u64, u64)]) -> Result<Weights> {
    let mut size = 0;
    let mut header = serde_json::Map::new();
    for (number, (_, bytes)) in tensors.iter().enumerate() {
        let tensor = json!({ "dtype": "U8", "shape": [bytes], "data_offsets": [size, size + bytes] });
        header.insert(format!("x{number}"), tensor);
        size += bytes;
    }
    let header = Value::Object(header).to_string();
    let mut hasher = Sha256::new();
    let mut file = BufWriter::new(File::create(root.join(&name))?);
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    put(&(header.len() as u64).to_le_bytes())?;
    put(header.as_bytes())?;
    let mut piece = vec![0_u8; 1 << 20];
    for &(seed, bytes) in tensors {
        let (mut state, mut left) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, bytes);
        while left > 0 {
            for word in piece.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let count = left.min(piece.len() as u64);
            put(&piece[..usize::try_from(count)?])?;
            left -= count;
        }
    }
    file.flush()?;
    Ok(Weights { name, size: 8 + header.len() as u64 + size, sha256: format!("{:x}", hasher.finalize()) })
}

/// What a Hub says of the repository, by the names of files, and its commit.
fn describe(files: &[Weights]) -> ([(&'static str, Value); 4], String) {
    let tree: Vec<Value> = files
        .iter()
        .map(|file| {
            let pointer = pointer(file);
            let lfs = json!({ "oid": file.sha256, "size": file.size, "pointerSize": pointer.len() });
            let oid = blob_id(pointer.as_bytes());
            json!({ "type": "file", "path": file.name, "oid": oid, "size": file.size, "lfs": lfs })
        })
        .collect();
    let commit = object_id("commit", json!(tree).to_string().as_bytes()).to_string();
    let names: Vec<Value> = files.iter().map(|file| json!({ "rfilename": file.name })).collect();
    let refs = json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": commit }],
                       "converts": [], "tags": [] });
    let info = json!({ "id": REPO, "sha": commit, "siblings": names, "private": false, "downloads": 0,
                       "likes": 0, "tags": [] });
    let commits = json!([{ "id": commit, "title": "all", "message": "", "authors": [{ "user": "bench" }],
                           "date": "2024-05-06T07:08:09.000Z" }]);
    let documents =
        [("refs.json", refs), ("info.json", info), ("commits.json", commits), ("tree.json", json!(tree))];
    (documents, commit)
}

fn pointer(file: &Weights) -> String {
    // Made from a digest a few lines up.
    file.sha256.parse().map_or_else(|_| String::new(), |sha256| lfs_pointer(&sha256, file.size))
}

/// The addresses of a Hub, for nginx.
fn configure(root: &Path, files: &[Weights], commit: &str) -> String {
    let mut locations = Vec::new();
    let mut location = |path: String, file: &str, headers: &str| {
        let file = root.join(file);
        locations.push(format!("location = {path} {{ {headers} alias {}; }}\n", file.display()));
    };
    let api = format!("/api/models/{REPO}");
    let json = "default_type application/json; types { }";
    location(format!("{api}/refs"), "refs.json", json);
    location(format!("{api}/commits/{commit}"), "commits.json", json);
    location(format!("{api}/tree/{commit}"), "tree.json", json);
    for revision in ["main", commit] {
        location(format!("{api}/revision/{revision}"), "info.json", json);
    }
    for Weights { name, size, sha256 } in files {
        let headers = format!(
            "etag off; add_header ETag '\"{sha256}\"'; add_header X-Repo-Commit {commit}; \
             add_header X-Linked-Size {size}; add_header X-Linked-ETag '\"{sha256}\"';"
        );
        location(format!("/{REPO}/resolve/{commit}/{name}"), name, &headers);
    }
    locations.concat()
}
