//! Where files wait while they arrive, so that an interrupted pull goes on where it stopped.

use std::path::PathBuf;

use url::Url;

use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// The folder of partial downloads. A partial file is named by what is expected (digest, or address when no
/// digest is known), never by upstream text.
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
    pub(crate) fn path(&self, url: &Url, expected: Option<Sha256Digest>) -> PathBuf {
        let name = expected.unwrap_or_else(|| Sha256Digest::of(url.as_str().as_bytes()));
        self.0.join(format!("{name}.partial"))
    }
}
