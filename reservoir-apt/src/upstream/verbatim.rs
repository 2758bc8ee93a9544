//! The files that the verbatim view of a suite holds: every index that the selection claims and upstream has.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use reservoir_core::{
    Error, Result,
    archive::Compression,
    ecosystem::DiscoveredFile,
    name::{RegistryName, RevisionName},
    path::ContentPath,
};
use serde_json::Value;
use url::Url;

use super::{
    index,
    release::{Listed, Release},
    suite::Site,
};
use crate::{attribute, name::Suite, options::Options};

/// Files asked for at a time.
const AT_ONCE: usize = 8;

/// Lists the index files of a suite, each looked for upstream: a Release may list files that its archive does not
/// have, and clients are used to that.
///
/// # Errors
/// [`Error::Integrity`] when upstream has a file of another size than the Release says: it may be in the middle of a
/// change, and clients could not use what is listed.
pub(super) async fn files(
    site: &Site<'_>,
    registry: &RegistryName,
    release: &Release,
    revision: &RevisionName,
    options: &Options,
) -> Result<Vec<DiscoveredFile>> {
    // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
    let work: Vec<_> = wanted(site, release, options)
        .map(|(path, listed)| look(site, registry, release, revision, path, listed).boxed())
        .collect();
    let looked: Vec<Option<DiscoveredFile>> = stream::iter(work).buffered(AT_ONCE).try_collect().await?;
    Ok(looked.into_iter().flatten().collect())
}

/// The files of a Release that clients of the selection may ask for.
fn wanted<'r>(
    site: &'r Site<'_>,
    release: &'r Release,
    options: &'r Options,
) -> impl Iterator<Item = (&'r ContentPath, &'r Listed)> {
    release.files.iter().filter(|(path, _)| is_wanted(path.as_str(), site.suite, options))
}

/// One file, where upstream has it.
async fn look(
    site: &Site<'_>,
    registry: &RegistryName,
    release: &Release,
    revision: &RevisionName,
    path: &ContentPath,
    listed: &Listed,
) -> Result<Option<DiscoveredFile>> {
    let mut other = None;
    for url in index::addresses(site, release, path, listed) {
        let head = match site.fetcher.head(&url).await {
            Ok(Some(head)) => head,
            // As for indexes: buckets that may not be listed refuse what they do not have.
            Ok(None) | Err(Error::Upstream { status: 403, .. }) => continue,
            // Who answers no HEAD does not say that it is absent. Pulling it will tell.
            Err(Error::Upstream { status: 405 | 501, .. }) => {
                return file(site, registry, revision, path, listed, url).map(Some);
            }
            Err(error) => return Err(error),
        };
        match head.size {
            Some(bytes) if bytes != listed.size => other = Some(bytes),
            _ => return file(site, registry, revision, path, listed, url).map(Some),
        }
    }
    match other {
        None => Ok(None),
        Some(bytes) => Err(Error::Integrity {
            what: format!("index `{path}`"),
            expected: format!("{} bytes", listed.size),
            actual: format!("{bytes} bytes"),
        }),
    }
}

/// Lists the index files of a suite without looking whether upstream has them: a cache asks for what its clients ask
/// for. One is looked for, as archives promise names by hash that they do not have.
pub(super) async fn listed(
    site: &Site<'_>,
    registry: &RegistryName,
    release: &Release,
    revision: &RevisionName,
    options: &Options,
) -> Result<Vec<DiscoveredFile>> {
    let wanted: Vec<_> = wanted(site, release, options).collect();
    let by_hash = release.by_hash() && has_by_hash(site, release, &wanted).await?;
    let files = wanted.into_iter().map(|(path, listed)| {
        let mut addresses = index::addresses(site, release, path, listed);
        let url = if by_hash { addresses.swap_remove(0) } else { site.address(path.as_str()) };
        file(site, registry, revision, path, listed, url)
    });
    files.collect()
}

