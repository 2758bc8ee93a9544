//! The files of a publication, as one list that replaces the parent's.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    path::ContentPath,
    snapshot::{Contents, IndexWriter},
    store::Blob,
};
use serde_json::Value;

use crate::respond::is_by_hash;

/// Facts of a file of the publication.
pub(super) type Facts = BTreeMap<String, Value>;

/// Everything that the new publication has. A few files for each suite, component and architecture; in the verbatim
/// view two for each that upstream signed.
#[derive(Debug, Default)]
pub(super) struct Listing {
    files: BTreeMap<ContentPath, (Blob, Facts)>,
}

impl Listing {
    /// Lists a stored blob. A name that is taken already by other bytes is [`Error::Conflict`].
    pub(super) fn add(&mut self, path: &str, blob: Blob, facts: Facts) -> Result<()> {
        let path: ContentPath = path.parse()?;
        if let Some((other, _)) = self.files.get(&path)
            && other.sha256 != blob.sha256
        {
            let detail = "two files of what upstream offers have this name".into();
            return Err(Error::Conflict { what: format!("`{path}`"), detail });
        }
        self.files.insert(path, (blob, facts));
        Ok(())
    }

    /// Lists a file under its name and under its digest beside it.
    pub(super) fn add_by_hash(&mut self, folder: &str, name: &str, blob: Blob) -> Result<()> {
        self.add(&join(folder, name), blob, Facts::new())?;
        self.add(&join(folder, &format!("by-hash/SHA256/{}", blob.sha256)), blob, Facts::new())
    }

    /// Makes the publication what this says: what is new is linked, what is not listed goes; names that say their
    /// bytes are found for a while by clients that have read an older Release.
    pub(super) async fn settle(mut self, contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
        let mut known = contents.published();
        while let Some(entry) = known.try_next().await? {
            match self.files.remove(&entry.path) {
                Some((blob, facts)) if blob == entry.blob && facts == entry.attributes => {}
                Some((blob, facts)) => out.link(entry.path, blob, facts),
                None if is_by_hash(entry.path.as_str()) => out.retire(entry),
                None => out.remove(entry.path),
            }
        }
        for (path, (blob, facts)) in self.files {
            out.link(path, blob, facts);
        }
        Ok(())
    }
}

/// `folder/name`; the name alone at the top.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
