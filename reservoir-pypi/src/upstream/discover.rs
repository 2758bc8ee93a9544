//! Asking a registry what it offers, project by project.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result, blocking,
    ecosystem::{Cursor, Discover, Discovered, DiscoveredArtifact, DiscoveredFile, DiscoverySink, Mode},
    fetch::{Fetcher, PageOptions, PageOutcome, Validators},
    name::ArtifactName,
};
use serde_json::{Value, json};
use url::Url;

use super::{PageFile, ProjectPage, Yanked};
use crate::{attribute, name::ProjectName, provenance};

/// JSON first; plain indexes give HTML whatever is asked, and some add upload times only when asked like this.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
                                 application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
/// Pages in flight for one repository; the fetcher has its own limits for each host.
const IN_FLIGHT: usize = 8;
/// Largest page read, in bytes after decoding.
const PAGE_LIMIT: u64 = 64 << 20;
/// Raised when pages are read differently, so that unchanged ones are read again.
const READER: &str = "2";

/// Keys of the cursor.
mod key {
    pub(super) const ETAG: &str = "etag";
    pub(super) const LAST_MODIFIED: &str = "last-modified";
    pub(super) const SHA256: &str = "sha256";
    pub(super) const SERIAL: &str = "serial";
    pub(super) const URL: &str = "url";
    pub(super) const READER: &str = "reader";
}

/// Lists what a registry offers of the projects asked for, in their order, several pages at once.
///
/// A page that breaks the rules is an [`Discovered::Alarm`] of its project alone; an index that cannot be
/// reached ends the run with what was found so far in `sink`. Dropping the future loses nothing but pages in
/// flight.
///
/// # Errors
/// [`Error::Invalid`] without a registry URL; what the fetcher reports of an unreachable or failing index; the
/// sink's own errors.
pub async fn discover(request: Discover<'_>, sink: &mut dyn DiscoverySink) -> Result<()> {
    let root = request.address()?;
    let keep_places = request.repository.mode == Mode::Cache;
    let look = |artifact, cursor| Ok(look(request.fetcher, root, artifact, cursor, keep_places));
    request.look_at_each(IN_FLIGHT, sink, look).await
}

/// Looks at one project; what concerns it alone is an alarm and not an error.
async fn look(
    fetcher: &Fetcher,
    root: &Url,
    artifact: &ArtifactName,
    cursor: Cursor,
    keep_places: bool,
) -> Result<Discovered> {
    let mut unit = read(fetcher, root, artifact, &cursor).await;
    if keep_places && let Ok(Discovered::Artifact(found)) = &mut unit {
        for file in &mut found.files {
            if let Some(place) = place(&file.url) {
                file.attributes.insert(attribute::PLACE.to_owned(), place.into());
            }
        }
    }
    match unit {
        Err(Error::Malformed { what, rule, detail }) => {
            Ok(alarm(artifact, rule, format!("{what}: {detail}")))
        }
        Err(error @ Error::LimitExceeded { .. }) => Ok(alarm(artifact, "page-limit", error.to_string())),
        Err(error @ Error::ForbiddenAddress { .. }) => Ok(alarm(artifact, "page-address", error.to_string())),
        Err(error @ Error::Upstream { status: 400..=499, .. }) if !error.is_retryable() => {
            Ok(alarm(artifact, "page-refused", error.to_string()))
        }
        outcome => outcome,
    }
}

async fn read(fetcher: &Fetcher, root: &Url, artifact: &ArtifactName, cursor: &Cursor) -> Result<Discovered> {
    let project = ProjectName::try_from(artifact)?;
    let url = page_url(root, &project);
    let recorded = without_credentials(&url);
    // Another address or another reader: nothing that was remembered applies.
    let known = |name: &str| {
        let same = cursor.0.get(key::URL).is_some_and(|known| *known == recorded)
            && cursor.0.get(key::READER).is_some_and(|known| known == READER);
        cursor.0.get(name).filter(|_| same).cloned()
    };
    let validators = Validators { etag: known(key::ETAG), last_modified: known(key::LAST_MODIFIED) };
    let options = PageOptions {
        accept: ACCEPT,
        conditional: (!validators.is_empty()).then_some(&validators),
        limit: PAGE_LIMIT,
        ..PageOptions::default()
    };
    let answer = match fetcher.get_page(&url, options).await? {
        PageOutcome::NotModified => return Ok(Discovered::Unchanged { artifact: artifact.clone() }),
        PageOutcome::Missing => return Ok(Discovered::Missing { artifact: artifact.clone() }),
        PageOutcome::Page(answer) => answer,
    };
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let serial: Option<u64> = header("x-pypi-last-serial").and_then(|text| text.trim().parse().ok());
    let last_serial: Option<u64> = known(key::SERIAL).and_then(|text| text.parse().ok());
    let backwards = |serial: Option<u64>| {
        let (now, last) = serial.zip(last_serial).filter(|(now, last)| now < last)?;
        let detail =
            format!("the page has serial {now}, but {last} was seen before; an old copy is being served");
        Some(alarm(artifact, "serial-rollback", detail))
    };
    if let Some(alarm) = backwards(serial) {
        return Ok(alarm);
    }
    let sha256 = answer.sha256.to_string();
    if known(key::SHA256).as_ref() == Some(&sha256) {
        return Ok(Discovered::Unchanged { artifact: artifact.clone() });
    }

    let content_type = header("content-type").unwrap_or_default().to_owned();
    let (base, body) = (answer.final_url.clone(), answer.body.clone());
    let page = blocking::run(move || ProjectPage::parse(&project, &content_type, &base, &body)).await?;
    let serial = serial.or(page.last_serial);
    if let Some(alarm) = backwards(serial) {
        return Ok(alarm);
    }

    let remembered = [
        (key::ETAG, answer.validators.etag),
        (key::LAST_MODIFIED, answer.validators.last_modified),
        (key::SHA256, Some(sha256)),
        (key::SERIAL, serial.or(last_serial).map(|serial| serial.to_string())),
        (key::URL, Some(recorded)),
        (key::READER, Some(READER.to_owned())),
    ];
    let remembered = remembered.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(Discovered::Artifact(Box::new(unit(artifact, Cursor(remembered.collect()), page))))
}

