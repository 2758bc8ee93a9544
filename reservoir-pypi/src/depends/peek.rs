//! What a wheel says of itself, read where it is: its `METADATA` beside it (PEP 658).

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result,
    depends::Peek,
    digest::Sha256Digest,
    ecosystem::Inspection,
    fetch::{PageOptions, PageOutcome},
};
use serde_json::Value;

use crate::{
    filename::DistFilename,
    metadata::{self, Metadata},
    name::ProjectName,
    package::{self, attribute},
};

/// Reads the `METADATA` beside a wheel, whether the registry announces one or not; plain indexes have them and do not
/// say so. Against the announced digest, where there is one. `None` for what has none.
///
/// # Errors
/// [`Error::Integrity`] for a sidecar that is not the announced one; [`Error::Malformed`] for one of another project
/// or version; what the fetcher reports.
pub(super) async fn peek(file: &Peek<'_>) -> Result<Option<Inspection>> {
    let project = ProjectName::try_from(file.artifact)?;
    if !matches!(DistFilename::parse(file.path.file_name(), &project)?, DistFilename::Wheel(_)) {
        return Ok(None);
    }
    let mut url = file.url.clone();
    url.set_fragment(None);
    let path = format!("{}.metadata", url.path());
    url.set_path(&path);
    let options = PageOptions { limit: metadata::LIMIT, ..PageOptions::default() };
    let page = match file.fetcher.get_page(&url, options).await {
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
        let (what, expected, actual) =
            (format!("`{}`", url.path()), expected.to_string(), page.sha256.to_string());
        let detail = format!("is {actual}, and the page announces {expected}");
        return Err(Error::malformed(what, "metadata-digest", detail));
    }
    let what = format!("METADATA beside `{}`", file.path.file_name());
    let metadata = Metadata::parse(&what, &page.body)?;
    package::described(file.artifact, file.revision, file.path, metadata).map(Some)
}

fn announced(attributes: &BTreeMap<String, Value>) -> Option<Sha256Digest> {
    attributes.get(attribute::CORE_METADATA)?.get("sha256")?.as_str()?.parse().ok()
}
