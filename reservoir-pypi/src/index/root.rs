//! The list of projects.

use std::{collections::BTreeSet, future, pin::pin};

use futures::{Stream, TryStreamExt as _};
use reservoir_core::{
    Result,
    serve::View,
    snapshot::{Contents, IndexWriter},
};

use serde_json::Value;

use super::{Format, SERIAL, coding, coding::Page, html, json, root_path};

/// Writes the list, if `new` projects joined it or there is none yet.
///
/// The order is that of the pages' paths, whatever was added when.
pub(super) async fn write(
    contents: &Contents<'_>,
    new: BTreeSet<String>,
    out: &mut IndexWriter<'_>,
) -> Result<()> {
    if new.is_empty()
        && let Some(publication) = contents.parent_publication
        && publication.get(&coding::encoded(&root_path(Format::Json))).await?.is_some()
    {
        return Ok(());
    }
    // As in paths, where `a-b/` stands before `a/`.
    let mut new: Vec<String> = new.into_iter().map(|name| name + "/").collect();
    new.sort_unstable();
    let mut new = new.into_iter().peekable();

    let mut list = List::new()?;
    if let Some(publication) = contents.parent_publication {
        let mut entries = publication.scan("simple/");
        while let Some(entry) = entries.try_next().await? {
            let Some(known) = entry.path.as_str().strip_prefix("simple/").and_then(project_of) else {
                continue;
            };
            while let Some(added) = new.next_if(|added| added.as_str() < known) {
                list = list.add(&added).await?;
            }
            list = list.add(known).await?;
        }
    }
    for added in new {
        list = list.add(&added).await?;
    }
    list.put(contents.number, out).await
}

/// The list with the serial of each project, by which mirrors see what changed. It differs in every snapshot and
/// only mirrors read it, so that it is made when it is asked for.
pub(crate) async fn with_serials(view: &View) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    json::root_head(&mut out);
    let mut first = true;
    let mut projects = pin!(projects(view));
    while let Some((project, serial)) = projects.try_next().await? {
        json::root_row(&mut out, &project, serial, first);
        first = false;
    }
    json::root_tail(&mut out);
    Ok(out)
}

/// The projects, each with the number of the snapshot that last changed it, in the order of their pages' paths.
pub(crate) fn projects(view: &View) -> impl Stream<Item = Result<(String, Option<u64>)>> + Send + use<> {
    view.list("simple/").try_filter_map(|entry| {
        let project = entry.path.as_str().strip_prefix("simple/").and_then(project_of);
        let serial = entry.attributes.get(SERIAL).and_then(Value::as_u64);
        future::ready(Ok(project.map(|project| (project.trim_end_matches('/').to_owned(), serial))))
    })
}

/// `name/` of `name/index.json.gz`.
fn project_of(path: &str) -> Option<&str> {
    let name = path.strip_suffix("index.json.gz")?;
    name.ends_with('/').then_some(name)
}

struct List {
    json: Page,
    html: Page,
    first: bool,
}

impl List {
    fn new() -> Result<Self> {
        let mut list = Self { json: Page::new()?, html: Page::new()?, first: true };
        json::root_head(list.json.buffer());
        html::root_head(list.html.buffer());
        Ok(list)
    }

    async fn add(mut self, name: &str) -> Result<Self> {
        let name = name.trim_end_matches('/');
        json::root_row(self.json.buffer(), name, None, self.first);
        html::root_row(self.html.buffer(), name);
        let (json, html) = (self.json.settle().await?, self.html.settle().await?);
        Ok(Self { json, html, first: false })
    }

    async fn put(mut self, serial: u64, out: &mut IndexWriter<'_>) -> Result<()> {
        json::root_tail(self.json.buffer());
        html::tail(self.html.buffer());
        self.json.put(&root_path(Format::Json), serial, out).await?;
        self.html.put(&root_path(Format::Html), serial, out).await
    }
}
