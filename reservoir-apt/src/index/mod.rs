//! Writing what apt reads.
//!
//! ```text
//! dists/SUITE/InRelease Release Release.gpg
//! dists/SUITE/COMPONENT/binary-ARCH/Packages.gz            and by-hash/SHA256/<hex>
//! dists/SUITE/COMPONENT/i18n/Translation-en.gz             and by-hash/SHA256/<hex>
//! dists/SUITE/COMPONENT/source/Sources.gz                  and by-hash/SHA256/<hex>
//! .reservoir/members.json                                  not served: which member came of which page
//! ```
//!
//! # What a publish costs
//!
//! The content manifest is cut into pages by content, and a page is named by its digest. What a page gives to an
//! index file is compressed by itself, as one gzip member; the file is its members one after the other, which
//! every reader of gzip takes for one. The next publish renders and compresses only pages it has not seen, and
//! copies the members of the others out of the parent's file. No fragment is stored beside the file.
//!
//! What remains proportional to an index file that changed is hashing it: a Release names the digest of the whole,
//! compressed and not, so members that are copied are decompressed once to be hashed. Files that did not change
//! are linked as they are.
//!
//! Only gzip is written: apt stops at the end of the first stream of an xz file, and 50 MB cost nine seconds.

mod assemble;
mod ledger;
mod listing;
mod plan;
mod release;
mod render;
mod stanza;
mod verbatim;

use std::sync::Arc;

use reservoir_core::{
    Result,
    clock::Timestamp,
    ecosystem::RepositoryConfig,
    path::ContentPath,
    snapshot::{Contents, Entry, IndexWriter},
};
use serde_json::Value;

use self::{listing::Listing, plan::Plan};
use crate::{
    attribute,
    options::{Options, View},
};

/// Files of the publication that clients cannot ask for.
pub(crate) const PRIVATE: &str = ".reservoir/";

/// Writes the suites of a repository. Memory holds a few pages and the list of the publication's files.
pub(crate) async fn write(contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
    let options = Options::of(contents.repository)?;
    let mut listing = Listing::default();
    match options.view {
        View::Verbatim => verbatim::write(contents, &options, out, &mut listing).await?,
        View::Curated => {
            let plan = Arc::new(Plan::new(contents, &options).await?);
            let files = assemble::files(contents, &plan, out, &mut listing).await?;
            release::write(contents, &plan, &options, &files, out, &mut listing).await?;
        }
    }
    listing.settle(contents, out).await
}

/// Refuses an entry of upstream's indexes that [`write`] could not list: one that is said to have a name which is none.
pub(crate) fn check(entry: &Entry) -> Result<()> {
    match attribute::fact(&entry.attributes, attribute::DISTS_PATH).and_then(Value::as_str) {
        Some(path) => path.parse::<ContentPath>().map(drop),
        None => Ok(()),
    }
}

/// Until when a curated suite is good: its `Valid-Until`.
pub(crate) fn fresh_until(repository: &RepositoryConfig, published: Timestamp) -> Option<Timestamp> {
    let options = Options::of(repository).ok()?;
    let valid_for = options.valid_for.filter(|_| options.view == View::Curated)?;
    Some(published.plus(valid_for))
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
    fn a_name_among_upstreams_indexes_that_is_none_is_refused() {
        let refused = |name: &str| {
            let sha256 = Sha256Digest::of(b"");
            let entry = Entry {
                path: "upstream/archive/noble/1/Packages.gz".parse().unwrap(),
                blob: Blob { sha256, blake3: Blake3Digest::from_bytes([0; 32]), size: 0 },
                artifact: None,
                revision: None,
                attributes: BTreeMap::from([(attribute::DISTS_PATH.to_owned(), json!(name))]),
            };
            check(&entry).is_err()
        };
        assert!(!refused("main/binary-amd64/Packages.gz"));
        assert!(refused("../../../etc/passwd"));
        assert!(refused("/main/binary-amd64/Packages.gz"));
    }
}
