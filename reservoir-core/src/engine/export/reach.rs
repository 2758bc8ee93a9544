//! What a ref reaches and the destination does not have: pages and blobs, by walking two Merkle manifests.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;

use super::plan::Known;
use crate::{
    Engine,
    bundle::{BlobSet, CarriedRef, Kind},
    digest::{Blake3Digest, Sha256Digest},
    engine::blocking::blocking,
    error::Result,
    name::{ArtifactName, RevisionName},
    snapshot::{Change, Manifest},
    store::Blob,
};

impl Engine {
    /// Collects what a ref reaches and its parent does not; returns the revisions that differ, in a delta.
    pub(super) async fn reach(
        &self,
        carried: &CarriedRef,
        known: &Known,
        blobs: &mut BlobSet,
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
            blobs.add(&self.node(node).await?)?;
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
                    touched.extend(old.artifact.zip(old.revision));
                    continue;
                }
            };
            blobs.add(&entry.blob)?;
            if old.is_some() {
                touched.extend(entry.artifact.zip(entry.revision));
            }
        }
        Ok(touched)
    }

    /// A page or root as a blob: of those only the SHA-256 is known.
    async fn node(&self, sha256: Sha256Digest) -> Result<Blob> {
        let bytes = self.inner.store.read_whole(&sha256, crate::snapshot::manifest::root::ROOT_LIMIT).await?;
        let size = bytes.len() as u64;
        let blake3 = blocking(move || Ok(Blake3Digest::from(blake3::hash(&bytes)))).await?;
        Ok(Blob { sha256, blake3, size })
    }
}
