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
    snapshot::{Change, Contents, Entry, IndexWriter},
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

/// Refuses an entry that [`write`] could not list.
pub(crate) fn check(entry: &Entry) -> Result<()> {
    project_of(entry)?;
    page::check(entry)
}

/// The project of an entry, which is the first part of its path.
fn project_of(entry: &Entry) -> Result<&str> {
    let path = entry.path.as_str();
    let split = path.split_once('/').map(|(project, _)| project);
    split.ok_or_else(|| Error::malformed(format!("`{path}`"), "pypi-path", "is not PROJECT/FILE"))
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
        let project = project_of(entry)?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reservoir_core::{
        digest::{Blake3Digest, Sha256Digest},
        store::Blob,
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_page_could_list_is_refused() {
        let refused = |path: &str, digest: &str| {
            let sha256 = Sha256Digest::of(b"");
            let entry = Entry {
                path: path.parse().unwrap(),
                blob: Blob { sha256, blake3: Blake3Digest::from_bytes([0; 32]), size: 0 },
                artifact: Some("six".parse().unwrap()),
                revision: Some("1.0".parse().unwrap()),
                attributes: BTreeMap::from([(crate::attribute::BLAKE2B.to_owned(), json!(digest))]),
            };
            check(&entry).is_err()
        };
        let digest = "ab".repeat(32);
        assert!(!refused("six/six-1.0.tar.gz", &digest));
        assert!(!refused("six/six-1.0-py3-none-any.whl.metadata", ""), "it is on no line of its own");
        assert!(refused("x", &digest));
        assert!(refused("six/six-1.0.tar.gz", "../../etc/passwd"));
    }
}
