//! What arrives: bundles are verified as a whole, then taken in, then published here.

mod apply;
mod check;
mod inspect;
mod pull;
mod unpatch;

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use self::check::Accepted;
pub use self::inspect::Inspected;
use super::{
    Engine,
    blocking::blocking,
    run::{Outcome, wait_for_lease},
};
use crate::{
    bundle::{self, BundleKey, Input, Object, Stage, Watch},
    digest::Sha256Digest,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    task::{Progress, TaskContext, TaskHandle},
};

/// Where bundles are read from.
pub enum Medium {
    /// Folders and volumes, in any order, of one or several bundles.
    Paths(Vec<PathBuf>),
    /// A stream that [`Target::Stream`](crate::bundle::Target::Stream) wrote.
    Stream(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Medium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paths(paths) => f.debug_tuple("Paths").field(paths).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What became of one repository.
#[derive(Debug, Clone, Serialize)]
pub struct LoadedRepository {
    /// Its name.
    pub repository: RepositoryName,
    /// Whether it was made by this load.
    pub created: bool,
    /// The snapshot that was published; `None` when nothing changed for clients.
    pub snapshot: Option<u64>,
    /// Revisions that became AVAILABLE.
    pub admitted: u64,
}

/// What a load did, or would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Loaded {
    /// The stream.
    pub stream: Uuid,
    /// What the sender calls this place.
    pub site: String,
    /// The number of the bundle.
    pub sequence: u64,
    /// The digest of its header.
    pub bundle: Option<Sha256Digest>,
    /// Whether it is applied now.
    pub applied: bool,
    /// Whether it was applied before; then nothing was done.
    pub already: bool,
    /// Blobs in it.
    pub blobs: u64,
    /// Bytes of those that were not here.
    pub new_bytes: u64,
    /// Its repositories.
    pub repositories: Vec<LoadedRepository>,
    /// The numbers and labels of volumes that are still to come.
    pub missing: Vec<(u32, String)>,
    /// Revisions that wait for a person here, `REPO ARTIFACT@REVISION: why`, a hundred at most.
    pub waiting: Vec<String>,
}

impl Outcome for Vec<Loaded> {
    fn is_complete(&self) -> bool {
        self.iter().all(Loaded::is_complete)
    }
}

impl Loaded {
    /// Whether all of the bundle is here and served.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.waiting.is_empty()
    }
}

impl Engine {
    /// Takes in bundles: one entry a bundle, in the order of their numbers. The work is a task of the engine.
    ///
    /// Nothing reaches the store or the catalog before all of a bundle is verified: its signature, its place in its
    /// stream, every byte, every record. A refusal leaves both as they were. Interrupted at any byte, the same call
    /// goes on from there; with volumes missing it says which, and the next call brings them.
    ///
    /// # Errors
    /// [`Error::Untrusted`] for signatures and replays, [`Error::Conflict`] for gaps, which says the number that is
    /// needed, [`Error::Integrity`] with the volume and the place of damage, [`Error::Malformed`] for everything
    /// that no Reservoir writes, [`Error::NoSpace`] before the first byte when it cannot fit.
    pub async fn load(&self, medium: Medium, dry_run: bool, actor: Actor) -> Result<TaskHandle<Vec<Loaded>>> {
        let engine = self.clone();
        let by = actor.clone();
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<Vec<Loaded>>> {
            Box::pin(async move { engine.run_load(medium, dry_run, actor, &task).await })
        };
        self.spawn("load", None, json!({ "dry_run": dry_run }), by, work).await
    }

    async fn run_load(
        &self,
        medium: Medium,
        dry_run: bool,
        actor: Actor,
        task: &TaskContext,
    ) -> Result<Vec<Loaded>> {
        // One load at a time: what is staged and what is applied belong together.
        let fence = wait_for_lease(&self.inner.catalog, "load", Duration::ZERO).await?;
        task.keep(fence);
        match medium {
            Medium::Stream(input) => {
                let loaded = self.load_stream(input, dry_run, &actor, task).boxed().await?;
                Ok(vec![loaded])
            }
            Medium::Paths(paths) => {
                let found = blocking(move || bundle::find(&paths)).await?;
                self.load_files(found, dry_run, &actor, task).boxed().await
            }
        }
    }

