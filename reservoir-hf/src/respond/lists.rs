//! Lists of models and datasets: searched, filtered, sorted, paged.

use futures::TryStreamExt as _;
use http::header;
use reservoir_core::{
    Result,
    serve::{Found, Request, Response, View},
    snapshot::Entry,
};
use serde_json::Value;
use url::form_urlencoded;

use super::{
    answer::{self, Failure, Refusal},
    info,
    tree::{is_true, next_link},
};
use crate::{
    layout,
    name::{RepoId, RepoKind},
};

/// Lines on a page.
const PAGE: usize = 1000;

/// The parameters of a list.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter of its own")]
struct Query {
    search: Option<String>,
    author: Option<String>,
    tags: Vec<String>,
    limit: usize,
    by_date: bool,
    ascending: bool,
    expand: bool,
    gated: bool,
    offset: usize,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut query = Self { limit: PAGE, ..Self::default() };
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*key {
                "search" | "model_name" | "dataset_name" => query.search = Some(value.to_lowercase()),
                "author" => query.author = Some(value.to_lowercase()),
                "filter" => query.tags.extend(value.split(',').map(str::to_lowercase)),
                "pipeline_tag" | "library" | "library_name" | "apps" => query.tags.push(value.to_lowercase()),
                "limit" => query.limit = value.parse().unwrap_or(PAGE).clamp(1, PAGE),
                "sort" => {
                    query.by_date =
                        matches!(&*value, "lastModified" | "last_modified" | "createdAt" | "created_at");
                }
                "direction" => query.ascending = value == "1",
                "full" | "cardData" | "config" => query.expand |= is_true(&value),
                "expand" | "expand[]" => query.expand |= matches!(&*value, "cardData" | "config"),
                "gated" => query.gated = is_true(&value),
                "cursor" => {
                    let offset = value.parse();
                    query.offset =
                        offset.map_err(|_| Refusal::bad_request("the cursor is not one of this list"))?;
                }
                _ => {}
            }
        }
        Ok(query)
    }

    fn takes(&self, repo: &RepoId, entry: &Entry) -> bool {
        let id = repo.id().to_lowercase();
        let has = |tag: &String| match entry.attributes.get("tags") {
            Some(Value::Array(tags)) => {
                tags.iter().filter_map(Value::as_str).any(|known| known.eq_ignore_ascii_case(tag))
            }
            _ => false,
        };
        !self.gated
            && self.search.as_ref().is_none_or(|text| text.split_whitespace().all(|word| id.contains(word)))
            && self.author.as_ref().is_none_or(|author| {
                repo.namespace().is_some_and(|namespace| namespace.eq_ignore_ascii_case(author))
            })
            && self.tags.iter().all(has)
    }
}

/// Answers with a page of the list. Memory holds the ids that fit, and one page.
pub(super) async fn list(view: &View, request: &Request, kind: RepoKind) -> Result<Response, Failure> {
    let text = request.query.as_deref().unwrap_or_default();
    let query = Query::parse(text)?;
    let mut entries = view.list(&format!("{}/", kind.plural()));
    let mut fitting: Vec<(String, RepoId)> = Vec::new();
    while let Some(entry) = entries.try_next().await? {
        let Some(repo) = repository(kind, &entry) else { continue };
        if query.takes(&repo, &entry) {
            let date = entry.attributes.get("last_modified").and_then(Value::as_str).unwrap_or_default();
            let key = if query.by_date { date.to_owned() } else { String::new() };
            fitting.push((key, repo));
        }
    }
    if query.by_date {
        // Stable: equal dates stay in the order of names.
        if query.ascending {
            fitting.sort_by(|a, b| a.0.cmp(&b.0));
        } else {
            fitting.sort_by(|a, b| b.0.cmp(&a.0));
        }
    }
    let mut items = Vec::new();
    for (_, repo) in fitting.iter().skip(query.offset).take(query.limit) {
        let Found::Entry(entry) = view.publication(layout::info_path(repo)?.as_str()).await? else {
            continue;
        };
        let mut item = info::listed(repo, &entry);
        if query.expand {
            info::expand(&mut item, view, repo).await?;
        }
        items.push(item);
    }
    let response = answer::json(&Value::Array(items));
    let next = query.offset.saturating_add(query.limit);
    if next >= fitting.len() {
        return Ok(response);
    }
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    let kept = form_urlencoded::parse(text.as_bytes()).filter(|(key, _)| key != "cursor");
    let parameters = parameters.extend_pairs(kept).append_pair("cursor", &next.to_string()).finish();
    let target = format!("{}{}/api/{}?{parameters}", request.origin, request.base, kind.plural());
    Ok(response.header(header::LINK, next_link(&target)?))
}

/// The repository whose document an entry of the publication is.
fn repository(kind: RepoKind, entry: &Entry) -> Option<RepoId> {
    let id = entry.attributes.get("id").and_then(Value::as_str)?;
    RepoId::new(kind, id).ok()
}
