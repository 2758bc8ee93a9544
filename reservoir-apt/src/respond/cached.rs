//! Answering from a cache: a suite as its registry signed it, one state at a time; packages as they are asked for.
//!
//! A client reads a Release and then the indexes that it lists, so a new state is shown only when the indexes that
//! clients have fetched of the one before are here too, and what they list is known. Until then, and while the
//! registry is away, the state before is shown whole. Names by hash lead to every state that is known.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use reservoir_core::{
    Error, Result,
    ecosystem::{Candidate, CandidateFile},
    serve::{FileOptions, Found, Held, Request, Response, Shown, Through, View, problem},
};
use serde_json::Value;

use super::fully_decoded;
use crate::{
    attribute,
    name::Suite,
    options::Options,
    upstream::{LISTS_OF, UPSTREAM_KEYRING, date},
};

/// How soon the registry is asked again about what a new state lists, after it failed.
const LATELY: Duration = Duration::from_secs(15);
/// How long a client waits for the indexes of a new state; apt itself waits 30 seconds for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Indexes brought at a time.
const AT_ONCE: usize = 8;
/// How often a client waits for what a suite lists to become known: each time for ten seconds.
const WAITS: usize = 2;

pub(super) async fn respond(through: &Through, view: &View, request: &Request) -> Result<Response> {
    let options = Options::of(&through.repository().config)?;
    let path = request.path.as_str();
    if path == UPSTREAM_KEYRING {
        let Some(suite) = options.suites.first() else { return Ok(Response::not_found()) };
        return Ok(metadata(through, request, suite, path).await?.unwrap_or_else(Response::not_found));
    }
    // `stable/updates` lies within `stable`: the innermost is meant.
    let mut suites: Vec<&Suite> = options.suites.iter().collect();
    suites.sort_by_key(|suite| Reverse(suite.folder().len()));
    for suite in suites {
        let folder = suite.folder();
        let below = match folder.as_str() {
            "" => Some(path),
            folder => path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(below) = below else { continue };
        match metadata(through, request, suite, below).await? {
            Some(response) => return Ok(response),
            // In a flat repository packages lie beside their index.
            None if suite.is_flat() => {}
            None => return Ok(Response::not_found()),
        }
    }
    package(through, view, request, &options).await
}

/// What a suite is signed by or lists; `None` when there is nothing of that name.
async fn metadata(
    through: &Through,
    request: &Request,
    suite: &Suite,
    below: &str,
) -> Result<Option<Response>> {
    let artifact = suite.to_artifact();
    if suite.is_flat() && is_package(below) {
        return Ok(None);
    }
    let states = States::of(through.offer(&artifact).await?);
    let (file, options) = if let Some((folder, digest)) = by_hash(below) {
        (states.by_hash(folder, digest), FileOptions::immutable())
    } else {
        let state = states.current(through, suite).await?;
        let modified = date::of_compact(state.revision.as_str());
        (named(state, below), FileOptions { modified, ..FileOptions::revalidated() })
    };
    let Some(file) = file else { return Ok(None) };
    let mut response = match through.find(&artifact, file.path.as_str()).await? {
        Held::Here(entry) => through.here(request, &entry, options).await?,
        Held::Offered(file) => through.bring(request, *file, options).await?,
        Held::Missing => return Ok(None),
    };
    states.shown.mark(&mut response);
    Ok(Some(response))
}

/// A package, or a part of a source package.
async fn package(through: &Through, view: &View, request: &Request, options: &Options) -> Result<Response> {
    let path = fully_decoded(&request.path);
    if !is_package(&path) || path.starts_with("upstream/") {
        return Ok(Response::not_found());
    }
    match view.content(&path).await? {
        Found::Entry(entry) => return view.file(request, &entry, FileOptions::revalidated()).await,
        Found::Denied(reason) => return Ok(problem(&Error::Denied { what: format!("`{path}`"), reason })),
        Found::Missing => {}
    }
    let mut failure = None;
    for suite in &options.suites {
        match find(through, suite, &path).await {
            Ok(Held::Here(entry)) => return through.here(request, &entry, FileOptions::revalidated()).await,
            Ok(Held::Offered(file)) => {
                return through.bring(request, *file, FileOptions::revalidated()).await;
            }
            Ok(Held::Missing) | Err(Error::NotFound { .. }) => {}
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or_else(|| Ok(Response::not_found()), Err)
}

/// Looks a package up among what is known; then in what the suite lists now.
async fn find(through: &Through, suite: &Suite, path: &str) -> Result<Held> {
    let lists = suite.to_lists();
    let mut waits = WAITS;
    let found = loop {
        match through.find(&lists, path).await {
            // The first reading of a large suite may take longer than one wait.
            Err(Error::Unreachable { .. }) if waits > 1 => waits -= 1,
            found => break found?,
        }
    };
    if !matches!(found, Held::Missing) {
        return Ok(found);
    }
    let states = States::of(through.offer(&suite.to_artifact()).await?);
    let Some(newest) = states.newest() else { return Ok(found) };
    if lists_are_of(through, suite, newest).await { through.find(&lists, path).await } else { Ok(found) }
}

/// Whether what the suite lists in this state is known; it is asked for if not.
async fn lists_are_of(through: &Through, suite: &Suite, state: &Candidate) -> bool {
    let lists = suite.to_lists();
    let Some(sha256) = signed(state).and_then(|signed| signed.sha256) else { return false };
    let sha256 = sha256.to_string();
    let is_of =
        |shown: &Shown| shown.offer.attributes.get(LISTS_OF).and_then(Value::as_str) == Some(sha256.as_str());
    match through.offer(&lists).await {
        Ok(shown) if is_of(&shown) => true,
        Ok(_) => through.renewed(&lists, LATELY).await.is_ok_and(|shown| is_of(&shown)),
        Err(_) => false,
    }
}

/// The states of a suite that are known.
struct States {
    shown: Shown,
    /// Places of the candidates that were signed, the newest first.
    order: Vec<usize>,
}

impl States {
    fn of(shown: Shown) -> Self {
        let candidates = &shown.offer.candidates;
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.retain(|place| signed(&candidates[*place]).is_some());
        // Revisions are dates, written so that text sorts as time.
        order.sort_unstable_by(|a, b| candidates[*b].revision.cmp(&candidates[*a].revision));
        Self { shown, order }
    }

    fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.order.iter().map(|place| &self.shown.offer.candidates[*place])
    }

    fn newest(&self) -> Option<&Candidate> {
        self.iter().next()
    }

    /// The state that clients are shown.
    async fn current(&self, through: &Through, suite: &Suite) -> Result<&Candidate> {
        let newest = self.newest().ok_or_else(|| Error::not_found("suite", suite))?;
        let Some(held) = self.iter().find(|state| signed(state).is_some_and(is_here)) else {
            // Packages will be asked for next.
            let (through, lists) = (through.clone(), suite.to_lists());
            tokio::spawn(async move { through.offer(&lists).await.map(drop) });
            return Ok(newest);
        };
        if held.id == newest.id || is_ready(through, suite, newest, held).await {
            return Ok(newest);
        }
        Ok(held)
    }

    /// A file of any state by its digest.
    fn by_hash(&self, folder: &str, digest: &str) -> Option<&CandidateFile> {
        self.iter().flat_map(|state| &state.files).find(|file| {
            let place = dists_path(file).map(|path| path.rsplit_once('/').map_or("", |(folder, _)| folder));
            let sha512 = attribute::fact(&file.attributes, attribute::SHA512).and_then(Value::as_str);
            let is = |sha256: reservoir_core::digest::Sha256Digest| sha256.to_string() == digest;
            place == Some(folder) && (sha512 == Some(digest) || file.sha256.is_some_and(is))
        })
    }
}

/// Whether a new state can take the place of the one that is shown. What is missing is brought.
async fn is_ready(through: &Through, suite: &Suite, newest: &Candidate, shown: &Candidate) -> bool {
    if !lists_are_of(through, suite, newest).await {
        return false;
    }
    let used: BTreeSet<&str> =
        shown.files.iter().filter(|file| is_here(file)).filter_map(dists_path).collect();
    let missing = newest.files.iter().filter(|file| !is_here(file));
    let missing: Vec<&CandidateFile> =
        missing.filter(|file| dists_path(file).is_some_and(|path| used.contains(path))).collect();
    let artifact = suite.to_artifact();
    let brought = missing.into_iter().map(|file| {
        let (artifact, path) = (&artifact, file.path.as_str());
        async move {
            match through.find(artifact, path).await {
                Ok(Held::Here(_)) => true,
                Ok(Held::Offered(file)) => through.obtain(*file, PATIENCE).await.is_ok(),
                Ok(Held::Missing) | Err(_) => false,
            }
        }
    });
    let brought: Vec<_> = brought.collect();
    stream::iter(brought).buffer_unordered(AT_ONCE).all(std::future::ready).await
}

/// What a state is signed by.
fn signed(state: &Candidate) -> Option<&CandidateFile> {
    let is_signed = |file: &&CandidateFile| {
        attribute::fact(&file.attributes, attribute::RELEASE).is_some()
            && file.path.file_name() != "Release.gpg"
    };
    state.files.iter().find(is_signed)
}

fn is_here(file: &CandidateFile) -> bool {
    file.inspection.is_some()
}

fn dists_path(file: &CandidateFile) -> Option<&str> {
    attribute::fact(&file.attributes, attribute::DISTS_PATH).and_then(Value::as_str)
}

/// A file of a state by its name.
fn named<'s>(state: &'s Candidate, below: &str) -> Option<&'s CandidateFile> {
    state.files.iter().find(|file| match dists_path(file) {
        Some(path) => path == below,
        None => file.path.file_name() == below,
    })
}

