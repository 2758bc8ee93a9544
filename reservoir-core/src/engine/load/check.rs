//! What is checked of a bundle before anything of it is let in.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Loaded;
use crate::{
    Engine, blocking,
    bundle::{BlobSet, CarriedRef, Group, Header, Kind, Overlay, Stage},
    catalog::{ArrivedRef, ArrivingStream, Repository, TrustedKey},
    digest::Sha256Digest,
    ecosystem::RepositoryConfig,
    error::{Error, ErrorKind, Result},
    name::RepositoryName,
    snapshot::{Brought, Change, Pages},
    store::Blob,
    task::TaskContext,
};

/// Memory for the pages of a bundle while they are checked, in bytes.
const PAGES: u64 = 16 << 20;
/// Registered names and revisions held against each other at a time.
const CHECK: u64 = 4096;
/// Blobs that do not travel, asked for at a time.
const AT_A_TIME: usize = 1000;
/// Of those, looked for in the store at the same time.
const SIDE_BY_SIDE: usize = 16;

/// A header whose signature holds.
pub(super) struct Accepted {
    pub(super) bundle: Sha256Digest,
    pub(super) header: Header,
    pub(super) document: Vec<u8>,
    pub(super) signature: String,
    pub(super) key: TrustedKey,
}

impl Accepted {
    pub(super) fn report(&self) -> Loaded {
        Loaded {
            stream: self.header.stream,
            site: self.header.site.clone(),
            sequence: self.header.sequence,
            bundle: Some(self.bundle),
            blobs: self.header.objects.lines,
            ..Loaded::default()
        }
    }

    /// Where its stream is once it is applied, for those that look at the bundles behind it.
    pub(super) fn after(&self, before: Option<ArrivingStream>) -> ArrivingStream {
        let header = &self.header;
        let mut refs = before.map(|before| before.refs).unwrap_or_default();
        refs.retain(|arrived| header.main_of(&arrived.carried.repository).is_none());
        refs.extend(header.all_refs().cloned().map(|carried| ArrivedRef { carried, placed: None }));
        ArrivingStream {
            stream: header.stream,
            site: header.site.clone(),
            public: self.key.public,
            sequence: header.sequence,
            header: self.bundle,
            refs,
        }
    }

    /// What records of snapshots say of it.
    pub(super) fn brought(&self) -> Brought {
        Brought {
            stream: self.header.stream,
            header: self.bundle,
            signature: self.signature.clone(),
            key: self.key.public,
        }
    }

    /// Bytes that patches make.
    pub(super) fn made(&self) -> u64 {
        self.header.patches.iter().fold(0, |sum, patched| patched.blob.size.saturating_add(sum))
    }

    fn name(&self) -> String {
        format!("bundle {} for {} (stream {})", self.header.sequence, self.header.site, self.header.stream)
    }
}

