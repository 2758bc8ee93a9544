//! Asking a Hub what it offers: refs to commits first, then each commit by its id alone.

use std::collections::{BTreeMap, BTreeSet};

use reservoir_core::{
    Error, Result,
    ecosystem::{
        Cursor, Discover, Discovered, DiscoveredArtifact, DiscoveredFile, DiscoverySink, Mode, Requirement,
    },
    name::{ArtifactName, RevisionName},
};
use serde_json::{Value, json};

use super::{
    api::{Hub, RefTarget},
    state::{State, bind, cursor_of, remembered, seen},
    tree::Tree,
};
use crate::{
    attribute::{self, LACKS_TOKENIZER, LFS, OID},
    index::Commit,
    layout,
    name::{Label, ObjectId, RepoId},
    needs,
    record::{self, Item},
    select,
};

/// Repositories looked at together; the fetcher has its own limits for each host.
const IN_FLIGHT: usize = 4;
/// Commits of one repository that a cache, labels that a mirror remembers to have read.
const REMEMBERED: usize = 1000;

/// Lists what a Hub offers of the repositories asked for, in their order. What concerns one repository alone is an
/// [`Discovered::Alarm`]; a Hub that cannot be reached ends the run with what was found so far in `sink`.
///
/// # Errors
/// [`Error::Invalid`] without a registry URL; what the fetcher reports of an unreachable or failing Hub; the sink's
/// own errors.
pub async fn discover<'r>(request: Discover<'r>, sink: &mut dyn DiscoverySink) -> Result<()> {
    let (fetcher, root) = (request.fetcher, request.address()?);
    let is_cache = request.repository.mode == Mode::Cache;
    let look = |artifact: &'r ArtifactName, cursor: Cursor| {
        let labels = labels(request.wanted, artifact)?;
        let repo: RepoId = artifact.as_str().parse()?;
        Ok(async move {
            let hub = Hub { fetcher, root, repo: &repo };
            look(&hub, artifact, labels, &cursor, is_cache).await
        })
    };
    request.look_at_each(IN_FLIGHT, sink, look).await
}

fn labels(wanted: &[Requirement], artifact: &ArtifactName) -> Result<BTreeSet<Label>> {
    let mut labels: BTreeSet<Label> =
        wanted.iter().filter(|one| one.artifact == *artifact).map(select::label).collect::<Result<_>>()?;
    if labels.is_empty() {
        labels.insert(Label::default());
    }
    Ok(labels)
}

/// Looks at one repository; what concerns it alone is an alarm and not an error.
async fn look(
    hub: &Hub<'_>,
    artifact: &ArtifactName,
    labels: BTreeSet<Label>,
    cursor: &Cursor,
    is_cache: bool,
) -> Result<Discovered> {
    let alarm = |rule, detail: String| Ok(Discovered::Alarm { artifact: artifact.clone(), rule, detail });
    let read = if is_cache {
        add(hub, artifact, labels, cursor).await
    } else {
        read(hub, artifact, labels, cursor).await
    };
    match read {
        // Clients may ask a cache for any name: one that the Hub does not tell us of is no incident.
        Err(Error::Upstream { status: status @ (401 | 403), .. }) if is_cache => {
            tracing::info!(%artifact, status, "a Hub does not show a repository: it is private, gated or unknown");
            Ok(Discovered::Missing { artifact: artifact.clone() })
        }
        Err(Error::Malformed { what, rule, detail }) => alarm(rule, format!("{what}: {detail}")),
        Err(error @ Error::LimitExceeded { .. }) => alarm("hub-limit", error.to_string()),
        Err(error @ Error::ForbiddenAddress { .. }) => alarm("hub-address", error.to_string()),
        Err(error @ Error::NotFound { .. }) => alarm("hub-revision", error.to_string()),
        Err(error @ Error::Upstream { status: 400..=499, .. }) if !error.is_retryable() => {
            let detail =
                format!("{error}: it is private, gated or unknown; does the registry's URL have a token?");
            alarm("hub-refused", detail)
        }
        outcome => outcome,
    }
}

async fn read(
    hub: &Hub<'_>,
    artifact: &ArtifactName,
    labels: BTreeSet<Label>,
    cursor: &Cursor,
) -> Result<Discovered> {
    let Some(refs) = hub.refs().await? else {
        return Ok(Discovered::Missing { artifact: artifact.clone() });
    };
    let before = remembered(cursor);
    let mut resolved = BTreeMap::new();
    for label in labels {
        let known = label.commit().filter(|commit| before.commits.contains(commit));
        let commit = match known {
            Some(commit) => commit,
            None => hub
                .resolve(&label)
                .await?
                .ok_or_else(|| Error::not_found("revision", format!("{}@{label}", hub.repo)))?,
        };
        resolved.insert(label.to_string(), commit);
    }
    let mut labels = if before.labels.len() < REMEMBERED { before.labels.clone() } else { BTreeMap::new() };
    labels.extend(resolved.clone());
    match read_commits(hub, artifact, labels.clone(), refs.clone(), &before).await {
        // One that was asked for some time ago is not there any more.
        Err(Error::NotFound { .. }) if labels != resolved => {
            read_commits(hub, artifact, resolved, refs, &before).await
        }
        outcome => outcome,
    }
}

