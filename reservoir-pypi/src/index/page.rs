//! A project's page.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use reservoir_core::{
    Result,
    snapshot::{Contents, Entry, IndexWriter},
};

use super::{Format, coding::Page, html, json, project_path, row};

/// The ending of a wheel's sidecar (PEP 658).
const SIDECAR: &str = ".metadata";

/// Writes the page of one project in both languages, file by file in the order of their names.
pub(super) async fn write(contents: &Contents<'_>, project: &str, out: &mut IndexWriter<'_>) -> Result<()> {
    let mut pages = Pages { json: Page::new()?, html: Page::new()?, versions: BTreeSet::new(), first: true };
    json::head(pages.json.buffer(), project);
    html::head(pages.html.buffer(), project);
    let mut entries = contents.content.scan(&format!("{project}/"));
    let mut waiting: Option<Entry> = None;
    while let Some(entry) = entries.try_next().await? {
        let Some(file) = entry.path.as_str().strip_suffix(SIDECAR) else {
            if let Some(file) = waiting.replace(entry) {
                pages = pages.add(&file, None).await?;
            }
            continue;
        };
        // A sidecar follows its file at once: no other file's name begins with the whole of that name.
        if let Some(owner) = waiting.take_if(|waiting| waiting.path.as_str() == file) {
            pages = pages.add(&owner, Some(&entry)).await?;
        }
    }
    if let Some(file) = waiting {
        pages = pages.add(&file, None).await?;
    }
    let Pages { mut json, mut html, versions, .. } = pages;
    json::tail(json.buffer(), &row::sort_versions(versions));
    html::tail(html.buffer());
    json.put(&project_path(project, Format::Json), contents.number, out).await?;
    html.put(&project_path(project, Format::Html), contents.number, out).await
}

struct Pages {
    json: Page,
    html: Page,
    versions: BTreeSet<String>,
    first: bool,
}

impl Pages {
    async fn add(mut self, file: &Entry, sidecar: Option<&Entry>) -> Result<Self> {
        let row = row::Row::of(file, sidecar)?;
        json::row(self.json.buffer(), &row, self.first);
        html::row(self.html.buffer(), &row);
        if let Some(revision) = &file.revision {
            self.versions.insert(revision.to_string());
        }
        let (json, html) = (self.json.settle().await?, self.html.settle().await?);
        Ok(Self { json, html, versions: self.versions, first: false })
    }
}
