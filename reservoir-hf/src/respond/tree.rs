//! What a commit lists: trees page by page, single paths.

use std::collections::{BTreeSet, HashMap};

use http::{HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reservoir_core::{
    Result,
    serve::{Found, Request, Response, View},
};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    BODY_LIMIT,
    answer::{self, Failure, Refusal},
    lookup, security,
};
use crate::{
    index::Info,
    name::{Label, ObjectId, RepoId},
    record::Item,
};

/// Items on a page, and with everything that is known of each.
const PAGE: usize = 1000;
const PAGE_EXPANDED: usize = 50;
/// Earlier commits whose records are read for a page, and the bytes of those.
const HISTORY: usize = 100;
const HISTORY_BYTES: u64 = 32 << 20;
/// Paths looked up at a time.
const PATH_LIMIT: usize = 10_000;

/// The parameters of a list.
#[derive(Debug, Default)]
struct Query {
    recursive: bool,
    expand: bool,
    limit: Option<usize>,
    cursor: u64,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*key {
                "recursive" => query.recursive = is_true(&value),
                "expand" => query.expand = is_true(&value),
                "limit" => query.limit = value.parse().ok().filter(|limit| *limit > 0),
                "cursor" => {
                    let cursor = value.parse();
                    query.cursor =
                        cursor.map_err(|_| Refusal::bad_request("the cursor is not one of this list"))?;
                }
                _ => {}
            }
        }
        Ok(query)
    }
}

/// Python clients write `True`.
pub(super) fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value == "1"
}

/// Lists a folder, or everything below it.
pub(super) async fn tree(
    view: &View,
    request: &Request,
    repo: &RepoId,
    rev: &Label,
    path: &str,
) -> Result<Response, Failure> {
    let query = Query::parse(request.query.as_deref().unwrap_or_default())?;
    let (info, commit, record) = lookup::commit(view, repo, rev).await?;
    let folder = path.trim_end_matches('/');
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let most = if query.expand { PAGE_EXPANDED } else { PAGE };
    let limit = query.limit.unwrap_or(most).min(most);
    let mut reader = lookup::reader(view, repo, commit, &record, query.cursor).await?;
    let mut items = Vec::new();
    let mut next = None;
    loop {
        let offset = reader.offset();
        let Some(item) = reader.item().await? else { break };
        let Some(inner) = item.path.strip_prefix(&prefix) else {
            // Sorted: behind the folder nothing of it follows.
            if item.path.as_str() > prefix.as_str() {
                break;
            }
            continue;
        };
        if !query.recursive && inner.contains('/') {
            continue;
        }
        if items.len() == limit {
            next = Some(offset);
            break;
        }
        items.push(item);
    }
    let items = described(view, repo, commit, &items, query.expand.then_some(&info)).await?;
    if items.is_empty() && query.cursor == 0 && !prefix.is_empty() {
        return Err(Refusal::entry(folder, commit).into());
    }
    let response = answer::json(&Value::Array(items));
    Ok(match next {
        // By commit, so that a ref that moves meanwhile mixes nothing.
        Some(offset) => response.header(header::LINK, link(request, repo, commit, folder, &query, offset)?),
        None => response,
    })
}

fn link(
    request: &Request,
    repo: &RepoId,
    commit: ObjectId,
    folder: &str,
    query: &Query,
    offset: u64,
) -> Result<HeaderValue, Failure> {
    let encoded = |part| format!("/{}", utf8_percent_encode(part, NON_ALPHANUMERIC));
    let folder: String = folder.split('/').filter(|part| !part.is_empty()).map(encoded).collect();
    let limit = query.limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
    let (origin, base, kind, id) = (&request.origin, &request.base, repo.kind().plural(), repo.id());
    next_link(&format!(
        "{origin}{base}/api/{kind}/{id}/tree/{commit}{folder}?recursive={}&expand={}{limit}&cursor={offset}",
        query.recursive, query.expand
    ))
}

/// `Link` to the next page.
pub(super) fn next_link(target: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(&format!("<{target}>; rel=\"next\""));
    value.map_err(|_| Refusal::bad_request("the path cannot be written in a header").into())
}

/// Looks paths up; those that are not there are left out.
pub(super) async fn paths_info(
    view: &View,
    request: &Request,
    repo: &RepoId,
    rev: &Label,
) -> Result<Response, Failure> {
    let body = request.body.read(BODY_LIMIT).await?;
    let (paths, expand) = asked(request, &body)?;
    if paths.len() > PATH_LIMIT {
        return Err(
            Refusal::bad_request(format!("{PATH_LIMIT} paths at most are looked up at a time")).into()
        );
    }
    let (info, commit, record) = lookup::commit(view, repo, rev).await?;
    let mut reader = lookup::reader(view, repo, commit, &record, 0).await?;
    let mut items = Vec::new();
    while items.len() < paths.len()
        && let Some(item) = reader.item().await?
    {
        if paths.contains(item.path.as_str()) {
            items.push(item);
        }
    }
    let items = described(view, repo, commit, &items, expand.then_some(&info)).await?;
    Ok(answer::json(&Value::Array(items)))
}

