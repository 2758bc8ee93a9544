//! A project page, whatever form it came in.

use std::collections::BTreeMap;

use reservoir_core::{Error, Result, digest::Sha256Digest};
use url::Url;

use super::{html, json};
use crate::{filename::DistFilename, name::ProjectName};

/// Most files of one project. The largest known have some thousands.
const FILES: usize = 250_000;
/// Most entries looked at, files or not.
const ENTRIES: usize = 500_000;
/// Most skipped entries that are told one by one.
const SKIPPED: usize = 100;
/// Longest address, in bytes.
const URL_LIMIT: usize = 8192;
/// Longest text kept of a reason, a specifier and the like, in bytes.
const TEXT_LIMIT: usize = 4096;

/// Everything an index says of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectPage {
    /// The project.
    pub name: ProjectName,
    /// Its files, in the order of the page; a name that comes twice with the same content comes once.
    pub files: Vec<PageFile>,
    /// `project-status` (PEP 792), when said.
    pub status: Option<String>,
    /// Why.
    pub status_reason: Option<String>,
    /// PEP 708.
    pub tracks: Vec<String>,
    /// PEP 708.
    pub alternate_locations: Vec<String>,
    /// The index's serial of the last change, when the page says it.
    pub last_serial: Option<u64>,
    /// Entries that were left out, each with the reason; the hundredth stands for the rest.
    pub skipped: Vec<String>,
}

/// One file of a project page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFile {
    /// What its name says.
    pub filename: DistFilename,
    /// Where it is: `http` or `https`, no user or password, no fragment.
    pub url: Url,
    /// Its digest.
    pub sha256: Option<Sha256Digest>,
    /// Other digests, by algorithm; lower-case hexadecimal digits.
    pub hashes: BTreeMap<String, String>,
    /// Bytes.
    pub size: Option<u64>,
    /// As given.
    pub requires_python: Option<String>,
    /// As given, RFC 3339.
    pub upload_time: Option<String>,
    /// Whether it was yanked (PEP 592).
    pub yanked: Yanked,
    /// The sidecar (PEP 658): `None` when not advertised, else its digests, perhaps none.
    pub core_metadata: Option<BTreeMap<String, String>>,
    /// Whether there is a signature beside it.
    pub gpg_sig: Option<bool>,
    /// Where its attestations are (PEP 740).
    pub provenance: Option<Url>,
}

/// Whether a file was yanked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Yanked {
    /// It was not.
    #[default]
    No,
    /// It was; the reason may be empty.
    Yes(String),
}

impl ProjectPage {
    /// Parses a page of `project` that came from `base` (after redirects).
    ///
    /// Takes time linear in the body and memory linear in the files it lists.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rule `page-type`, `page-version`, `page-project`, `page-json`, `html-cut`,
    /// `html-no-index` or `page-repeat` (one name, two contents); [`Error::LimitExceeded`] over 250 000 files or
    /// 500 000 entries.
    pub fn parse(project: &ProjectName, content_type: &str, base: &Url, body: &[u8]) -> Result<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut page = PageBuilder::new(project, base);
        match media.as_str() {
            "application/vnd.pypi.simple.v1+json" | "application/json" => json::read(body, &mut page)?,
            "application/vnd.pypi.simple.v1+html" | "text/html" | "application/xhtml+xml" => {
                html::read(&String::from_utf8_lossy(body), &mut page)?;
            }
            _ => {
                return Err(page.malformed(
                    "page-type",
                    format!("has the content type {:?}, neither HTML nor JSON", clip(content_type, 120)),
                ));
            }
        }
        Ok(page.finish())
    }

    /// Why nothing of the project may be served, when the index has quarantined it (PEP 792).
    #[must_use]
    pub fn quarantine(&self) -> Option<&str> {
        (self.status.as_deref() == Some("quarantined"))
            .then(|| self.status_reason.as_deref().unwrap_or("the registry gives no reason"))
    }
}

/// What both readers fill.
pub(super) struct PageBuilder<'a> {
    project: &'a ProjectName,
    /// What relative links are relative to.
    pub(super) base: Url,
    page: ProjectPage,
    seen: BTreeMap<String, usize>,
    entries: usize,
    unlisted: usize,
    /// Why reading was given up; readers whose own errors are poorer leave it here.
    pub(super) failure: Option<Error>,
}

