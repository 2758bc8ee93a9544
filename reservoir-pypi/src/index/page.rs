//! A project's page.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use reservoir_core::{
    Result,
    snapshot::{Contents, Entry, IndexWriter},
};

use super::{
    Format,
    coding::Page,
    html, json, project_path,
    row::{self, Companions, ProjectStatus, Row},
};
use crate::provenance;

/// The ending of a wheel's sidecar (PEP 658).
const SIDECAR: &str = ".metadata";

/// Writes the page of one project in both languages, file by file in the order of their names.
pub(super) async fn write(contents: &Contents<'_>, project: &str, out: &mut IndexWriter<'_>) -> Result<()> {
    let status = status(contents, project).await?;
    let mut pages = Pages { json: Page::new()?, html: Page::new()?, versions: BTreeSet::new(), first: true };
    json::head(pages.json.buffer(), project, status.as_ref());
    html::head(pages.html.buffer(), project, status.as_ref());
    let mut entries = contents.content.scan(&format!("{project}/"));
    let mut waiting: Option<(Entry, Companions)> = None;
    while let Some(entry) = entries.try_next().await? {
        // What stands beside a file follows it at once: no other file's name begins with the whole of that name.
        // An orphan is on no page.
        if let Some(owner) = entry.path.as_str().strip_suffix(SIDECAR) {
            if let Some((_, companions)) = waiting.as_mut().filter(|(file, _)| file.path.as_str() == owner) {
                companions.metadata = Some(entry);
            }
        } else if let Some(owner) = entry.path.as_str().strip_suffix(provenance::ENDING) {
            if let Some((_, companions)) = waiting.as_mut().filter(|(file, _)| file.path.as_str() == owner) {
                companions.provenance = Some(entry);
            }
        } else if let Some((file, companions)) = waiting.replace((entry, Companions::default())) {
            pages = pages.add(&file, &companions).await?;
        }
    }
    if let Some((file, companions)) = waiting {
        pages = pages.add(&file, &companions).await?;
    }
    let Pages { mut json, mut html, versions, .. } = pages;
    json::tail(json.buffer(), &row::sort_versions(versions));
    html::tail(html.buffer());
    json.put(&project_path(project, Format::Json), contents.number, out).await?;
    html.put(&project_path(project, Format::Html), contents.number, out).await
}

/// Refuses an entry that would be a line of a page and cannot be one.
pub(super) fn check(entry: &Entry) -> Result<()> {
    let path = entry.path.as_str();
    if path.ends_with(SIDECAR) || path.ends_with(provenance::ENDING) {
        return Ok(());
    }
    Row::of(entry, &Companions::default()).map(drop)
}

/// From the first file that carries one; most projects have none, and no file is read for it.
async fn status(contents: &Contents<'_>, project: &str) -> Result<Option<ProjectStatus>> {
    let mut entries = contents.content.scan(&format!("{project}/"));
    while let Some(entry) = entries.try_next().await? {
        if let Some(status) = ProjectStatus::of(&entry) {
            return Ok(Some(status));
        }
    }
    Ok(None)
}

struct Pages {
    json: Page,
    html: Page,
    versions: BTreeSet<String>,
    first: bool,
}

impl Pages {
    async fn add(mut self, file: &Entry, companions: &Companions) -> Result<Self> {
        let row = Row::of(file, companions)?;
        json::row(self.json.buffer(), &row, self.first);
        html::row(self.html.buffer(), &row);
        if let Some(revision) = &file.revision {
            self.versions.insert(revision.to_string());
        }
        let (json, html) = (self.json.settle().await?, self.html.settle().await?);
        Ok(Self { json, html, versions: self.versions, first: false })
    }
}