impl Engine {
    /// Expiry, the key of the stream, the place in it, the base. `true` when it was applied already. With `planned`, as
    /// if that were where the stream is.
    pub(super) async fn check_place(
        &self,
        accepted: &Accepted,
        planned: Option<&ArrivingStream>,
    ) -> Result<bool> {
        let (catalog, header) = (&self.inner.catalog, &accepted.header);
        let refused = |reason: String| Error::Untrusted { what: accepted.name(), reason };
        let known = match planned {
            Some(planned) => Some(planned.clone()),
            None => catalog.arriving_stream(header.stream).await?,
        };
        if let Some(known) = &known
            && !self.is_successor(accepted.key.public, known).await?
        {
            return Err(refused(format!(
                "its stream is bound to key {}, and it is signed by {}",
                known.public.name(),
                accepted.key.public.name()
            )));
        }
        if catalog.loaded_bundle(header.stream, header.sequence).await? == Some(accepted.bundle) {
            return Ok(true);
        }
        if header.expires.is_some_and(|expires| expires < catalog.clock().now()) {
            return Err(refused("it has expired; ask for a new one".into()));
        }
        check_sequence(accepted, known.as_ref())?;
        for carried in &header.refs {
            self.ecosystem(&carried.ecosystem)?;
            self.check_ecosystem(carried).await?;
            if !self.is_free(&carried.repository, accepted).await? {
                return Err(Error::Conflict {
                    what: format!("repository `{}`", carried.repository),
                    detail:
                        "it is not filled by this stream; give the outside's another name, or remove this one"
                            .into(),
                });
            }
            if planned.is_none() && header.kind == Kind::Delta && carried.parent.is_some() {
                self.check_fills(accepted, carried).await?;
            }
        }
        let known = known.map(|known| known.refs).unwrap_or_default();
        let absent = |base: &Sha256Digest| Error::Conflict {
            what: accepted.name(),
            detail: format!(
                "it builds on `{base}`, which is not here; export with `--full` or `--have INVENTORY`"
            ),
        };
        let is_known = |base: &Sha256Digest| known.iter().any(|arrived| arrived.carried.snapshot == *base);
        // Refs beside `main` that have not moved bring nothing, unless they are where `main` is.
        let is_still = |carried: &&CarriedRef| {
            carried.parent == Some(carried.snapshot)
                && header.main_of(&carried.repository).is_none_or(|main| main.snapshot != carried.snapshot)
        };
        let still = header.other_refs.iter().flatten().filter(is_still).map(|carried| &carried.snapshot);
        for base in header.base.iter().chain(still) {
            let is_here = planned.is_some() || self.inner.store.stat(base).await?.is_some();
            if !is_known(base) || !is_here {
                return Err(absent(base));
            }
        }
        Ok(false)
    }

