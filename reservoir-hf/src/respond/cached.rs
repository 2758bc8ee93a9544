//! Answering from a cache: what is known of a repository, and files that are brought when they are asked for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use reservoir_core::{
    Error, Result,
    catalog::{ArtifactRow, FileRow},
    serve::{Body, Held, Request, Response, Through, View},
    snapshot::Entry,
};
use serde_json::Value;

use super::{
    answer::{Failure, Refusal},
    resolve::{Identity, told_empty, without_range},
};
use crate::{
    attribute,
    index::{Gathered, Info},
    layout,
    name::{Label, ObjectId, RepoId, RepoKind},
    options::Options,
    select::requirement,
};

/// How long a client waits for what describes a repository and is not here yet: card and architecture.
const DESCRIPTION: Duration = Duration::from_secs(3);
/// How long it waits for the record of a commit, which is here and only has to be looked at.
const RECORD: Duration = Duration::from_secs(8);

/// What is known of a repository, once its registry was asked about `rev`; a commit that is known needs no asking.
/// While the registry is away, what was known before is good.
pub(super) async fn info(through: &Through, repo: &RepoId, rev: &Label) -> Result<Info, Failure> {
    let artifact = repo.to_artifact()?;
    let is_known = match rev.commit() {
        Some(commit) => !matches!(through.known(record_path(repo, commit)?.as_str()).await?, Held::Missing),
        None => false,
    };
    if !is_known && may_ask(through, repo)? {
        let news = through.ask_about(&requirement(repo, rev, None)?).await?;
        if news.known && through.artifact(&artifact).await?.is_none() {
            return Err(Refusal::revision(rev).into());
        }
    }
    let Some(known) = through.artifact(&artifact).await? else { return Err(Refusal::repo(repo).into()) };
    // What a Hub has may have no commit that anybody asked for.
    gathered(through, repo, &known).await?.ok_or_else(|| Refusal::revision(rev).into())
}

/// What is known of a repository, without asking anybody.
async fn gathered(through: &Through, repo: &RepoId, known: &ArtifactRow) -> Result<Option<Info>> {
    let records = through
        .one_of_each(&known.name, |revision| layout::record_path(repo, revision.as_str().parse()?))
        .await?;
    let mut gathered = Gathered::default();
    for record in &records {
        gathered.add(record.path.file_name(), &record.attributes);
    }
    let Some(mut info) = gathered.finish() else { return Ok(None) };
    if let Some(Value::Object(all)) = known.attributes.get(attribute::ALL_REFS) {
        let recorded = std::mem::take(&mut info.refs);
        for (name, commit) in all.iter().filter_map(|(name, commit)| Some((name, commit.as_str()?))) {
            // A branch that has moved to where nobody followed it yet is where it was.
            let target = match recorded.get(name) {
                Some(recorded) if !info.commits.contains_key(commit) => recorded,
                _ => commit,
            };
            info.refs.insert(name.clone(), target.to_owned());
        }
    }
    Ok(Some(info))
}

/// The newest snapshot and what arrived since, for lists: with its card, where that is here.
pub(super) async fn unfolded(through: &Through, kind: RepoKind) -> Result<(View, BTreeMap<RepoId, Info>)> {
    let mut found = BTreeMap::new();
    let (view, names) = through.unfolded().await?;
    for name in names {
        let repo: RepoId = name.as_str().parse()?;
        if repo.kind() != kind {
            continue;
        }
        let Some(known) = through.artifact(&name).await? else { continue };
        let Some(mut info) = gathered(through, &repo, &known).await? else { continue };
        let head = info.head.clone();
        let commit: ObjectId = head.parse()?;
        for path in ["README.md", "config.json"] {
            if let Held::Here(file) = through.known(layout::file_path(&repo, commit, path)?.as_str()).await? {
                // Neither has what the other is asked for.
                info.add_card(&head, &file.attributes);
                info.add_config(&head, &file.attributes);
            }
        }
        found.insert(repo, info);
    }
    Ok((view, found))
}

/// What describes a commit, from files that are brought for it: those who ask for a model's info want its card.
pub(super) async fn describe(
    through: &Through,
    repo: &RepoId,
    commit: ObjectId,
    info: &mut Info,
) -> Result<()> {
    let id = commit.to_string();
    if let Some(readme) = description(through, repo, commit, "README.md").await? {
        info.add_card(&id, &readme.attributes);
    }
    if repo.kind() == RepoKind::Model
        && let Some(config) = description(through, repo, commit, "config.json").await?
    {
        info.add_config(&id, &config.attributes);
    }
    Ok(())
}

async fn description(
    through: &Through,
    repo: &RepoId,
    commit: ObjectId,
    path: &str,
) -> Result<Option<Arc<Entry>>> {
    match through.known(layout::file_path(repo, commit, path)?.as_str()).await? {
        Held::Here(entry) => Ok(Some(entry)),
        // Whoever asks may do without it.
        Held::Offered(file) => Ok(through.obtain(*file, DESCRIPTION).await.ok()),
        Held::Missing => Ok(None),
    }
}