/// One entry as it was written; nothing in it was believed yet.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub(super) filename: Option<String>,
    pub(super) url: String,
    pub(super) hashes: BTreeMap<String, String>,
    pub(super) size: Option<u64>,
    pub(super) requires_python: Option<String>,
    pub(super) upload_time: Option<String>,
    pub(super) yanked: Yanked,
    pub(super) core_metadata: Option<BTreeMap<String, String>>,
    pub(super) gpg_sig: Option<bool>,
    pub(super) provenance: Option<String>,
}

impl<'a> PageBuilder<'a> {
    fn new(project: &'a ProjectName, base: &Url) -> Self {
        let page = ProjectPage {
            name: project.clone(),
            files: Vec::new(),
            status: None,
            status_reason: None,
            tracks: Vec::new(),
            alternate_locations: Vec::new(),
            last_serial: None,
            skipped: Vec::new(),
        };
        Self {
            project,
            base: base.clone(),
            page,
            seen: BTreeMap::new(),
            entries: 0,
            unlisted: 0,
            failure: None,
        }
    }

    pub(super) fn malformed(&self, rule: &'static str, detail: impl Into<String>) -> Error {
        Error::malformed(format!("the page of `{}`", self.project), rule, detail)
    }

    /// Refuses a page of another major version (PEP 629).
    pub(super) fn repository_version(&self, version: &str) -> Result<()> {
        let major = version.trim().split('.').next().unwrap_or_default();
        if major == "1" {
            return Ok(());
        }
        Err(self.malformed(
            "page-version",
            format!("has the repository version {:?}; 1.x is understood", clip(version, 40)),
        ))
    }

    /// Refuses a page about something else.
    pub(super) fn name(&self, name: &str) -> Result<()> {
        if self.project.is_spelled(name) {
            return Ok(());
        }
        Err(self.malformed("page-project", format!("says it is about {:?}", clip(name, 80))))
    }

    pub(super) fn status(&mut self, status: Option<&str>, reason: Option<&str>) {
        let keep = |text: &str| Some(clip(text, TEXT_LIMIT).to_owned());
        self.page.status = status.and_then(keep).or(self.page.status.take());
        self.page.status_reason = reason.and_then(keep).or(self.page.status_reason.take());
    }

    pub(super) fn tracks(&mut self, location: &str) {
        push(&mut self.page.tracks, location);
    }

    pub(super) fn alternate_location(&mut self, location: &str) {
        push(&mut self.page.alternate_locations, location);
    }

    pub(super) fn last_serial(&mut self, serial: u64) {
        self.page.last_serial = Some(serial);
    }

    pub(super) fn skip(&mut self, what: &str, reason: &str) {
        if self.page.skipped.len() < SKIPPED - 1 {
            self.page.skipped.push(format!("{:?}: {reason}", clip(what, 120)));
        } else {
            self.unlisted += 1;
        }
    }

    /// Takes an entry, or notes why not.
    pub(super) fn file(&mut self, raw: RawFile) -> Result<()> {
        self.entries += 1;
        if self.entries > ENTRIES {
            return Err(self.over(ENTRIES, "entries"));
        }
        let shown = raw.filename.clone().unwrap_or_else(|| raw.url.clone());
        let file = match self.check(raw) {
            Ok(file) => file,
            Err(reason) => {
                self.skip(&shown, &reason);
                return Ok(());
            }
        };
        let name = file.filename.as_str();
        if let Some(&at) = self.seen.get(name) {
            let known = &mut self.page.files[at];
            return match (&known.sha256, &file.sha256) {
                (Some(known), Some(new)) if known != new => {
                    Err(self.malformed("page-repeat", format!("lists `{name}` twice, with two digests")))
                }
                (None, Some(_)) => {
                    *known = file;
                    Ok(())
                }
                _ => Ok(()),
            };
        }
        if self.page.files.len() == FILES {
            return Err(self.over(FILES, "files"));
        }
        self.seen.insert(name.to_owned(), self.page.files.len());
        self.page.files.push(file);
        Ok(())
    }

