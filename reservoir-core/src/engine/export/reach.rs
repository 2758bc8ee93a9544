//! What a ref reaches and the destination does not have: pages and blobs, by walking two Merkle manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use futures::TryStreamExt as _;

use super::known::Known;
use crate::{
    Engine, blocking,
    bundle::{BlobSet, CarriedRef, Kind, PATCHES, Patched},
    catalog::RepositoryId,
    digest::{Blake3Digest, Sha256Digest},
    error::Result,
    name::{ArtifactName, RefName, RevisionName},
    snapshot::{Change, Entry, Manifest},
    store::Blob,
};

/// Blobs from this size on are looked for in what the destination has; smaller ones are sent once more.
const LOOKED_FOR: u64 = 16 << 10;

/// The contents that the destination has, by repository.
#[derive(Debug, Default)]
pub(super) struct Bases(Vec<(RepositoryId, Manifest)>);

impl Bases {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each repository with its content.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RepositoryId, &Manifest)> {
        self.0.iter().map(|(repository, base)| (*repository, base))
    }
}

/// What a walk collects.
pub(super) struct Reached {
    pub(super) blobs: BlobSet,
    /// Blobs that travel as patches, where such may be made.
    pub(super) patches: Option<BTreeMap<Sha256Digest, Patched>>,
    /// Bytes that patches save.
    pub(super) saved: u64,
    /// Where patches are made.
    pub(super) folder: PathBuf,
}

impl Engine {
    /// Opens what a delta builds on.
    pub(super) async fn bases(&self, known: &Known) -> Result<Bases> {
        let mut bases = Bases::default();
        if known.kind == Kind::Delta {
            for carried in known.refs.iter().map(|sent| &sent.carried) {
                // A repository that was removed here has no rows to find anything by.
                if let Ok((repository, _)) = self.repository(&carried.repository).await {
                    bases.0.push((repository.id, self.inner.pages.open(carried.snapshot).await?));
                }
            }
        }
        Ok(bases)
    }

    /// Whether the destination has these bytes under any name: a new commit of a model lists its weights again.
    async fn is_there(&self, blob: &Blob, bases: &Bases) -> Result<bool> {
        if bases.0.is_empty() || blob.size < LOOKED_FOR {
            return Ok(false);
        }
        for (repository, path) in self.inner.catalog.paths_of_blob(&blob.sha256).await? {
            for (_, base) in bases.0.iter().filter(|(id, _)| *id == repository) {
                if base.get(&path).await?.is_some_and(|entry| entry.blob == *blob) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Collects what a ref reaches and its parent does not; returns the revisions that differ, in a delta.
    pub(super) async fn reach(
        &self,
        carried: &CarriedRef,
        known: &Known,
        bases: &Bases,
        reached: &mut Reached,
    ) -> Result<BTreeSet<(ArtifactName, RevisionName)>> {
        let pages = &self.inner.pages;
        let new = pages.open(carried.snapshot).await?;
        let old = match carried.parent.filter(|_| known.kind == Kind::Delta) {
            Some(parent) if parent == carried.snapshot => return Ok(BTreeSet::new()),
            Some(parent) => Some(pages.open(parent).await?),
            None => None,
        };
        let theirs: BTreeSet<Sha256Digest> =
            old.as_ref().map(Manifest::pages).unwrap_or_default().into_iter().collect();
        for node in new.pages().into_iter().filter(|page| !theirs.contains(page)).chain([carried.snapshot]) {
            reached.blobs.add(&self.node(node).await?)?;
        }
        let mut touched = BTreeSet::new();
        let mut changes = pages.diff(old.as_ref(), &new);
        while let Some(change) = changes.try_next().await? {
            let entry = match change {
                Change::Added(entry) => entry,
                Change::Changed { old, new } if old.blob == new.blob => {
                    // Only what is said of it has changed.
                    touched.extend(new.artifact.zip(new.revision));
                    continue;
                }
                Change::Changed { new, .. } => new,
                Change::Removed(old) => {
                    // What another ref lacks is no news of `main`.
                    if carried.reference == RefName::main() {
                        touched.extend(old.artifact.zip(old.revision));
                    }
                    continue;
                }
            };
            if !self.is_there(&entry.blob, bases).await? {
                self.add(&entry, bases, reached).await?;
            }
            if old.is_some() {
                touched.extend(entry.artifact.zip(entry.revision));
            }
        }
        Ok(touched)
    }

    /// Takes a new blob, as a patch if that is much smaller.
    async fn add(&self, entry: &Entry, bases: &Bases, reached: &mut Reached) -> Result<()> {
        let blob = &entry.blob;
        let Some(patches) = &mut reached.patches else { return reached.blobs.add(blob) };
        if patches.contains_key(&blob.sha256) {
            return Ok(());
        }
        if let Some(artifact) = &entry.artifact
            && patches.len() < PATCHES
            && let Some((made, patched)) =
                self.patch(blob, (artifact, &entry.path), bases, &reached.folder).await?
        {
            reached.saved += blob.size - made.size;
            patches.insert(blob.sha256, patched);
            return reached.blobs.add(&made);
        }
        reached.blobs.add(blob)
    }

    /// A page or root as a blob: of those only the SHA-256 is known.
    async fn node(&self, sha256: Sha256Digest) -> Result<Blob> {
        let bytes = self.inner.store.read_whole(&sha256, crate::snapshot::manifest::root::ROOT_LIMIT).await?;
        let size = bytes.len() as u64;
        let blake3 = blocking::run(move || Ok(Blake3Digest::from(blake3::hash(&bytes)))).await?;
        Ok(Blob { sha256, blake3, size })
    }
}
