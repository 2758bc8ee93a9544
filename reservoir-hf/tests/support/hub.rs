//! A Hub on the loopback: repositories with commits, refs and files, whose answers tests may spoil.

use std::{collections::BTreeMap, fmt::Write as _};

use reservoir_core::{
    digest::Sha256Digest,
    testing::upstream::{Reply, Upstream},
};
use reservoir_hf::{
    git::{blob_id, lfs_pointer, object_id},
    name::{ObjectId, RepoId, RepoKind},
};
use serde_json::{Value, json};
use url::Url;

/// Where the Hub begins: clients must keep a prefix.
const PREFIX: &str = "/hub";

/// A Hub whose repositories tests choose. It stops when dropped.
#[derive(Debug)]
pub struct Hub {
    pub upstream: Upstream,
    repos: BTreeMap<RepoId, Repo>,
    /// Entries on a page of a tree.
    pub page: usize,
}

/// One repository.
#[derive(Debug, Default)]
struct Repo {
    commits: Vec<Commit>,
    refs: BTreeMap<String, ObjectId>,
}

/// One commit.
#[derive(Debug, Clone)]
pub struct Commit {
    pub id: ObjectId,
    pub title: String,
    pub files: BTreeMap<String, File>,
}

/// One file of a commit.
#[derive(Debug, Clone)]
pub struct File {
    pub bytes: Vec<u8>,
    pub lfs: bool,
}

impl File {
    pub fn sha256(&self) -> Sha256Digest {
        Sha256Digest::of(&self.bytes)
    }

    fn pointer(&self) -> String {
        lfs_pointer(&self.sha256(), self.bytes.len() as u64)
    }

    /// What git's tree has.
    pub fn oid(&self) -> ObjectId {
        if self.lfs { blob_id(self.pointer().as_bytes()) } else { blob_id(&self.bytes) }
    }

    /// As a list of files has it.
    pub fn listed(&self, path: &str) -> Value {
        let mut value = json!({ "type": "file", "path": path, "oid": self.oid(), "size": self.bytes.len(), "xetHash": "0".repeat(64) });
        if self.lfs {
            let (oid, size, pointer) = (self.sha256(), self.bytes.len(), self.pointer().len());
            value["lfs"] = json!({ "oid": oid, "size": size, "pointerSize": pointer });
        }
        value
    }
}

/// A file that git keeps itself.
pub fn regular(bytes: impl Into<Vec<u8>>) -> File {
    File { bytes: bytes.into(), lfs: false }
}

/// A file that git keeps a pointer to.
pub fn lfs(bytes: impl Into<Vec<u8>>) -> File {
    File { bytes: bytes.into(), lfs: true }
}

/// Bytes that do not compress, the same each time.
pub fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}

impl Hub {
    pub async fn start() -> Self {
        Self { upstream: Upstream::start().await, repos: BTreeMap::new(), page: 1000 }
    }

    /// Its address, as `HF_ENDPOINT` would be.
    pub fn url(&self) -> Url {
        self.upstream.url(PREFIX)
    }

    /// Adds a commit, moves `main` to it, and answers for all of it.
    pub fn commit<'f>(
        &mut self,
        id: &str,
        title: &str,
        files: impl IntoIterator<Item = (&'f str, File)>,
    ) -> ObjectId {
        let repo: RepoId = id.parse().unwrap();
        let files: BTreeMap<String, File> =
            files.into_iter().map(|(path, file)| (path.to_owned(), file)).collect();
        let mut tree = String::new();
        for (path, file) in &files {
            writeln!(tree, "{path} {}", file.oid()).unwrap();
        }
        let entry = self.repos.entry(repo.clone()).or_default();
        // Not a commit that git knows, but an id that depends on everything as git's does.
        let parent = entry.commits.last().map(|commit| commit.id.to_string()).unwrap_or_default();
        let commit = object_id("commit", format!("{repo}\n{parent}\n{title}\n{tree}").as_bytes());
        entry.commits.push(Commit { id: commit, title: title.to_owned(), files });
        self.set_ref(id, "refs/heads/main", commit);
        commit
    }

    /// Moves or makes a ref, by its full name.
    pub fn set_ref(&mut self, id: &str, name: &str, commit: ObjectId) {
        let repo: RepoId = id.parse().unwrap();
        self.repos.get_mut(&repo).unwrap().refs.insert(name.to_owned(), commit);
        self.answer(&repo);
    }

    /// Where `main` points.
    pub fn head(&self, id: &str) -> ObjectId {
        self.repos[&id.parse::<RepoId>().unwrap()].refs["refs/heads/main"]
    }

    /// A commit that was made.
    pub fn get(&self, id: &str, commit: ObjectId) -> &Commit {
        let repo = &self.repos[&id.parse::<RepoId>().unwrap()];
        repo.commits.iter().find(|known| known.id == commit).unwrap()
    }

