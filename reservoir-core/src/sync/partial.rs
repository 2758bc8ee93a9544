//! Where files wait while they arrive, so that an interrupted pull goes on where it stopped.

use std::path::PathBuf;

use uuid::Uuid;

use crate::{
    catalog::FileRow,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// The folder of partial downloads. A partial file is named by a digest of what it will be (repository, path,
/// digest expected), so that no upstream text becomes a file name and no two downloads share a file.
#[derive(Debug, Clone)]
pub(crate) struct Partials(PathBuf);

impl Partials {
    pub(crate) async fn open(folder: PathBuf) -> Result<Self> {
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(Error::io(format!("create `{}`", folder.display())))?;
        Ok(Self(folder))
    }

    /// The partial file of one download.
    pub(crate) fn path(&self, repository: Uuid, file: &FileRow) -> PathBuf {
        let expected = file.sha256.map_or_else(|| file.url.to_string(), |sha256| sha256.to_string());
        let identity = format!("{repository}\n{}\n{expected}", file.path);
        self.0.join(format!("{}.partial", Sha256Digest::of(identity.as_bytes())))
    }
}
