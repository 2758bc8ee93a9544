//! Writing the simple repository API: one page a project, one list of projects.
//!
//! ```text
//! simple/index.json.gz .json.zst .html.gz .html.zst           the list
//! simple/<name>/index.json.gz .json.zst .html.gz .html.zst    a project
//! ```
//!
//! Only the pages of projects that changed are written; the list only when a project was added. A project
//! stays listed, with an empty page, when its last file goes: a missing page would send uv to its next index.

mod coding;
mod html;
mod json;
pub(crate) mod legacy;
pub(crate) mod live;
mod page;
mod root;
mod row;

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    snapshot::{Change, Contents, IndexWriter},
};

pub(crate) use self::root::{projects, with_serials};

/// The version of the simple repository API that pages follow.
pub(crate) const API_VERSION: &str = "1.4";

/// Attribute of a page: the number of the snapshot that last changed it.
pub(crate) const SERIAL: &str = "serial";

/// Attribute of a page: its bytes before compression.
pub(crate) const SIZE: &str = "size";

/// The publication's path of a project's page, without the ending of its coding.
pub(crate) fn project_path(project: &str, format: Format) -> String {
    format!("simple/{project}/index.{}", format.extension())
}

/// The publication's path of the list of projects, without the ending of its coding.
pub(crate) fn root_path(format: Format) -> String {
    format!("simple/index.{}", format.extension())
}

/// The two languages of the simple repository API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// PEP 691.
    Json,
    /// PEP 503.
    Html,
}

impl Format {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
        }
    }
}

/// Writes the pages of the projects that changed since the parent. Memory holds one project's compressed
/// pages and the names of new projects.
pub(crate) async fn write(contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
    let mut changes = contents.changes();
    let mut new = BTreeSet::new();
    let mut last = String::new();
    while let Some(change) = changes.try_next().await? {
        let entry = match &change {
            Change::Added(entry) | Change::Removed(entry) | Change::Changed { new: entry, .. } => entry,
        };
        let path = entry.path.as_str();
        let Some((project, _)) = path.split_once('/') else {
            return Err(Error::malformed(format!("`{path}`"), "pypi-path", "is not PROJECT/FILE"));
        };
        // Changes come in path order, so that those of one project stand together.
        if project == last {
            continue;
        }
        project.clone_into(&mut last);
        page::write(contents, &last, out).await?;
        let known = match contents.parent_publication {
            Some(publication) => {
                publication.get(&coding::encoded(&project_path(&last, Format::Json))).await?.is_some()
            }
            None => false,
        };
        if !known {
            new.insert(last.clone());
        }
    }
    root::write(contents, new, out).await
}
