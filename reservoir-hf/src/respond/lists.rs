//! Lists of models and datasets: searched, filtered, sorted, paged.

use std::collections::BTreeMap;

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
    cached, info, lookup,
    tree::{is_true, next_link},
};
use crate::{
    index::{Info, WORDS},
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
                // Nobody counts downloads or likes here: by those all are equal, and come by name.
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

    fn takes(&self, repo: &RepoId, known: &BTreeMap<String, Value>) -> bool {
        let id = repo.id().to_lowercase();
        let texts = |key: &str| {
            let list = known.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str)
        };
        // `language:ko` of datasets is `ko` of models.
        let has = |tag: &String| {
            let bare = tag.strip_prefix("language:").unwrap_or(tag);
            texts("tags").any(|known| known.eq_ignore_ascii_case(tag) || known.eq_ignore_ascii_case(bare))
        };
        // Anywhere in the id, in a tag (the pipeline is one), in what benchmark results are called.
        let found = |word: &str| {
            id.contains(word)
                || texts("tags").any(|known| known.to_lowercase().contains(word))
                || texts(WORDS).any(|known| known.contains(word))
        };
        !self.gated
            && self.search.as_ref().is_none_or(|text| text.split_whitespace().all(found))
            && self.author.as_ref().is_none_or(|author| {
                repo.namespace().is_some_and(|namespace| namespace.eq_ignore_ascii_case(author))
            })
            && self.tags.iter().all(has)
    }
}

/// Answers with a page of the list: what the snapshot has, and in a cache what arrived since. Memory holds the ids that
/// fit, and one page.
pub(super) async fn list(view: &View, request: &Request, kind: RepoKind) -> Result<Response, Failure> {
    let text = request.query.as_deref().unwrap_or_default();
    let query = Query::parse(text)?;
    let (view, newer) = match view.through() {
        Some(through) => cached::unfolded(through, kind).await?,
        None => (view.clone(), BTreeMap::new()),
    };
    let mut fitting: Vec<(String, RepoId)> = Vec::new();
    let mut add = |repo: RepoId, known: &BTreeMap<String, Value>| {
        if query.takes(&repo, known) {
            let date = known.get("last_modified").and_then(Value::as_str).unwrap_or_default();
            fitting.push((if query.by_date { date.to_owned() } else { String::new() }, repo));
        }
    };
    let mut entries = view.list(&format!("{}/", kind.plural()));
    while let Some(entry) = entries.try_next().await? {
        if let Some(repo) = repository(kind, &entry).filter(|repo| !newer.contains_key(repo)) {
            add(repo, &entry.attributes);
        }
    }
    for (repo, info) in &newer {
        add(repo.clone(), &info.summary(repo));
    }
    // Equal dates are in the order of names.
    fitting.sort_by(|(date, repo), (other, than)| {
        let by_date = if query.ascending { date.cmp(other) } else { other.cmp(date) };
        by_date.then_with(|| repo.cmp(than))
    });
    let mut items = Vec::new();
    for (_, repo) in fitting.iter().skip(query.offset).take(query.limit) {
        items.extend(item(&view, &query, repo, newer.get(repo)).await?);
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

/// One repository as a list shows it; nothing when it left meanwhile.
async fn item(
    view: &View,
    query: &Query,
    repo: &RepoId,
    newer: Option<&Info>,
) -> Result<Option<Value>, Failure> {
    let mut item = match newer {
        Some(info) => info::listed(repo, &info.summary(repo)),
        None => match view.publication(layout::info_path(repo)?.as_str()).await? {
            Found::Entry(entry) => info::listed(repo, &entry.attributes),
            Found::Denied(_) | Found::Missing => return Ok(None),
        },
    };
    match newer {
        _ if !query.expand => {}
        Some(info) => info::expand(&mut item, info),
        None => info::expand(&mut item, &lookup::published(view, repo).await?),
    }
    Ok(Some(item))
}

/// The repository whose document an entry of the publication is.
fn repository(kind: RepoKind, entry: &Entry) -> Option<RepoId> {
    let id = entry.attributes.get("id").and_then(Value::as_str)?;
    RepoId::new(kind, id).ok()
}
