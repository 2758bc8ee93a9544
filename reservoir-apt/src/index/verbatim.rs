//! The suites exactly as upstream signed them: upstream's own bytes, under the names that clients ask for.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    snapshot::{Contents, Entry, IndexWriter},
    store::Blob,
};
use serde_json::Value;

use super::{
    listing::{Facts, Listing, join},
    plan::{Newest, releases},
};
use crate::{attribute, name::Suite, options::Options, upstream::UPSTREAM_KEYRING};

/// Most bytes of a Release or a keyring.
const READ_LIMIT: u64 = 8 << 20;

/// Lists the newest Release of each suite that is here whole, the files of that revision, and whom upstream is signed
/// by. The blobs are the content's.
pub(super) async fn write(
    contents: &Contents<'_>,
    options: &Options,
    out: &IndexWriter<'_>,
    listing: &mut Listing,
) -> Result<()> {
    let newest = releases(contents).await?;
    let mut keyrings = Vec::new();
    for suite in &options.suites {
        let Some(newest) = newest.get(suite) else { continue };
        write_suite(contents, suite, newest, listing, &mut keyrings).await?;
    }
    // Several registries may be signed for by several keys: keyrings are one after the other.
    let keyring = match keyrings.as_slice() {
        [] => return Ok(()),
        [one] => one.blob,
        several => {
            let mut all = Vec::new();
            for keyring in several {
                all.extend(read(contents, keyring).await?);
            }
            out.store(all.into()).await?
        }
    };
    listing.add(UPSTREAM_KEYRING, keyring, Facts::new())
}

async fn write_suite(
    contents: &Contents<'_>,
    suite: &Suite,
    newest: &Newest,
    listing: &mut Listing,
    keyrings: &mut Vec<Entry>,
) -> Result<()> {
    let folder = suite.folder();
    let mut indexes: Vec<(String, Blob)> = Vec::new();
    let mut signed: Option<Entry> = None;
    let mut entries = contents.content.scan(&newest.folder);
    while let Some(entry) = entries.try_next().await? {
        let below = &entry.path.as_str()[newest.folder.len()..];
        match attribute::fact(&entry.attributes, attribute::DISTS_PATH).and_then(Value::as_str) {
            Some(path) => indexes.push((path.to_owned(), entry.blob)),
            None if matches!(below, "InRelease" | "Release" | "Release.gpg") => {
                listing.add(&join(&folder, below), entry.blob, Facts::new())?;
                if below != "Release.gpg" {
                    signed = Some(entry);
                }
            }
            None if below == UPSTREAM_KEYRING
                && keyrings.iter().all(|known| known.blob.sha256 != entry.blob.sha256) =>
            {
                keyrings.push(entry);
            }
            None => {}
        }
    }
    let sha512 = match &signed {
        Some(entry) => sha512(contents, entry).await?,
        None => HashMap::new(),
    };
    for (path, blob) in indexes {
        let (inner, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let folder = if inner.is_empty() { folder.clone() } else { join(&folder, inner) };
        listing.add_by_hash(&folder, name, blob)?;
        // apt asks by the strongest digest that the Release lists.
        if let Some(hex) = sha512.get(&path) {
            listing.add(&join(&folder, &format!("by-hash/SHA512/{hex}")), blob, Facts::new())?;
        }
    }
    Ok(())
}

/// What the Release says under `SHA512`: names and digests. The file was verified before it became content.
async fn sha512(contents: &Contents<'_>, release: &Entry) -> Result<HashMap<String, String>> {
    let bytes = read(contents, release).await?;
    let text = String::from_utf8_lossy(&bytes);
    let mut digests = HashMap::new();
    let mut within = false;
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            within = line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("SHA512"));
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        if let (true, Some(hex), Some(_), Some(name)) = (within, words.next(), words.next(), words.next())
            && hex.len() == 128
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            digests.insert(name.to_owned(), hex.to_ascii_lowercase());
        }
    }
    Ok(digests)
}

/// A small file of the content, whole.
async fn read(contents: &Contents<'_>, entry: &Entry) -> Result<Vec<u8>> {
    if entry.blob.size > READ_LIMIT {
        let what = format!("`{}`", entry.path);
        return Err(Error::LimitExceeded { what, limit: format!("{READ_LIMIT} bytes") });
    }
    let mut bytes = Vec::with_capacity(entry.blob.size as usize);
    let mut chunks = contents.read(entry).await?;
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