/// `<root>/<project>/`; the slash matters, without it most indexes redirect.
fn page_url(root: &Url, project: &ProjectName) -> Url {
    let mut url = root.clone();
    url.set_fragment(None);
    let path = format!("{}/{project}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

/// What may be written down.
fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for addresses that can hold no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn alarm(artifact: &ArtifactName, rule: &'static str, detail: String) -> Discovered {
    Discovered::Alarm { artifact: artifact.clone(), rule, detail }
}

fn unit(artifact: &ArtifactName, cursor: Cursor, page: ProjectPage) -> DiscoveredArtifact {
    let quarantined = page.quarantine().map(str::to_owned);
    let list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    let attributes = [
        (attribute::STATUS, page.status.as_deref().map(Value::from)),
        (attribute::STATUS_REASON, page.status_reason.as_deref().map(Value::from)),
        (attribute::TRACKS, list(&page.tracks)),
        (attribute::ALTERNATE_LOCATIONS, list(&page.alternate_locations)),
    ];
    let attributes = present(attributes);
    // The index is written from files alone, so that each carries what the page says of the whole.
    let mut shared = attributes.clone();
    shared.retain(|name, _| matches!(name.as_str(), attribute::STATUS | attribute::STATUS_REASON));
    if shared.get(attribute::STATUS).is_none_or(|status| status == "active") {
        shared.clear();
    }
    DiscoveredArtifact {
        artifact: artifact.clone(),
        cursor,
        attributes,
        quarantined,
        files: page.files.into_iter().flat_map(|entry| files(entry, &shared)).collect(),
        skipped: page.skipped,
    }
}

/// A file, and its attestations when the page says where they are.
fn files(entry: PageFile, shared: &BTreeMap<String, Value>) -> impl Iterator<Item = DiscoveredFile> + use<> {
    let provenance = entry.provenance.clone();
    let mut file = file(entry);
    file.attributes.extend(shared.clone());
    let companion = provenance.zip(provenance::path_of(&file.path)).map(|(mut url, path)| {
        url.set_fragment(None);
        DiscoveredFile {
            revision: file.revision.clone(),
            path,
            url,
            // The document may change under its address: there is nothing to compare it with.
            size: None,
            sha256: None,
            attributes: BTreeMap::from([(DiscoveredFile::OPTIONAL.to_owned(), true.into())]),
            bytes: None,
        }
    });
    std::iter::once(file).chain(companion)
}

fn file(file: PageFile) -> DiscoveredFile {
    let digests = |hashes: &BTreeMap<String, String>| json!(hashes);
    let attributes = [
        (attribute::REQUIRES_PYTHON, file.requires_python.map(Value::from)),
        (
            attribute::YANKED,
            match file.yanked {
                Yanked::No => None,
                Yanked::Yes(reason) if reason.is_empty() => Some(Value::Bool(true)),
                Yanked::Yes(reason) => Some(reason.into()),
            },
        ),
        (attribute::UPLOAD_TIME, file.upload_time.map(Value::from)),
        (
            attribute::CORE_METADATA,
            file.core_metadata.map(|hashes| if hashes.is_empty() { true.into() } else { digests(&hashes) }),
        ),
        (attribute::GPG_SIG, file.gpg_sig.map(Value::from)),
        (attribute::PROVENANCE, file.provenance.map(|url| String::from(url).into())),
        (attribute::HASHES, (!file.hashes.is_empty()).then(|| digests(&file.hashes))),
    ];
    DiscoveredFile {
        revision: file.filename.version().to_revision(),
        path: file.filename.path(),
        url: file.url,
        size: file.size,
        sha256: file.sha256,
        attributes: present(attributes),
        bytes: None,
    }
}

fn present<const N: usize>(attributes: [(&str, Option<Value>); N]) -> BTreeMap<String, Value> {
    attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// `/packages/<2>/<2>/<60>/<file>`, as Python's own file host has it: the digits in one.
fn place(url: &Url) -> Option<String> {
    let mut segments = url.path_segments()?.rev().skip(1);
    let (third, second, first) = (segments.next()?, segments.next()?, segments.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_place =
        segments.next()? == "packages" && is_hex(first, 2) && is_hex(second, 2) && is_hex(third, 60);
    is_place.then(|| format!("{first}{second}{third}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_file_is_read_from_its_address() {
        let rest = "ab".repeat(30);
        let of = |text: &str| place(&text.parse().unwrap());
        let found = of(&format!("https://files.example.com/x/packages/12/ef/{rest}/six-1.0.whl"));
        assert_eq!(found, Some(format!("12ef{rest}")));
        for other in [
            format!("https://files.example.com/packages/12/ef/{rest}"),
            format!("https://files.example.com/packages/12/EF/{rest}/six-1.0.whl"),
            format!("https://files.example.com/files/12/ef/{rest}/six-1.0.whl"),
            "https://files.example.com/six-1.0.whl".to_owned(),
        ] {
            assert_eq!(of(&other), None, "{other}");
        }
    }
}