/// Whether an archive has a compressed index under its digest; the plain ones mostly are not there.
async fn has_by_hash(site: &Site<'_>, release: &Release, wanted: &[(&ContentPath, &Listed)]) -> Result<bool> {
    for (path, listed) in wanted {
        if Compression::of_name(path.as_str()).1 == Compression::None {
            continue;
        }
        let addresses = index::addresses(site, release, path, listed);
        for (place, url) in addresses.iter().enumerate() {
            match site.fetcher.head(url).await {
                Ok(Some(_)) => return Ok(place == 0),
                Ok(None) | Err(Error::Upstream { status: 400..=499, .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(true)
}

fn file(
    site: &Site<'_>,
    registry: &RegistryName,
    revision: &RevisionName,
    path: &ContentPath,
    listed: &Listed,
    url: Url,
) -> Result<DiscoveredFile> {
    let mut attributes = BTreeMap::from([(attribute::DISTS_PATH.to_owned(), Value::from(path.as_str()))]);
    let sha512 = listed.sha512.map(|sha512| Value::from(sha512.to_string()));
    attributes.extend(sha512.map(|sha512| (attribute::SHA512.to_owned(), sha512)));
    Ok(DiscoveredFile {
        revision: revision.clone(),
        path: site.suite.upstream_path(registry, revision, path.as_str())?,
        url,
        size: Some(listed.size),
        sha256: listed.sha256,
        attributes,
        bytes: None,
    })
}

/// Whether a client of the selection may ask for a file.
fn is_wanted(path: &str, suite: &Suite, options: &Options) -> bool {
    let (stem, _) = Compression::of_name(path);
    if path.contains(".diff/") || path.split('/').any(|part| part == "by-hash") {
        return false;
    }
    if suite.is_flat() {
        return !stem.contains('/');
    }
    let parts: Vec<&str> = stem.split('/').collect();
    let Some((file, folders)) = parts.split_last() else { return false };
    if folders.iter().any(|part| *part == "debian-installer" || part.starts_with("installer-")) {
        return false;
    }
    // Ubuntu has one `Contents` for all components, beside the Release.
    let architecture = |text: &str| options.wants_architecture(text);
    let contents = file.strip_prefix("Contents-").is_some_and(|rest| match rest.strip_prefix("udeb-") {
        Some(_) => false,
        None => architecture(rest) || (rest == "source" && options.sources),
    });
    if folders.is_empty() {
        return contents;
    }
    let kinds = ["i18n", "dep11", "cnf", "source"];
    let inner = folders.iter().position(|part| kinds.contains(part) || part.starts_with("binary-"));
    let component = folders[..inner.unwrap_or(folders.len())].join("/");
    if !options.wants_component(&component) {
        return false;
    }
    match inner.map(|index| folders[index]) {
        None => contents,
        Some("source") => options.sources,
        Some("i18n") => true,
        Some("dep11") => file
            .strip_prefix("Components-")
            .is_none_or(|rest| architecture(rest.strip_suffix(".yml").unwrap_or(rest))),
        Some("cnf") => file.strip_prefix("Commands-").is_some_and(architecture),
        Some(binary) => binary.strip_prefix("binary-").is_some_and(architecture),
    }
}

#[cfg(test)]
mod tests {
    use reservoir_core::ecosystem::{Mode, RepositoryConfig};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_clients_of_the_selection_may_ask_for() {
        let mut repository = RepositoryConfig::new("debian".parse().unwrap(), "apt".parse().unwrap());
        repository.mode = Mode::Cache;
        for (key, value) in [("suites", "noble"), ("components", "main"), ("architectures", "amd64")] {
            repository.options.insert(key.to_owned(), json!([value]));
        }
        let options = Options::of(&repository).unwrap();
        let suite: Suite = "noble".parse().unwrap();
        for (path, expected) in [
            ("main/binary-amd64/Packages.xz", true),
            ("main/binary-amd64/Release", true),
            ("main/binary-all/Packages.xz", true),
            ("main/binary-arm64/Packages.xz", false),
            ("contrib/binary-amd64/Packages.xz", false),
            ("main/i18n/Translation-en.bz2", true),
            ("main/dep11/Components-amd64.yml.gz", true),
            ("main/dep11/Components-arm64.yml.gz", false),
            ("main/dep11/icons-64x64.tar.gz", true),
            ("main/cnf/Commands-amd64.xz", true),
            ("main/Contents-amd64.gz", true),
            ("main/Contents-udeb-amd64.gz", false),
            ("Contents-amd64.gz", true),
            ("Contents-arm64.gz", false),
            ("main/source/Sources.xz", false),
            ("main/binary-amd64/Packages.diff/Index", false),
            ("main/debian-installer/binary-amd64/Packages.xz", false),
            ("main/installer-amd64/current/images/SHA256SUMS", false),
        ] {
            assert_eq!(is_wanted(path, &suite, &options), expected, "{path}");
        }
        assert!(is_wanted("Packages.gz", &"/".parse().unwrap(), &options));
    }
}
