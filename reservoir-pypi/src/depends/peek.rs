//! What a wheel says of itself, read where it is: its `METADATA` beside it (PEP 658), or the piece of the wheel that
//! has it.

use std::collections::BTreeMap;

use bytes::Bytes;
use reservoir_core::{
    Error, Result,
    depends::Peek,
    digest::Sha256Digest,
    ecosystem::Inspection,
    fetch::{PageOptions, PageOutcome},
};
use serde_json::Value;
use url::Url;

use super::remote;
use crate::{
    attribute,
    filename::DistFilename,
    metadata::{self, Metadata},
    name::ProjectName,
    package,
};

/// Reads the `METADATA` beside a wheel, whether the registry announces one or not (plain indexes have them and do not
/// say so), against the announced digest where there is one; without one, the end of the wheel. `None` for sdists, and
/// where the registry gives no pieces of files.
///
/// # Errors
/// [`Error::Malformed`] for a sidecar that is not the announced one or is of another project or version, and for a
/// wheel that has none; what the fetcher reports.
pub(super) async fn peek(file: &Peek<'_>) -> Result<Option<Inspection>> {
    let project = ProjectName::try_from(file.artifact)?;
    if !matches!(DistFilename::parse(file.path.file_name(), &project)?, DistFilename::Wheel(_)) {
        return Ok(None);
    }
    let mut url = file.url.clone();
    url.set_fragment(None);
    let path = format!("{}.metadata", url.path());
    url.set_path(&path);
    let what = format!("METADATA of `{}`", file.path.file_name());
    let bytes = match sidecar(file, &url).await? {
        Some(bytes) => bytes,
        None => match remote::metadata(file.fetcher, file.url, &what).await? {
            Some(bytes) => bytes,
            None => return Ok(None),
        },
    };
    let metadata = Metadata::parse(&what, &bytes)?;
    package::described(file.artifact, file.revision, file.path, metadata).map(Some)
}

async fn sidecar(file: &Peek<'_>, url: &Url) -> Result<Option<Bytes>> {
    let options = PageOptions { limit: metadata::LIMIT, ..PageOptions::default() };
    let page = match file.fetcher.get_page(url, options).await {
        Ok(PageOutcome::Page(page)) => page,
        // Some hosts refuse what they do not have.
        Err(error @ Error::Upstream { status: 400..=499, .. }) if error.is_retryable() => return Err(error),
        Ok(PageOutcome::Missing | PageOutcome::NotModified)
        | Err(Error::Upstream { status: 400..=499, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(expected) = announced(file.attributes)
        && expected != page.sha256
    {
        let detail = format!("is {}, and the page announces {expected}", page.sha256);
        return Err(Error::malformed(format!("`{}`", url.path()), "metadata-digest", detail));
    }
    Ok(Some(page.body))
}

fn announced(attributes: &BTreeMap<String, Value>) -> Option<Sha256Digest> {
    attributes.get(attribute::CORE_METADATA)?.get("sha256")?.as_str()?.parse().ok()
}