/// The record of a commit that the snapshots lack. The first who asks has it looked at.
pub(super) async fn record(
    through: &Through,
    repo: &RepoId,
    commit: ObjectId,
    rev: &Label,
) -> Result<Entry, Failure> {
    let found = match through.known(record_path(repo, commit)?.as_str()).await? {
        Held::Here(entry) => Ok(entry),
        Held::Offered(file) => through.obtain(*file, RECORD).await,
        Held::Missing => return Err(Refusal::revision(rev).into()),
    };
    match found {
        Ok(entry) => Ok(Entry::clone(&entry)),
        Err(Error::Denied { reason, .. }) => {
            Err(Refusal::denied(format!("`{repo}@{commit}`"), &reason).commit(commit).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Answers with a file that the snapshots lack: at once about it, and with its bytes when they are here, or as they
/// come. `None` when nobody knows it.
pub(super) async fn file(
    through: &Through,
    request: &Request,
    (repo, commit, path): (&RepoId, ObjectId, &str),
    rev: &Label,
) -> Result<Option<Response>, Failure> {
    let place = layout::file_path(repo, commit, path)?;
    let mut held = through.known(place.as_str()).await?;
    if matches!(held, Held::Missing)
        && matches!(through.known(record_path(repo, commit)?.as_str()).await?, Held::Missing)
    {
        // Nobody asked for this commit before.
        info(through, repo, rev).await?;
        held = through.known(place.as_str()).await?;
    }
    let immutable = rev.commit().is_some();
    match held {
        Held::Here(entry) => {
            let (attributes, size) = (&entry.attributes, entry.blob.size);
            let options = Identity { commit, path, attributes, size, immutable }.options();
            Ok(Some(match without_range(request, size) {
                Some(whole) => told_empty(through.here(&whole, &entry, options).await?),
                None => through.here(request, &entry, options).await?,
            }))
        }
        Held::Offered(file) if Options::of(&through.repository().config)?.patterns.takes(path) => {
            offered(through, request, *file, (commit, path, immutable)).await.map(Some)
        }
        Held::Offered(_) | Held::Missing => Ok(None),
    }
}

async fn offered(
    through: &Through,
    request: &Request,
    file: FileRow,
    (commit, path, immutable): (ObjectId, &str, bool),
) -> Result<Response, Failure> {
    let size = file.size.unwrap_or_default();
    let options = Identity { commit, path, attributes: &file.attributes, size, immutable }.options();
    if request.method == Method::HEAD {
        return Ok(head(options.headers, options.etag.as_deref(), options.cache_control, size));
    }
    let whole = without_range(request, size);
    let is_empty = whole.is_some();
    match through.bring(whole.as_ref().unwrap_or(request), file, options).await {
        Ok(response) if is_empty => Ok(told_empty(response)),
        Ok(response) => Ok(response),
        Err(Error::Denied { reason, .. }) => {
            Err(Refusal::denied(format!("`{path}`"), &reason).commit(commit).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What is known before the first byte is here.
fn head(
    headers: http::HeaderMap,
    etag: Option<&str>,
    cache_control: Option<HeaderValue>,
    size: u64,
) -> Response {
    let mut response = Response::new(StatusCode::OK)
        .header(header::CONTENT_LENGTH, HeaderValue::from(size))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(etag) = etag.and_then(|etag| HeaderValue::try_from(format!("\"{etag}\"")).ok()) {
        response.headers.insert(header::ETAG, etag);
    }
    if let Some(value) = cache_control {
        response.headers.insert(header::CACHE_CONTROL, value);
    }
    response.headers.extend(headers);
    response.body = Body::Empty;
    response
}

/// What the engine says of a file that it cannot bring, as the Hub would: clients show an error's header, and try
/// again after 429, where 503 is the end for them.
pub(super) fn as_hub(mut response: Response) -> Response {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers.insert(HeaderName::from_static(name), value);
        }
    };
    if let Body::Bytes(bytes) = &response.body
        && response.status.as_u16() >= 400
        && let Ok(Value::Object(mut problem)) = serde_json::from_slice::<Value>(bytes)
        && let Some(Value::String(detail)) = problem.remove("detail")
    {
        let ascii = |c: char| if c.is_ascii() && !c.is_control() { c } else { '?' };
        set("x-error-message", &detail.chars().map(ascii).take(1000).collect::<String>());
        if response.status == StatusCode::FORBIDDEN {
            set("x-error-code", "GatedRepo");
        }
        let text = serde_json::json!({ "error": detail }).to_string();
        set("content-type", "application/json; charset=utf-8");
        set("content-length", &text.len().to_string());
        response.body = Body::Bytes(text.into());
    }
    let soon = response.headers.get(header::RETRY_AFTER).cloned();
    if response.status == StatusCode::SERVICE_UNAVAILABLE
        && let Some(soon) = soon.as_ref().and_then(|value| value.to_str().ok())
    {
        response.status = StatusCode::TOO_MANY_REQUESTS;
        if let Ok(limit) = HeaderValue::try_from(format!("\"resolvers\";r=0;t={soon}")) {
            response.headers.insert(HeaderName::from_static("ratelimit"), limit);
        }
    }
    response
}

fn may_ask(through: &Through, repo: &RepoId) -> Result<bool> {
    Ok(Options::of(&through.repository().config)?.may_ask_for(repo))
}

fn record_path(repo: &RepoId, commit: ObjectId) -> Result<reservoir_core::path::ContentPath> {
    layout::record_path(repo, commit)
}
