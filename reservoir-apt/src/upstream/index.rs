//! The indexes of a suite: which are wanted, and reading them stanza by stanza.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use reservoir_core::{
    Error, Result, archive::Compression, blocking, ecosystem::DiscoveredArtifact, fetch::DownloadOptions,
    path::ContentPath,
};
use sha2::{Digest as _, Sha512};
use tokio::sync::mpsc;
use url::Url;

use super::{
    descriptions::Descriptions,
    entry,
    reading::open,
    release::{Listed, Release},
    suite::Site,
};
use crate::{
    control::Piece,
    name::{Component, Suite},
    options::Options,
    sha512::Sha512Digest,
};

/// Stanzas told of together, and bytes of their facts.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// Which of several compressions is fetched: what apt prefers, fastest last.
const PREFERRED: [Compression; 7] = [
    Compression::Xz,
    Compression::Zstd,
    Compression::Gzip,
    Compression::Bzip2,
    Compression::Lzma,
    Compression::Lz4,
    Compression::None,
];

/// What an index lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Packages,
    Sources,
    /// Long descriptions of the packages of a component.
    Descriptions,
}

/// One index in all its compressions.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) kind: Kind,
    /// The suite and component, as attributes name them.
    pub(super) key: String,
    /// The name of the part of the registry that it is.
    pub(super) part: String,
    /// The best first.
    variants: Vec<(Compression, ContentPath, Listed)>,
    /// Decompressed, where that is listed.
    pub(super) plain: Option<Listed>,
    /// Where what its packages are described by is.
    pub(super) descriptions: Option<Box<Self>>,
}

impl Index {
    /// What changes when its content does.
    pub(super) fn identity(&self) -> String {
        let first = self.variants.first().map(|(_, _, listed)| *listed);
        let own = self.plain.or(first).map(|listed| listed.identity()).unwrap_or_default();
        match &self.descriptions {
            Some(descriptions) => format!("{own} {}", descriptions.identity()),
            None => own,
        }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_some_and(|listed| listed.size == 0)
    }
}

/// The indexes of a suite that a repository reads.
pub(super) fn wanted(release: &Release, suite: &Suite, options: &Options) -> Vec<Index> {
    let mut found: BTreeMap<String, Index> = BTreeMap::new();
    for (path, listed) in &release.files {
        let (stem, compression) = Compression::of_name(path.as_str());
        let Some((kind, key)) = place(stem, suite, options) else { continue };
        let index = found.entry(stem.to_owned()).or_insert_with(|| Index {
            kind,
            key,
            part: format!("{suite} {stem}"),
            variants: Vec::new(),
            plain: None,
            descriptions: None,
        });
        if compression == Compression::None {
            index.plain = Some(*listed);
        }
        index.variants.push((compression, path.clone(), *listed));
    }
    let rank = |compression| PREFERRED.iter().position(|known| *known == compression);
    let mut indexes: Vec<Index> = found.into_values().collect();
    for index in &mut indexes {
        index.variants.sort_by_key(|(compression, ..)| rank(*compression));
    }
    let (described, mut indexes): (Vec<Index>, Vec<Index>) =
        indexes.into_iter().partition(|index| index.kind == Kind::Descriptions);
    for index in indexes.iter_mut().filter(|index| index.kind == Kind::Packages) {
        let own = described.iter().find(|described| described.key == index.key && !described.is_empty());
        index.descriptions = own.cloned().map(Box::new);
    }
    indexes
}

/// What the index at `stem` lists, and of which component; `None` when it is not wanted.
fn place(stem: &str, suite: &Suite, options: &Options) -> Option<(Kind, String)> {
    if suite.is_flat() {
        return match stem {
            "Packages" => Some((Kind::Packages, suite.key(None))),
            "Sources" if options.sources => Some((Kind::Sources, suite.key(None))),
            _ => None,
        };
    }
    let (folder, file) = stem.rsplit_once('/')?;
    let (component, last) = folder.rsplit_once('/')?;
    let kind = match file {
        "Packages" if options.wants_architecture(last.strip_prefix("binary-")?) => Kind::Packages,
        "Sources" if last == "source" && options.sources => Kind::Sources,
        "Translation-en" if last == "i18n" && options.lists_descriptions() => Kind::Descriptions,
        _ => return None,
    };
    if component.ends_with("debian-installer") || !options.wants_component(component) {
        return None;
    }
    let component: Component = component.parse().ok()?;
    Some((kind, suite.key(Some(&component))))
}

/// An index on disk, its digest verified.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
    pub(super) size: u64,
    descriptions: Option<Box<Self>>,
}