    async fn load_files(
        &self,
        found: bundle::Found,
        dry_run: bool,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Vec<Loaded>> {
        let mut bundles: BTreeMap<Sha256Digest, (Accepted, Option<PathBuf>)> = BTreeMap::new();
        for folder in &found.headers {
            let source = folder.clone();
            let (document, signature) = blocking(move || bundle::signed_header(&source)).await?;
            let accepted = self.check_signature(document, signature).await?;
            bundles.insert(accepted.bundle, (accepted, Some(folder.clone())));
        }
        if bundles.is_empty() {
            for volume in &found.volumes {
                let volume = volume.clone();
                let (head, ..) = blocking(move || bundle::open_volume(&volume)).await?;
                let folder = self.stage_folder(head.bundle);
                let kept = blocking(move || Stage::kept(&folder)).await;
                let (document, signature) = kept.map_err(|_| {
                    let detail =
                        format!("begin with the medium that holds `bundle.json` of `{}`", head.label);
                    Error::invalid("PATH", detail)
                })?;
                let accepted = self.check_signature(document, signature).await?;
                bundles.insert(accepted.bundle, (accepted, None));
            }
        }
        let mut order: Vec<_> = bundles.into_values().collect();
        order.sort_by_key(|(accepted, _)| (accepted.header.stream, accepted.header.sequence));
        let mut loaded = Vec::with_capacity(order.len());
        for (accepted, folder) in order {
            let one = self.load_one(accepted, folder.as_deref(), &found, dry_run, actor, task).await?;
            let stop = !one.missing.is_empty();
            loaded.push(one);
            if stop {
                break;
            }
        }
        Ok(loaded)
    }

    /// One bundle whose signature holds, from folders.
    async fn load_one(
        &self,
        accepted: Accepted,
        folder: Option<&Path>,
        found: &bundle::Found,
        dry_run: bool,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Loaded> {
        let mut loaded = accepted.report();
        if self.check_place(&accepted).await? {
            loaded.already = true;
            self.discard(accepted.bundle);
            return Ok(loaded);
        }
        let mut stage = self.open_stage(&accepted).await?;
        if let Some(folder) = folder {
            let folder = folder.to_owned();
            stage = blocking(move || {
                for name in [bundle::OBJECTS, bundle::RECORDS] {
                    if !stage.has_part(name) {
                        let mut input = open_regular(&folder.join(name))?;
                        stage.take_part(name, &mut input)?;
                    }
                }
                Ok(stage)
            })
            .await?;
        }
        stage = self.prepare_stage(stage, &mut loaded).await?;
        // The trailer may be on any medium; the last one, if there are several.
        for folder in &found.folders {
            let source = folder.clone();
            if let Some((document, signature)) = blocking(move || bundle::signed_trailer(&source)).await? {
                accepted.key.public.verify("`volumes.json`", &document, &signature)?;
                stage = blocking(move || {
                    // That of another bundle on the same medium is not this one's.
                    stage.take_trailer_of_this(&document)?;
                    Ok(stage)
                })
                .await?;
            }
        }
        if dry_run {
            loaded.missing = Vec::new();
            drop(stage);
            self.discard(accepted.bundle);
            return Ok(loaded);
        }
        bundle::check_space(stage.folder(), stage.needed().saturating_add(accepted.made()))?;
        let volumes = found.volumes.clone();
        let watch = Watcher { task: task.clone() };
        task.report(Progress::Phase { name: "load", total: None });
        task.report(Progress::Expected { bytes: stage.left()? });
        let alone = found.headers.len() <= 1;
        stage = blocking(move || {
            for path in volumes {
                let (head, raw, file) = bundle::open_volume(&path)?;
                let what = path.display().to_string();
                if !alone && !stage.is_mine(&head) {
                    continue;
                }
                stage.check_head(&what, &head)?;
                if stage.wants(head.index)? {
                    stage.take_volume((&head, &raw), Input::File(file), &watch)?;
                }
            }
            Ok(stage)
        })
        .await?;
        self.finish_load(accepted, stage, loaded, actor, task).await
    }

    /// A bundle as it comes down a stream.
    async fn load_stream(
        &self,
        input: Box<dyn Read + Send>,
        dry_run: bool,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Loaded> {
        let mut tape = bundle::Tape::new(input);
        let (tape_back, document, signature) = blocking(move || {
            let document = tape.small(bundle::HEADER, bundle::header::LIMIT)?;
            let signature = tape.small(bundle::HEADER_SIGNATURE, bundle::SIGNATURE_LIMIT)?;
            Ok((tape, document, signature))
        })
        .await?;
        let mut tape = tape_back;
        let accepted = self.check_signature(document, text(signature)?).await?;
        let mut loaded = accepted.report();
        if self.check_place(&accepted).await? {
            loaded.already = true;
            self.discard(accepted.bundle);
            return Ok(loaded);
        }
        let mut stage = self.open_stage(&accepted).await?;
        (stage, tape) = blocking(move || {
            for name in [bundle::RECORDS, bundle::OBJECTS] {
                tape.part(name, &stage)?;
            }
            Ok((stage, tape))
        })
        .await?;
        stage = self.prepare_stage(stage, &mut loaded).await?;
        if dry_run {
            drop(stage);
            self.discard(accepted.bundle);
            return Ok(loaded);
        }
        bundle::check_space(stage.folder(), stage.needed().saturating_add(accepted.made()))?;
        let watch = Watcher { task: task.clone() };
        task.report(Progress::Phase { name: "load", total: None });
        task.report(Progress::Expected { bytes: stage.left()? });
        let (stage_back, document, signature) = blocking(move || {
            for index in 1..=stage.header().volumes.count {
                tape.volume(index, &mut stage, &watch)?;
            }
            tape.small(bundle::SUMS, bundle::trailer::LIMIT)?;
            let document = tape.small(bundle::TRAILER, bundle::trailer::LIMIT)?;
            let signature = tape.small(bundle::TRAILER_SIGNATURE, bundle::SIGNATURE_LIMIT)?;
            tape.end()?;
            Ok((stage, document, signature))
        })
        .await?;
        stage = stage_back;
        accepted.key.public.verify("`volumes.json`", &document, &text(signature)?)?;
        stage.take_trailer(&document)?;
        self.finish_load(accepted, stage, loaded, actor, task).await
    }

    fn stage_folder(&self, bundle: Sha256Digest) -> PathBuf {
        self.inner.scratch.join("load").join(bundle.to_string())
    }

    async fn open_stage(&self, accepted: &Accepted) -> Result<Stage> {
        let folder = self.stage_folder(accepted.bundle);
        let (header, document) = (accepted.header.clone(), accepted.document.clone());
        let signature = accepted.signature.clone();
        blocking(move || Stage::open(folder, header, &document, &signature)).await
    }

    /// Finds out what of the bundle is new here.
    async fn prepare_stage(&self, mut stage: Stage, loaded: &mut Loaded) -> Result<Stage> {
        let store = self.inner.store.clone();
        let runtime = tokio::runtime::Handle::current();
        let stage = blocking(move || {
            stage.list(|batch: &[Object]| {
                runtime.block_on(async {
                    let mut has = Vec::with_capacity(batch.len());
                    for object in batch {
                        let stored = store.stat(&object.blob.sha256).await?;
                        has.push(stored.is_some_and(|stored| stored.size == object.blob.size));
                    }
                    Ok(has)
                })
            })?;
            Ok(stage)
        })
        .await?;
        loaded.new_bytes = stage.needed();
        Ok(stage)
    }

    /// Once every volume at hand was taken: applies the bundle, or says what is missing.
    async fn finish_load(
        &self,
        accepted: Accepted,
        mut stage: Stage,
        mut loaded: Loaded,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Loaded> {
        let (stage_back, missing) = blocking(move || {
            let missing = stage.missing()?;
            Ok((stage, missing))
        })
        .await?;
        stage = stage_back;
        if !missing.is_empty() {
            let label = |index: &u32| (*index, accepted.header.label(*index));
            loaded.missing = missing.iter().map(label).collect();
            return Ok(loaded);
        }
        if !stage.has_trailer() {
            return Err(Error::malformed(
                "the bundle",
                "bundle-truncated",
                "`volumes.json` is missing: the export did not end, or its last medium is not here",
            ));
        }
        self.apply_staged(&accepted, stage, &mut loaded, actor, task).await?;
        Ok(loaded)
    }

    /// Applies a bundle of which everything is staged.
    async fn apply_staged(
        &self,
        accepted: &Accepted,
        mut stage: Stage,
        loaded: &mut Loaded,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<()> {
        let watch = Watcher { task: task.clone() };
        stage = blocking(move || {
            stage.finish(&watch)?;
            Ok(stage)
        })
        .await?;
        stage = self.unpatch(accepted, stage, task).await?;
        self.check_content(accepted, &stage, task).await?;
        self.apply(accepted, &stage, loaded, actor, task).await?;
        drop(stage);
        self.discard(accepted.bundle);
        loaded.applied = true;
        Ok(())
    }

    /// Forgets what was staged.
    fn discard(&self, bundle: Sha256Digest) {
        let _ = std::fs::remove_dir_all(self.stage_folder(bundle));
    }

    /// Checks the signature of a header before anything in it is parsed.
    async fn check_signature(&self, document: Vec<u8>, signature: String) -> Result<Accepted> {
        let keys = self.inner.catalog.trusted_keys().await?;
        let public: Vec<BundleKey> = keys.iter().map(|key| key.public).collect();
        let signer = BundleKey::verify_any(&public, "`bundle.json`", &document, &signature)?;
        let key = keys.iter().find(|key| key.public == signer).cloned();
        let key = key.ok_or_else(|| Error::not_found("trusted key", signer))?;
        let header = bundle::Header::decode(&document)?;
        Ok(Accepted { bundle: Sha256Digest::of(&document), header, document, signature, key })
    }
}

struct Watcher {
    task: TaskContext,
}

impl Watch for Watcher {
    fn bytes(&self, count: u64) -> Result<()> {
        self.task.checkpoint()?;
        if count > 0 {
            self.task.report(Progress::FileBytes { path: "volume".parse()?, bytes: count });
        }
        Ok(())
    }
}

fn open_regular(path: &Path) -> Result<File> {
    let what = path.display().to_string();
    let metadata = std::fs::symlink_metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::malformed("the bundle", "bundle-truncated", format!("`{what}` is missing"))
        }
        _ => Error::io(format!("read `{what}`"))(error),
    })?;
    if !metadata.is_file() {
        return Err(Error::malformed(what, "bundle-file", "it is not a regular file"));
    }
    File::open(path).map_err(Error::io(format!("read `{what}`")))
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::Untrusted {
        what: "the bundle".into(),
        reason: "its signature is not text".into(),
    })
}