    /// The path of an address of the API, as it is asked for: every segment encoded.
    pub fn api(&self, id: &str, rest: &[&str]) -> String {
        let repo: RepoId = id.parse().unwrap();
        let own = ["api", repo.kind().plural()].into_iter().chain(repo.segments());
        self.encoded(own.chain(rest.iter().copied()))
    }

    /// The path of a file.
    pub fn file(&self, id: &str, commit: ObjectId, path: &str) -> String {
        let repo: RepoId = id.parse().unwrap();
        let commit = commit.to_string();
        let prefix = (repo.kind() == RepoKind::Dataset).then_some("datasets");
        let own = prefix.into_iter().chain(repo.segments()).chain(["resolve", &commit]);
        self.encoded(own.chain(path.split('/')))
    }

    fn encoded<'s>(&self, segments: impl Iterator<Item = &'s str>) -> String {
        let mut url = self.url();
        url.path_segments_mut().unwrap().extend(segments);
        url.path().to_owned()
    }

    fn answer(&self, repo: &RepoId) {
        let (id, known) = (repo.to_string(), &self.repos[repo]);
        let json = |value: &Value| Reply::ok(value.to_string()).content_type("application/json");
        let below = |prefix: &str| -> Vec<Value> {
            let of = known
                .refs
                .iter()
                .filter_map(|(name, commit)| Some((name, name.strip_prefix(prefix)?, commit)));
            of.map(|(full, name, commit)| json!({ "name": name, "ref": full, "targetCommit": commit }))
                .collect()
        };
        let refs = json!({
            "branches": below("refs/heads/"),
            "tags": below("refs/tags/"),
            "converts": below("refs/convert/"),
        });
        self.upstream.route(self.api(&id, &["refs"]), json(&refs));
        for (name, commit) in &known.refs {
            let info = json!({ "id": repo.id(), "sha": commit, "siblings": [] });
            let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
            for label in [Some(name.as_str()), short].into_iter().flatten() {
                self.upstream.route(self.api(&id, &["revision", label]), json(&info));
            }
        }
        for (index, commit) in known.commits.iter().enumerate() {
            let sha = commit.id.to_string();
            let info = json!({ "id": repo.id(), "sha": sha, "siblings": [] });
            self.upstream.route(self.api(&id, &["revision", &sha]), json(&info));
            let history: Vec<Value> = known.commits[..=index].iter().rev().map(history).collect();
            self.upstream.route(self.api(&id, &["commits", &sha]), json(&Value::Array(history)));
            self.tree(&id, commit);
            for (path, file) in &commit.files {
                let reply = Reply::ok(file.bytes.clone())
                    .etag(&format!("\"{}\"", file.oid()))
                    .header("x-repo-commit", &sha)
                    .header("x-xet-hash", "0".repeat(64))
                    .header("link", "<https://cas.example.com/x>; rel=\"xet-auth\"");
                self.upstream.route(self.file(&id, commit.id, path), reply);
            }
        }
    }

    /// The pages of a tree; each but the last links to the next.
    fn tree(&self, id: &str, commit: &Commit) {
        let mut folders: BTreeMap<String, ObjectId> = BTreeMap::new();
        for path in commit.files.keys() {
            for (at, _) in path.match_indices('/') {
                folders.insert(path[..at].to_owned(), blob_id(&path.as_bytes()[..at]));
            }
        }
        let folders = folders
            .iter()
            .map(|(path, oid)| json!({ "type": "directory", "path": path, "oid": oid, "size": 0 }));
        let items: Vec<Value> =
            folders.chain(commit.files.iter().map(|(path, file)| file.listed(path))).collect();
        let address = self.api(id, &["tree", &commit.id.to_string()]);
        let pages: Vec<&[Value]> = items.chunks(self.page).collect();
        for (number, page) in pages.iter().enumerate() {
            let query = "recursive=true&expand=false";
            let target = match number {
                0 => format!("{address}?{query}"),
                number => format!("{address}?{query}&cursor={number}"),
            };
            let mut reply = Reply::ok(json!(page).to_string()).content_type("application/json");
            if number + 1 < pages.len() {
                let next = self.upstream.url(&format!("{address}?{query}&cursor={}", number + 1));
                reply = reply.header("link", format!("<{next}>; rel=\"next\""));
            }
            self.upstream.route(target, reply);
        }
    }
}

fn history(commit: &Commit) -> Value {
    json!({
        "id": commit.id,
        "title": commit.title,
        "message": "",
        "date": "2024-05-06T07:08:09.000Z",
        "authors": [{ "user": "somebody", "avatar": "https://avatars.example.com/x" }],
    })
}