/// Downloads an index into `folder`, by its digest where the archive offers that, in the first compression that
/// upstream has. `None` for an empty one.
///
/// # Errors
/// [`Error::Integrity`] when upstream has other bytes than the Release says: it may be in the middle of a change.
pub(super) async fn fetch(
    site: &Site<'_>,
    release: &Release,
    index: &Index,
    folder: &Path,
) -> Result<Option<Fetched>> {
    if index.is_empty() {
        return Ok(None);
    }
    let mut fetched = fetch_one(site, release, index, folder).await?;
    if let Some(index) = &index.descriptions {
        fetched.descriptions = match fetch_one(site, release, index, folder).await {
            Ok(fetched) => Some(Box::new(fetched)),
            // Archives list translations that they do not have; packages do without.
            Err(Error::Upstream { status: 403 | 404 | 410, .. } | Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
    }
    Ok(Some(fetched))
}

async fn fetch_one(site: &Site<'_>, release: &Release, index: &Index, folder: &Path) -> Result<Fetched> {
    let mut last = None;
    for (compression, path, listed) in &index.variants {
        let dest = folder.join(listed.identity());
        for url in addresses(site, release, path, listed) {
            let options = DownloadOptions::announced(listed.sha256, Some(listed.size));
            match site.fetcher.download(&url, &dest, options).await {
                Ok(_) => {
                    if listed.sha256.is_none() {
                        verify(&dest, listed, path).await?;
                    }
                    return Ok(Fetched {
                        path: dest,
                        compression: *compression,
                        size: listed.size,
                        descriptions: None,
                    });
                }
                Err(error @ Error::Upstream { status: 403 | 404 | 410, .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::not_found("index", &index.part)))
}

/// Where a file of the suite may be: under its digest first, then under its name.
pub(super) fn addresses(site: &Site<'_>, release: &Release, path: &ContentPath, listed: &Listed) -> Vec<Url> {
    let mut addresses = Vec::with_capacity(2);
    if release.by_hash() {
        let folder =
            path.as_str().rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        addresses.push(site.address(&format!("{folder}{}", listed.by_hash())));
    }
    addresses.push(site.address(path.as_str()));
    addresses
}

/// Compares a file with the only digest that is listed of it.
async fn verify(file: &Path, listed: &Listed, path: &ContentPath) -> Result<()> {
    let (file, what) = (file.to_owned(), format!("index `{path}`"));
    let read = move || {
        let mut hasher = Sha512::new();
        let mut file = File::open(&file)?;
        io::copy(&mut file, &mut hasher)?;
        io::Result::Ok(Sha512Digest::from(hasher))
    };
    let actual = blocking::run(move || read().map_err(Error::io("read an index"))).await?;
    if listed.sha512 == Some(actual) {
        return Ok(());
    }
    Err(Error::Integrity { what, expected: listed.identity(), actual: actual.to_string() })
}

/// What reading an index yields.
#[derive(Debug)]
pub(super) enum Found {
    /// What some of its stanzas offer.
    Units(Vec<DiscoveredArtifact>),
    /// A stanza that is left out, and why.
    Bad(Error),
}

/// Reads an index. Blocks; ends early when nobody listens.
///
/// # Errors
/// [`Error::Malformed`] (`index-data`, `index-digest`), [`Error::LimitExceeded`], [`Error::Io`].
pub(super) fn read(index: &Index, fetched: &Fetched, base: &Url, found: &mpsc::Sender<Found>) -> Result<()> {
    let mut reading = open(index, fetched)?;
    let descriptions = match (&index.descriptions, &fetched.descriptions) {
        (Some(index), Some(fetched)) => {
            let folder = fetched.path.parent().unwrap_or(Path::new("."));
            Some(Descriptions::read(index, fetched, folder)?)
        }
        _ => None,
    };
    let (mut units, mut weight) = (Vec::with_capacity(BATCH), 0);
    while let Some(piece) = reading.next()? {
        let unit = match (piece, index.kind) {
            (Piece::Stanza(bytes), Kind::Packages) => {
                entry::package(base, &index.key, bytes, descriptions.as_ref())
            }
            (Piece::Stanza(bytes), Kind::Sources) => entry::source(base, &index.key, bytes),
            (_, Kind::Descriptions) => continue,
            (Piece::Oversized, _) => Err(Error::malformed("stanza", "control-size", "is too long")),
        };
        match unit {
            Ok(unit) => {
                weight += unit.weight();
                units.push(unit);
            }
            Err(error) => {
                if found.blocking_send(Found::Bad(error)).is_err() {
                    return Err(Error::Cancelled);
                }
            }
        }
        if units.len() == BATCH || weight >= BATCH_BYTES {
            weight = 0;
            let full = std::mem::replace(&mut units, Vec::with_capacity(BATCH));
            if found.blocking_send(Found::Units(full)).is_err() {
                return Err(Error::Cancelled);
            }
        }
    }
    reading.finish()?;
    if !units.is_empty() && found.blocking_send(Found::Units(units)).is_err() {
        return Err(Error::Cancelled);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use reservoir_core::digest::Sha256Digest;

    use super::*;

    /// A stanza may be a million times as long as another: what is in flight is bounded by bytes.
    #[tokio::test]
    async fn large_stanzas_are_told_of_a_few_at_a_time() {
        let stanza = |number: usize| {
            let name = format!("p{number}");
            let sha256 = Sha256Digest::of(name.as_bytes());
            format!(
                "Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {sha256}\n\
                 Description: {}\n\n",
                "x".repeat(300 << 10)
            )
        };
        let text: String = (0..40).map(stanza).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Packages");
        std::fs::write(&path, &text).unwrap();
        let size = text.len() as u64;
        let listed = Listed { size, sha256: Some(Sha256Digest::of(text.as_bytes())), sha512: None };
        let index = Index {
            kind: Kind::Packages,
            key: "stable/main".to_owned(),
            part: "stable main/binary-amd64/Packages".to_owned(),
            variants: Vec::new(),
            plain: Some(listed),
            descriptions: None,
        };
        let fetched = Fetched { path, compression: Compression::None, size, descriptions: None };
        let (sender, mut receiver) = mpsc::channel(4);
        let base: Url = "http://127.0.0.1/".parse().unwrap();
        let reading = tokio::task::spawn_blocking(move || read(&index, &fetched, &base, &sender));
        let mut units = 0;
        while let Some(found) = receiver.recv().await {
            let Found::Units(some) = found else { panic!("{found:?}") };
            assert!(some.len() <= 4, "{} stanzas of 300 KiB at once", some.len());
            units += some.len();
        }
        reading.await.unwrap().unwrap();
        assert_eq!(units, 40);
    }
}