    fn over(&self, limit: usize, what: &str) -> Error {
        Error::LimitExceeded {
            what: format!("the page of `{}`", self.project),
            limit: format!("{limit} {what}"),
        }
    }

    fn check(&self, raw: RawFile) -> Result<PageFile, String> {
        let url = address(&self.base, &raw.url)?;
        let written = match &raw.filename {
            Some(filename) => filename.clone(),
            None => last_segment(&url)?,
        };
        let filename = match DistFilename::parse(&written, self.project) {
            Ok(filename) => filename,
            Err(Error::Malformed { detail, .. }) => return Err(detail),
            Err(error) => return Err(error.to_string()),
        };
        let (url, fragment) = without_fragment(url);
        let mut hashes = clean(raw.hashes);
        if let Some((algorithm, digits)) = fragment.as_deref().and_then(|text| text.split_once('=')) {
            hashes.extend(clean([(algorithm.to_owned(), digits.to_owned())].into()));
        }
        let sha256 = match hashes.remove("sha256") {
            Some(digits) => Some(digits.parse().map_err(|_| "its sha256 is not 64 hexadecimal digits")?),
            None => None,
        };
        let requires_python = raw.requires_python.filter(|text| !text.trim().is_empty());
        if requires_python.as_ref().is_some_and(|text| text.len() > TEXT_LIMIT) {
            return Err(format!("its Requires-Python is over {TEXT_LIMIT} bytes long"));
        }
        Ok(PageFile {
            filename,
            url,
            sha256,
            hashes,
            size: raw.size,
            requires_python,
            upload_time: raw.upload_time.filter(|text| is_timestamp(text)),
            yanked: match raw.yanked {
                Yanked::Yes(reason) => Yanked::Yes(clip(&reason, TEXT_LIMIT).to_owned()),
                Yanked::No => Yanked::No,
            },
            core_metadata: raw.core_metadata.map(|hashes| {
                let mut hashes = clean(hashes);
                hashes.retain(|_, digits| is_hex(digits));
                hashes
            }),
            gpg_sig: raw.gpg_sig,
            provenance: raw.provenance.and_then(|text| address(&self.base, &text).ok()),
        })
    }

    fn finish(mut self) -> ProjectPage {
        if self.unlisted > 0 {
            self.page.skipped.push(format!("and {} more", self.unlisted));
        }
        self.page
    }
}

/// An address that may be fetched as far as its text goes; where it leads is the fetcher's business.
fn address(base: &Url, text: &str) -> Result<Url, String> {
    if text.len() > URL_LIMIT {
        return Err(format!("its address is over {URL_LIMIT} bytes long"));
    }
    let url = base.join(text.trim()).map_err(|error| format!("its address cannot be read: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("its address has the scheme `{}`", clip(url.scheme(), 20)));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("its address carries a user or password".into());
    }
    Ok(url)
}

fn last_segment(url: &Url) -> Result<String, String> {
    let segment = url.path().rsplit('/').next().unwrap_or_default();
    percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "its name is not UTF-8".into())
}

fn without_fragment(mut url: Url) -> (Url, Option<String>) {
    let fragment = url.fragment().map(str::to_owned);
    url.set_fragment(None);
    (url, fragment)
}

/// Digests that look like digests, folded to lower case.
fn clean(hashes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_algorithm = |text: &str| {
        (1..=16).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    hashes
        .into_iter()
        .map(|(algorithm, digits)| {
            (algorithm.trim().to_ascii_lowercase(), digits.trim().to_ascii_lowercase())
        })
        // A broken SHA-256 is kept, to be refused by name instead of passing as absent.
        .filter(|(algorithm, digits)| is_algorithm(algorithm) && (is_hex(digits) || algorithm == "sha256"))
        .take(16)
        .collect()
}

fn is_hex(text: &str) -> bool {
    (32..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_timestamp(text: &str) -> bool {
    text.len() <= 64 && text.parse::<jiff::Timestamp>().is_ok()
}

fn push(list: &mut Vec<String>, location: &str) {
    if list.len() < 64 && location.len() <= URL_LIMIT && !location.trim().is_empty() {
        list.push(location.trim().to_owned());
    }
}

/// The beginning of a text, cut between characters.
pub(super) fn clip(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
