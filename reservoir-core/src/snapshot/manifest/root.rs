//! The root of a manifest: a list of its pages, as one canonical JSON document.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    path::ContentPath,
    snapshot::{
        format,
        page::{Cutting, Page},
    },
};

/// Enough for about 250 million entries.
pub(crate) const ROOT_LIMIT: u64 = 64 << 20;

const KIND: &str = "manifest";

/// What a root says of one page. Fields in alphabetical order, as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageRef {
    /// The sum of the sizes of its blobs.
    pub(crate) bytes: u64,
    pub(crate) entries: u32,
    pub(crate) first: ContentPath,
    pub(crate) last: ContentPath,
    pub(crate) sha256: Sha256Digest,
}

impl PageRef {
    /// Whether `page` is what this says it is.
    pub(crate) fn check(&self, page: &Page) -> Result<()> {
        let agrees = page.len() == self.entries as usize
            && page.total() == self.bytes
            && page.path(0) == self.first.as_str()
            && page.path(page.len() - 1) == self.last.as_str();
        if agrees {
            return Ok(());
        }
        let what = format!("manifest page `{}`", self.sha256);
        Err(Error::malformed(what, "page-mismatch", "it has other entries than its root says"))
    }
}

/// A decoded root.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) pages: Vec<PageRef>,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// Fields in alphabetical order, as they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    bytes: u64,
    entries: u64,
    kind: String,
    pages: Vec<PageRef>,
    version: String,
}

impl Root {
    /// Adds up the pages. `None` when the sum overflows.
    pub(crate) fn new(pages: Vec<PageRef>) -> Option<Self> {
        let mut bytes = 0_u64;
        let mut entries = 0_u64;
        for page in &pages {
            bytes = bytes.checked_add(page.bytes)?;
            entries = entries.checked_add(page.entries.into())?;
        }
        Some(Self { pages, entries, bytes })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let document = Document {
            bytes: self.bytes,
            entries: self.entries,
            kind: KIND.to_owned(),
            pages: self.pages.clone(),
            version: format::VERSION.to_owned(),
        };
        let bytes = serde_json::to_vec(&document).expect("plain fields serialize into memory");
        if bytes.len() as u64 > ROOT_LIMIT {
            let what = format!("a manifest of {} pages", self.pages.len());
            return Err(Error::LimitExceeded { what, limit: format!("{ROOT_LIMIT} bytes of root") });
        }
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8], digest: &Sha256Digest) -> Result<Self> {
        let what = || format!("manifest root `{digest}`");
        let malformed = |rule, detail: &str| Error::malformed(what(), rule, detail);
        format::check(bytes, KIND, &what())?;
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| malformed("root-json", &error.to_string()))?;
        let (bytes_said, entries_said) = (document.bytes, document.entries);

        let mut last: Option<&ContentPath> = None;
        for page in &document.pages {
            if page.first > page.last || last.is_some_and(|last| *last >= page.first) {
                return Err(malformed("root-order", &format!("page `{}` is out of order", page.sha256)));
            }
            if page.entries == 0 || page.entries > Cutting::STANDARD.entries {
                return Err(malformed("root-entries", &format!("page `{}` cannot be", page.sha256)));
            }
            last = Some(&page.last);
        }
        let root = Self::new(document.pages)
            .filter(|root| root.bytes == bytes_said && root.entries == entries_said)
            .ok_or_else(|| malformed("root-total", "the pages do not add up"))?;
        if root.encode()? != bytes {
            return Err(malformed("root-canonical", "not in canonical form"));
        }
        Ok(root)
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let page = |page: &PageRef| {
            size_of::<PageRef>() + page.first.as_str().len() + page.last.as_str().len() + 2 * 16
        };
        (self.pages.iter().map(page).sum::<usize>() + size_of::<Self>()) as u64
    }

    /// The page that holds `path`, if any does.
    pub(crate) fn page_of(&self, path: &str) -> Option<&PageRef> {
        let page = self.pages.get(self.pages.partition_point(|page| page.last.as_str() < path))?;
        (page.first.as_str() <= path).then_some(page)
    }
}