/// Folder and digest of `main/binary-amd64/by-hash/SHA256/<hex>`.
fn by_hash(below: &str) -> Option<(&str, &str)> {
    if !super::is_by_hash(below) {
        return None;
    }
    let (rest, digest) = below.rsplit_once('/')?;
    let (folder, _) = rest.rsplit_once('/')?;
    let folder = folder.strip_suffix("by-hash")?;
    Some((folder.strip_suffix('/').unwrap_or(folder), digest))
}

/// Whether a name is one of a package rather than of an index. Tools compare endings by their case.
fn is_package(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    [".deb", ".udeb", ".ddeb", ".dsc", ".asc"].iter().any(|ending| name.ends_with(ending))
        || name.contains(".tar.")
        || name.contains(".diff.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_hash_come_apart() {
        for (below, parts) in [
            ("main/binary-amd64/by-hash/SHA256/00ff", Some(("main/binary-amd64", "00ff"))),
            ("by-hash/SHA512/00ff", Some(("", "00ff"))),
            ("main/binary-amd64/Packages.xz", None),
        ] {
            assert_eq!(by_hash(below), parts, "{below}");
        }
    }

    #[test]
    fn packages_are_told_from_indexes() {
        for (path, is) in [
            ("pool/main/j/jq/jq_1.6_amd64.deb", true),
            ("x.dsc", true),
            ("x_1.0.orig.tar.xz", true),
            ("x_1.0-1.diff.gz", true),
            ("Packages.gz", false),
            ("InRelease", false),
            ("Contents-amd64.gz", false),
        ] {
            assert_eq!(is_package(path), is, "{path}");
        }
    }
}