/// What a Hub says of the commits that some labels mean, unless all of it is known. A label that was not asked for now
/// is where it was.
async fn read_commits(
    hub: &Hub<'_>,
    artifact: &ArtifactName,
    labels: BTreeMap<String, ObjectId>,
    mut refs: Vec<RefTarget>,
    before: &State,
) -> Result<Discovered> {
    for (label, commit) in &labels {
        bind(&mut refs, &label.parse()?, *commit);
    }
    let commits: BTreeSet<ObjectId> = labels.values().copied().collect();
    let state = State { refs: seen(refs, &commits, before), commits, labels, all: BTreeMap::new() };
    if state == *before {
        return Ok(Discovered::Unchanged { artifact: artifact.clone() });
    }
    let mut unit = unit(artifact, &state)?;
    // What a commit lists never changes; which refs point to it does.
    unit.attributes.insert(DiscoveredArtifact::PARTIAL.to_owned(), Value::Bool(true));
    for &commit in &state.commits {
        if !before.commits.contains(&commit) || state.pointing_to(commit) != before.pointing_to(commit) {
            list(hub, commit, &state, &mut unit).await?;
        }
    }
    Ok(Discovered::Artifact(Box::new(unit)))
}

/// What a cache learns when a client asks for something: commits that were read before are not read again, and a
/// revision that the Hub does not know is nothing new.
async fn add(
    hub: &Hub<'_>,
    artifact: &ArtifactName,
    labels: BTreeSet<Label>,
    cursor: &Cursor,
) -> Result<Discovered> {
    let Some(mut refs) = hub.refs().await? else {
        return Ok(Discovered::Missing { artifact: artifact.clone() });
    };
    let mut before = remembered(cursor);
    if before.commits.len() > REMEMBERED {
        before.commits.clear();
    }
    let mut commits = before.commits.clone();
    for label in labels {
        let known = label.commit().filter(|commit| before.commits.contains(commit));
        let commit = match known {
            Some(commit) => Some(commit),
            None => hub.resolve(&label).await?,
        };
        if let Some(commit) = commit {
            commits.insert(commit);
            bind(&mut refs, &label, commit);
        }
    }
    let all = refs.iter().cloned().collect();
    let state = State { refs: seen(refs, &commits, &before), commits, labels: BTreeMap::new(), all };
    if state == before {
        return Ok(Discovered::Unchanged { artifact: artifact.clone() });
    }
    let mut unit = unit(artifact, &state)?;
    unit.attributes.insert(attribute::ALL_REFS.to_owned(), json!(state.all));
    unit.attributes.insert(DiscoveredArtifact::PARTIAL.to_owned(), Value::Bool(true));
    let pointed_to = |commit| {
        state.pointing_to(commit).iter().any(|(name, now)| before.refs.get(*name) != Some(&(commit, *now)))
    };
    for &commit in &state.commits {
        if !before.commits.contains(&commit) || pointed_to(commit) {
            list(hub, commit, &state, &mut unit).await?;
        }
    }
    Ok(Discovered::Artifact(Box::new(unit)))
}

fn unit(artifact: &ArtifactName, state: &State) -> Result<DiscoveredArtifact> {
    Ok(DiscoveredArtifact {
        artifact: artifact.clone(),
        cursor: cursor_of(state)?,
        attributes: BTreeMap::new(),
        quarantined: None,
        files: Vec::new(),
        skipped: Vec::new(),
    })
}

/// Adds a commit's record and its files.
async fn list(hub: &Hub<'_>, commit: ObjectId, state: &State, unit: &mut DiscoveredArtifact) -> Result<()> {
    let unknown = || Error::not_found("commit", format!("{}@{commit}", hub.repo));
    let tree = hub.tree(commit).await?.ok_or_else(unknown)?;
    let facts = hub.commit(commit).await?;
    unit.files.push(record_file(hub, commit, &tree.items, state, &facts)?);
    let lacks_tokenizer = needs::lacks_tokenizer(&tree.items);
    for item in tree.items.iter().filter(|item| Tree::is_kept(item)) {
        let mut file = file(hub, commit, item)?;
        if lacks_tokenizer && item.path == "README.md" {
            file.attributes.insert(LACKS_TOKENIZER.to_owned(), Value::Bool(true));
        }
        unit.files.push(file);
    }
    unit.skipped.extend(tree.skipped);
    Ok(())
}

/// The record of a commit: its bytes say what git says, its attributes what may change.
fn record_file(
    hub: &Hub<'_>,
    commit: ObjectId,
    items: &[Item],
    state: &State,
    facts: &Commit,
) -> Result<DiscoveredFile> {
    let attributes = BTreeMap::from([
        (attribute::REFS.to_owned(), json!(state.pointing_to(commit))),
        (attribute::COMMIT.to_owned(), json!(facts)),
    ]);
    Ok(DiscoveredFile {
        revision: revision(commit)?,
        path: layout::record_path(hub.repo, commit)?,
        url: hub.api(&["tree", &commit.to_string()])?,
        size: None,
        sha256: None,
        attributes,
        bytes: Some(record::write(hub.repo, commit, items, None)?),
    })
}

fn file(hub: &Hub<'_>, commit: ObjectId, item: &Item) -> Result<DiscoveredFile> {
    let mut attributes = BTreeMap::from([(OID.to_owned(), Value::String(item.oid.to_string()))]);
    if let Some(lfs) = &item.lfs {
        attributes.insert(LFS.to_owned(), json!(lfs));
    }
    Ok(DiscoveredFile {
        revision: revision(commit)?,
        path: layout::file_path(hub.repo, commit, &item.path)?,
        url: hub.file(commit, &item.path)?,
        size: item.size,
        sha256: item.lfs.map(|lfs| lfs.sha256),
        attributes,
        bytes: None,
    })
}

fn revision(commit: ObjectId) -> Result<RevisionName> {
    commit.to_string().parse()
}
