//! Looking whether everything that may be served is stored whole.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use serde::Serialize;

use super::Engine;
use crate::{
    catalog::Repository,
    digest::Sha256Digest,
    ecosystem::Mode,
    error::Result,
    snapshot::Edit,
    store::{
        Blob,
        scrub::{self, Damage, Scrubbed},
    },
};

/// Users of a damaged blob that are named.
const USERS_SHOWN: usize = 5;

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// Blobs that a served snapshot refers to (files, pages and roots), or that a cache has beside its own; each path
    /// counted once for each ref.
    pub referenced: u64,
    /// Blobs read and hashed.
    pub hashed: u64,
    /// Bytes read and hashed.
    pub bytes: u64,
    /// Audit records whose chain was checked.
    pub audit_records: u64,
    /// What is missing or damaged.
    pub damaged: Vec<Damaged>,
}

/// A blob that is missing or damaged.
#[derive(Debug, Clone, Serialize)]
pub struct Damaged {
    /// Its digest.
    pub sha256: Sha256Digest,
    /// What is wrong.
    pub problem: String,
    /// Who refers to it, as `REPO PATH`, the first few.
    pub used_by: Vec<String>,
}

impl Engine {
    /// Checks what the snapshots that refs point to refer to, and what caches serve beside theirs: that it is stored
    /// with the right size; and that every audit record belongs to its chain. When `deep`, also that every stored
    /// byte hashes to its name, whoever refers to it, and that every verification tree belongs to its blob.
    ///
    /// Reads only; may be dropped at any time. A manifest that cannot be read is reported as damaged itself. What is
    /// cleaned up and collected meanwhile may be reported as missing.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) for a broken audit log; [`Error::Store`](crate::Error::Store) and
    /// [`Error::Catalog`](crate::Error::Catalog) where a backend fails.
    pub async fn verify(&self, deep: bool) -> Result<Verified> {
        let mut verified = Verified::default();
        let mut damaged: HashMap<Sha256Digest, Damaged> = HashMap::new();
        if deep {
            self.verify_bytes(&mut verified, &mut damaged).await?;
        }
        let catalog = &self.inner.catalog;
        for repository in catalog.repositories().await? {
            let name = repository.config.name.as_str();
            for (_, number) in catalog.refs(repository.id).await? {
                let snapshot = catalog.snapshot(repository.id, number).await?;
                for root in [snapshot.content, snapshot.publication] {
                    self.verify_manifest(name, root, &mut verified, &mut damaged).await?;
                }
            }
            self.verify_overlay(&repository, &mut verified, &mut damaged).await?;
        }
        verified.audit_records = catalog.verify_audit().await?;
        verified.damaged = damaged.into_values().collect();
        verified.damaged.sort_by_key(|damage| damage.sha256);
        Ok(verified)
    }

    /// Hashes everything that is stored.
    async fn verify_bytes(
        &self,
        verified: &mut Verified,
        damaged: &mut HashMap<Sha256Digest, Damaged>,
    ) -> Result<()> {
        let mut looked = Scrubbed::default();
        {
            let mut found = scrub::scrub(&*self.inner.store, true, |so_far| looked = so_far);
            while let Some(scrub::Damaged { blob, damage }) = found.try_next().await? {
                let problem = match damage {
                    Damage::Rotten { actual } => format!("its bytes hash to {actual}"),
                    Damage::Tree => "its verification tree is missing or damaged".to_owned(),
                };
                let sha256 = blob.sha256;
                damaged.insert(sha256, Damaged { sha256, problem, used_by: Vec::new() });
            }
        }
        (verified.hashed, verified.bytes) = (looked.blobs, looked.bytes);
        Ok(())
    }

    async fn verify_manifest(
        &self,
        repository: &str,
        root: Sha256Digest,
        verified: &mut Verified,
        damaged: &mut HashMap<Sha256Digest, Damaged>,
    ) -> Result<()> {
        let manifest = match self.inner.pages.open(root).await {
            Ok(manifest) => manifest,
            Err(error) => {
                note(damaged, root, || error.to_string(), format!("{repository} (manifest)"));
                return Ok(());
            }
        };
        verified.referenced += 1;
        for (index, page) in manifest.pages().into_iter().enumerate() {
            verified.referenced += 1;
            let entries = match manifest.page_entries(index).await {
                Ok(entries) => entries,
                Err(error) => {
                    note(damaged, page, || error.to_string(), format!("{repository} (manifest page)"));
                    continue;
                }
            };
            for entry in entries {
                let user = || format!("{repository} {}", entry.path);
                self.verify_entry(&entry.blob, user, verified, damaged).await?;
            }
        }
        Ok(())
    }

    /// What a cache serves beside its snapshot: what arrived since.
    async fn verify_overlay(
        &self,
        repository: &Repository,
        verified: &mut Verified,
        damaged: &mut HashMap<Sha256Digest, Damaged>,
    ) -> Result<()> {
        let (catalog, name) = (&self.inner.catalog, &repository.config.name);
        if repository.config.mode != Mode::Cache {
            return Ok(());
        }
        let Some(mark) = catalog.dirty_until(repository.id).await? else { return Ok(()) };
        let mut edits = catalog.dirty_edits(repository.id, mark);
        while let Some(edit) = edits.try_next().await? {
            let Edit::Put(entry) = edit else { continue };
            self.verify_entry(&entry.blob, || format!("{name} {}", entry.path), verified, damaged).await?;
        }
        Ok(())
    }

    async fn verify_entry(
        &self,
        blob: &Blob,
        user: impl Fn() -> String,
        verified: &mut Verified,
        damaged: &mut HashMap<Sha256Digest, Damaged>,
    ) -> Result<()> {
        verified.referenced += 1;
        match self.problem_with(blob).await? {
            Some(problem) => note(damaged, blob.sha256, || problem, user()),
            None if damaged.contains_key(&blob.sha256) => note(damaged, blob.sha256, String::new, user()),
            None => {}
        }
        Ok(())
    }

    async fn problem_with(&self, blob: &Blob) -> Result<Option<String>> {
        Ok(match self.inner.store.stat(&blob.sha256).await? {
            None => Some("it is missing".to_owned()),
            Some(stored) if stored.size != blob.size => {
                Some(format!("{} bytes are stored, {} were recorded", stored.size, blob.size))
            }
            Some(_) => None,
        })
    }
}

fn note(
    damaged: &mut HashMap<Sha256Digest, Damaged>,
    sha256: Sha256Digest,
    problem: impl FnOnce() -> String,
    user: String,
) {
    let damage =
        damaged.entry(sha256).or_insert_with(|| Damaged { sha256, problem: problem(), used_by: Vec::new() });
    if damage.used_by.len() < USERS_SHOWN {
        damage.used_by.push(user);
    }
}
