//! The files of one revision, put where a program can use them: into a folder, or below a prefix of a bucket.

mod bucket;
mod folder;

use std::path::PathBuf;

use serde::Serialize;

use super::{Engine, pinned::PinnedStore, run::keep_pins};
use crate::{
    ecosystem::Mode,
    error::{Error, Result},
    lifecycle::{Revision, Status},
    name::{ArtifactName, RepositoryName, RevisionName},
    path::ContentPath,
    store::{Blob, url as address},
    task::PIN,
};

/// How a file comes into a folder of the machine that has the store. Elsewhere it is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Shares its blocks where the file system can, else copied: whoever writes to it changes nothing here.
    #[default]
    Clone,
    /// Is the very file of the store where both are on one file system, else copied: for folders that nobody writes
    /// to. What is written there is damage here, which reading finds and refuses.
    HardLink,
    /// Bytes of its own.
    Copy,
}

/// What [`Engine::materialize`] did.
#[derive(Debug, Clone, Serialize)]
pub struct Materialized {
    /// Of which revision.
    pub revision: Revision,
    /// Files that are there now.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, those that share the blocks of the store.
    pub cloned: u64,
    /// Of them, those that are the store's own files.
    pub linked: u64,
    /// Files of the revision that may not be served, each with the reason.
    pub denied: Vec<(ContentPath, String)>,
    /// Files of the revision whose bytes are not here.
    pub absent: Vec<ContentPath>,
    /// Files of the revision that the selection of the mirror leaves out.
    pub left_out: Vec<ContentPath>,
}

/// A file and where it goes.
#[derive(Debug, Clone)]
struct Placed {
    place: ContentPath,
    blob: Blob,
}

impl Engine {
    /// Puts the files of an AVAILABLE revision into `destination`: a path that does not exist yet or is an empty
    /// folder, or `s3://bucket/prefix?…` as for a store.
    ///
    /// All or nothing: a folder appears by one rename, when every file in it was hashed and is durable; below a
    /// prefix, where keys are paths as they are, `.reservoir.json` (path, size and SHA-256 of every file) is written
    /// last. Every byte was verified on its way. Dropping the future leaves no folder, and what a killed process left
    /// is removed by the next call for the same folder; objects below a prefix may stay, without `.reservoir.json`, and
    /// the next call for the same revision reads and keeps them.
    ///
    /// # Errors
    /// [`Error::InvalidState`] for a revision that is not AVAILABLE, [`Error::NotFound`] for one of which nothing is
    /// here, [`Error::Conflict`] for a destination that has something else in it, [`Error::Unsupported`] for a file whose
    /// path cannot be a key of the bucket, [`Error::Integrity`] for damaged bytes.
    pub async fn materialize(
        &self,
        name: &RepositoryName,
        artifact: &ArtifactName,
        revision: &RevisionName,
        destination: &str,
        placement: Placement,
    ) -> Result<Materialized> {
        let (repository, ecosystem) = self.repository(name).await?;
        let catalog = &self.inner.catalog;
        let found = catalog.find_revision(repository.id, artifact, revision).await?;
        if found.status != Status::Available {
            let (subject, from) = (format!("{artifact}@{revision}"), found.status);
            return Err(Error::InvalidState { subject, from, to: Status::Available });
        }
        let denials = self.denials(repository.id).await?;
        let mut files: Vec<Placed> = Vec::new();
        let (mut denied, mut absent, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        let is_mirror = repository.config.mode == Mode::Mirror;
        for file in catalog.files(found.id).await? {
            let Some(place) = ecosystem.place(artifact, revision, &file.path)? else { continue };
            let digest = file.blob.map(|blob| blob.sha256).or(file.sha256);
            let reason = denials.paths.get(file.path.as_str());
            let reason = reason.or_else(|| denials.digests.get(digest.as_ref()?));
            match file.blob {
                _ if reason.is_some() => denied.push((place, reason.cloned().unwrap_or_default())),
                Some(blob) if file.admitted => files.push(Placed { place, blob }),
                None if is_mirror && !file.wanted => left_out.push(place),
                _ => absent.push(place),
            }
        }
        files.sort_by(|a, b| a.place.cmp(&b.place));
        if let Some(pair) = files.windows(2).find(|pair| pair[0].place == pair[1].place) {
            let (what, detail) = (format!("`{}`", pair[0].place), "two files of the revision would be there");
            return Err(Error::Conflict { what, detail: detail.into() });
        }
        if files.is_empty() {
            return Err(Error::not_found("file that may be used of", format!("{artifact}@{revision}")));
        }
        // Whatever is cleaned up meanwhile stays in the store until this has ended.
        let owner = format!("materialize/{}", uuid::Uuid::new_v4());
        let pinned = PinnedStore::new(self.inner.store.clone(), catalog.clone(), owner.clone());
        let kept = keep_pins(catalog.clone(), owner, PIN / 5);
        let digests: Vec<_> = files.iter().map(|file| file.blob.sha256).collect();
        pinned.pin_all(&digests).await?;
        let placed = match destination.split_once("://") {
            None => folder::fill(&*self.inner.store, PathBuf::from(destination), &files, placement).await,
            Some(("s3", _)) => {
                let (objects, prefix) = address::open_bucket(destination).await?;
                let of = format!("{name}/{artifact}@{revision}");
                bucket::fill(&*self.inner.store, &objects, &prefix, &of, &files).await
            }
            Some((scheme, _)) => {
                let detail = format!("`{scheme}://` is neither a path nor `s3://`");
                Err(Error::invalid(format!("destination `{destination}`"), detail))
            }
        };
        drop(kept);
        pinned.unpin().await?;
        let (cloned, linked) = placed?;
        Ok(Materialized {
            revision: found,
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.blob.size).sum(),
            cloned,
            linked,
            denied,
            absent,
            left_out,
        })
    }
}