    /// A repository that was removed here and made anew may be of another format.
    async fn check_ecosystem(&self, carried: &CarriedRef) -> Result<()> {
        let found = match self.inner.catalog.repository(&carried.repository).await {
            Ok(repository) => repository.config.ecosystem,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if found == carried.ecosystem {
            return Ok(());
        }
        Err(Error::Conflict {
            what: format!("repository `{}`", carried.repository),
            detail: format!(
                "it is `{found}` here, and `{}` in the bundle; remove this one, or give the outside's another name",
                carried.ecosystem
            ),
        })
    }

    /// A delta needs the repository that the bundles before it filled, not just one of its name.
    async fn check_fills(&self, accepted: &Accepted, carried: &CarriedRef) -> Result<()> {
        let catalog = &self.inner.catalog;
        let stream = match catalog.repository(&carried.repository).await {
            Ok(repository) => catalog.stream_of(repository.id).await?,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if stream == Some(accepted.header.stream) {
            return Ok(());
        }
        Err(Error::Conflict {
            what: accepted.name(),
            detail: format!(
                "it is a delta for `{}`, and what bundles before it brought there was removed here; export with \
                 `--full`, or with `--have` and a new inventory",
                carried.repository
            ),
        })
    }

    /// Whether a key is that of a stream, or took its place by its own signature.
    async fn is_successor(&self, key: crate::bundle::BundleKey, known: &ArrivingStream) -> Result<bool> {
        let keys = self.inner.catalog.trusted_keys().await?;
        let mut at = Some(key);
        for _ in 0..=keys.len() {
            if at == Some(known.public) {
                return Ok(true);
            }
            at = keys
                .iter()
                .find(|trusted| Some(trusted.public) == at)
                .and_then(|trusted| trusted.predecessor);
        }
        Ok(false)
    }

    /// Refuses an upload or a yank in a repository that bundles fill: the next of them would undo it without a word.
    pub(in crate::engine) async fn refuse_carried(&self, repository: &Repository) -> Result<()> {
        let Some(stream) = self.inner.catalog.stream_of(repository.id).await? else { return Ok(()) };
        Err(Error::Denied {
            what: format!("changing `{}`", repository.config.name),
            reason: format!("it is what the bundles of stream {stream} bring; change it where they are made"),
        })
    }

    /// Whether a repository is this stream's, or not there, or made by a load that was cut off.
    async fn is_free(&self, name: &RepositoryName, accepted: &Accepted) -> Result<bool> {
        let catalog = &self.inner.catalog;
        let repository = match catalog.repository(name).await {
            Ok(repository) => repository,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        if let Some(stream) = catalog.stream_of(repository.id).await? {
            return Ok(stream == accepted.header.stream);
        }
        let untouched = catalog.next_number(repository.id).await? == 1
            && catalog.artifacts(repository.id, None, 1).await?.is_empty()
            && (repository.config.registries.is_empty() || self.peer_of(&repository).await?.is_some());
        Ok(untouched)
    }

    /// Everything in the bundle once more as a whole: manifests, records, and that each blob that anything names is
    /// in the bundle or here, with the same size and tree.
    pub(super) async fn check_content(
        &self,
        accepted: &Accepted,
        stage: &Stage,
        task: &TaskContext,
    ) -> Result<()> {
        let overlay = Overlay { blobs: stage.staged_blobs(), store: self.inner.store.clone() };
        let pages = Pages::new(std::sync::Arc::new(overlay), PAGES);
        let mut named = BlobSet::new(stage.folder().join("named"))?;
        for carried in accepted.header.all_refs() {
            let ecosystem = self.ecosystem(&carried.ecosystem)?;
            let new = pages.open(carried.snapshot).await?;
            let old = match carried.parent.filter(|_| accepted.header.kind == Kind::Delta) {
                Some(parent) => Some(pages.open(parent).await?),
                None => None,
            };
            let mut changes = pages.diff(old.as_ref(), &new);
            let mut count = 0_u64;
            while let Some(change) = changes.try_next().await? {
                count += 1;
                if count.is_multiple_of(CHECK) {
                    task.checkpoint()?;
                }
                if let Change::Added(entry) | Change::Changed { new: entry, .. } = change {
                    ecosystem.check_entry(&entry)?;
                    named.add(&entry.blob)?;
                }
            }
        }
        let (mut records, mut named) = (stage.records()?, named);
        let carried: BTreeSet<_> =
            accepted.header.refs.iter().map(|carried| carried.repository.clone()).collect();
        let ecosystems: Vec<_> = accepted
            .header
            .refs
            .iter()
            .map(|carried| (carried.repository.clone(), carried.ecosystem.clone()))
            .collect();
        let mut configs: Vec<RepositoryConfig> = Vec::new();
        named = blocking::run(move || {
            let mut seen = BTreeSet::new();
            while let Some(group) = records.next()? {
                match group {
                    Group::Repository(repository) => {
                        let name = &repository.config.name;
                        let agrees = ecosystems.iter().any(|(known, ecosystem)| {
                            known == name && *ecosystem == repository.config.ecosystem
                        });
                        if !agrees || !seen.insert(name.clone()) {
                            let detail = format!("`{name}` is none of its repositories, or there twice");
                            return Err(Error::malformed(crate::bundle::RECORDS, "bundle-records", detail));
                        }
                        configs.push(repository.config);
                    }
                    Group::Revision(group) => {
                        for file in &group.1 {
                            file.blob.iter().try_for_each(|blob| named.add(blob))?;
                            file.derived.iter().try_for_each(|(_, blob)| named.add(blob))?;
                        }
                    }
                    Group::Artifact(_) | Group::Alarm(_) => {}
                }
            }
            if seen != carried {
                let detail = "a repository has no records";
                return Err(Error::malformed(crate::bundle::RECORDS, "bundle-records", detail));
            }
            Ok((named, configs))
        })
        .await
        .and_then(|(named, configs)| {
            for config in &configs {
                self.ecosystem(&config.ecosystem)?.configure(config)?;
            }
            Ok(named)
        })?;
        self.check_named(accepted, named, stage).await
    }

    /// Holds what is named against what is in the bundle and in the store.
    async fn check_named(&self, accepted: &Accepted, named: BlobSet, stage: &Stage) -> Result<()> {
        let patches = &accepted.header.patches;
        let mut objects = stage.objects()?;
        let mut object = objects.next()?;
        let named = named.sorted()?;
        let mut stored = Vec::new();
        for prefix in 0..=255 {
            for blob in named.bucket(prefix)? {
                while object.is_some_and(|object| object.blob.sha256 < blob.sha256) {
                    object = objects.next()?;
                }
                match object {
                    Some(object) if object.blob.sha256 == blob.sha256 => agree(&object.blob, &blob)?,
                    _ => {
                        let place = patches.binary_search_by(|patched| patched.blob.sha256.cmp(&blob.sha256));
                        place.map_or(Ok(()), |place| agree(&patches[place].blob, &blob))?;
                    }
                }
                // What has come was hashed; what was here already is held against what is stored.
                if stage.staged(&blob).is_none() {
                    stored.push(blob);
                }
            }
            if stored.len() >= AT_A_TIME {
                self.check_all_stored(&std::mem::take(&mut stored)).await?;
            }
        }
        self.check_all_stored(&stored).await
    }

    /// Blobs that do not travel must be here. What the catalog knows them as was found out from their bytes; of others,
    /// the tree is looked at.
    async fn check_all_stored(&self, blobs: &[Blob]) -> Result<()> {
        let known = self.inner.catalog.known_blobs(blobs).await?;
        // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
        let checks: Vec<_> = blobs.iter().map(|blob| self.check_stored(blob, known.contains(blob))).collect();
        stream::iter(checks).buffer_unordered(SIDE_BY_SIDE).try_for_each(async |()| Ok(())).await
    }

    /// A blob that does not travel must be here, with the tree that is said of it.
    async fn check_stored(&self, blob: &Blob, is_known: bool) -> Result<()> {
        let missing = || {
            let detail = format!("blob `{}` is neither in it nor here; export with `--full`", blob.sha256);
            Error::malformed("the bundle", "bundle-incomplete", detail)
        };
        let stored = self.inner.store.stat(&blob.sha256).await?.ok_or_else(missing)?;
        let found = Blob { size: stored.size, ..*blob };
        agree(&found, blob)?;
        if is_known {
            return Ok(());
        }
        // Loads the tree, which folds to its root or fails; blobs of one group are read.
        let mut bytes = self.inner.store.read(blob, 0..blob.size.min(1)).await?;
        while bytes.try_next().await?.is_some() {}
        Ok(())
    }
}

/// `sequence` = last + 1 and `previous` matches; or a full bundle that is newer.
fn check_sequence(accepted: &Accepted, known: Option<&ArrivingStream>) -> Result<()> {
    let header = &accepted.header;
    let (what, sequence) = (accepted.name(), header.sequence);
    let Some(known) = known else {
        return match header.kind {
            Kind::Full => Ok(()),
            Kind::Delta => Err(Error::Conflict {
                what,
                detail: "it is a delta, and nothing of its stream was applied here; bundle 1 or a full one is needed"
                    .into(),
            }),
        };
    };
    if sequence <= known.sequence {
        let reason = format!(
            "bundle {} of its stream was applied; the next is {}, older ones are not taken again; where its sender \
             was restored from a backup, export with `--have INVENTORY`",
            known.sequence,
            known.sequence + 1
        );
        return Err(Error::Untrusted { what, reason });
    }
    if header.kind == Kind::Full || header.previous == Some(known.header) {
        return Ok(());
    }
    if header.follows == Some(known.sequence) {
        let reason = format!("it follows another bundle {} than the one that was applied", known.sequence);
        return Err(Error::Untrusted { what, reason });
    }
    Err(Error::Conflict {
        what,
        detail: format!(
            "bundle {} was applied last; bundle {} is needed first",
            known.sequence,
            known.sequence + 1
        ),
    })
}

fn agree(found: &Blob, named: &Blob) -> Result<()> {
    if found == named {
        return Ok(());
    }
    Err(Error::Integrity {
        what: format!("blob `{}`", named.sha256),
        expected: format!("{} ({} bytes)", named.blake3, named.size),
        actual: format!("{} ({} bytes)", found.blake3, found.size),
    })
}