/// The paths and whether everything is asked of them, from a form or from JSON.
fn asked(request: &Request, body: &[u8]) -> Result<(BTreeSet<String>, bool), Refusal> {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|kind| kind.starts_with("application/json")) {
        let bad = || Refusal::bad_request("the body is not {\"paths\": […], \"expand\": …}");
        let body: Value = serde_json::from_slice(body).map_err(|_| bad())?;
        let paths = match &body["paths"] {
            Value::String(one) => BTreeSet::from([one.clone()]),
            Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => return Err(bad()),
        };
        return Ok((paths, body["expand"].as_bool().unwrap_or_default()));
    }
    let mut paths = BTreeSet::new();
    let mut expand = false;
    for (key, value) in form_urlencoded::parse(body) {
        match &*key {
            "paths" | "paths[]" => drop(paths.insert(value.trim_end_matches('/').to_owned())),
            "expand" => expand = is_true(&value),
            _ => {}
        }
    }
    Ok((paths, expand))
}

/// Items as the API has them; with `info` also the last commit and what was found in them.
async fn described(
    view: &View,
    repo: &RepoId,
    commit: ObjectId,
    items: &[Item],
    info: Option<&Info>,
) -> Result<Vec<Value>, Failure> {
    let mut values: Vec<Value> = items.iter().map(plain).collect();
    let Some(info) = info else { return Ok(values) };
    let changed = last_changes(view, repo, commit, info, items).await?;
    let mut security = security::of(view, repo, commit, items).await?;
    for (value, item) in values.iter_mut().zip(items) {
        let last = changed.get(item.path.as_str()).copied().unwrap_or(commit).to_string();
        let facts = info.commits.get(&last).cloned().unwrap_or_default();
        value["lastCommit"] = json!({ "id": last, "title": facts.title, "date": facts.date() });
        if let Some(security) = security.remove(&item.path) {
            // The name and form that clients before 0.24 know.
            value["security"] = json!({
                "safe": security["status"] != "unsafe",
                "avScan": security["avScan"],
                "pickleImportScan": security["pickleImportScan"],
            });
            value["securityFileStatus"] = security;
        }
    }
    Ok(values)
}

/// The commit that brought each item as it is, as far back as the commits are here and are not too many to read.
async fn last_changes<'i>(
    view: &View,
    repo: &RepoId,
    commit: ObjectId,
    info: &Info,
    items: &'i [Item],
) -> Result<HashMap<&'i str, ObjectId>, Failure> {
    let mut same: HashMap<&str, ObjectId> = items.iter().map(|item| (item.path.as_str(), item.oid)).collect();
    let (mut changed, mut at, mut read) = (HashMap::new(), commit, 0);
    for step in 0.. {
        if same.is_empty() {
            break;
        }
        let facts = info.commits.get(&at.to_string());
        let parent = facts.and_then(|facts| facts.parents.first()?.parse::<ObjectId>().ok());
        let mut before = HashMap::new();
        if let Some(parent) = parent
            && let Found::Entry(record) = lookup::record(view, repo, parent).await?
            && step < HISTORY
            && read + record.blob.size <= HISTORY_BYTES
        {
            read += record.blob.size;
            let mut reader = lookup::reader(view, repo, parent, &record, 0).await?;
            while before.len() < same.len()
                && let Some(item) = reader.item().await?
            {
                if let Some((path, _)) = same.get_key_value(item.path.as_str()) {
                    before.insert(*path, item.oid);
                }
            }
        }
        let (still, now): (HashMap<_, _>, HashMap<_, _>) =
            same.into_iter().partition(|(path, oid)| before.get(path) == Some(oid));
        changed.extend(now.into_keys().map(|path| (path, at)));
        same = still;
        at = parent.unwrap_or(at);
    }
    Ok(changed)
}

fn plain(item: &Item) -> Value {
    let mut value = match item.size {
        None => json!({ "type": "directory", "oid": item.oid, "size": 0, "path": item.path }),
        Some(size) => json!({ "type": "file", "oid": item.oid, "size": size, "path": item.path }),
    };
    if let (Some(lfs), Some(size)) = (item.lfs, item.size) {
        value["lfs"] = json!({ "oid": lfs.sha256, "size": size, "pointerSize": lfs.pointer_size });
    }
    value
}
