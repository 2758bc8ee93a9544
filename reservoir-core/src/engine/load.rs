//! What arrives: bundles are verified as a whole, then taken in, then published here.

mod apply;
mod check;
mod inspect;
mod judge;
mod media;
mod place;
mod pull;
mod refs;
mod stream;
mod sweep;
mod trailer;
mod undone;
mod unpatch;

use std::{
    io::Read,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use self::check::Accepted;
pub use self::inspect::Inspected;
use super::{
    Engine,
    run::{Outcome, wait_for_lease},
    watch::Watcher,
};
use crate::{
    blocking,
    bundle::{self, BundleKey, Object, Stage},
    digest::Sha256Digest,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    task::{Progress, TaskContext, TaskHandle},
};

/// What one load has at a time.
pub(super) const LEASE: &str = "load";
/// How long a load waits for a garbage collection that sweeps what is staged.
const PATIENCE: Duration = Duration::from_secs(2);
/// Blobs that the store is asked for at the same time.
const ASKED_AT_ONCE: usize = 16;

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
    /// The numbers and labels of volumes that were damaged or lost, and made again from parity volumes.
    pub repaired: Vec<(u32, String)>,
    /// Refs that this place made itself and the sender too: they stay as they are here, `REPO@REF`, a hundred at most.
    pub kept_refs: Vec<String>,
    /// What was taken back here, by a rollback or a promotion, and is as the sender has it again: one line a repository.
    pub undone: Vec<String>,
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
        let fence = wait_for_lease(&self.inner.catalog, LEASE, PATIENCE).await?;
        task.keep(fence);
        self.sweep_stages().await?;
        match medium {
            Medium::Stream(input) => {
                let loaded = self.load_stream(input, dry_run, &actor, task).boxed().await?;
                Ok(vec![loaded])
            }
            Medium::Paths(paths) => {
                let found = blocking::run(move || bundle::find(&paths)).await?;
                self.load_files(found, dry_run, &actor, task).boxed().await
            }
        }
    }

    fn stage_folder(&self, bundle: Sha256Digest) -> PathBuf {
        self.inner.scratch.join("load").join(bundle.to_string())
    }

    async fn open_stage(&self, accepted: &Accepted) -> Result<Stage> {
        let folder = self.stage_folder(accepted.bundle);
        let (header, document) = (accepted.header.clone(), accepted.document.clone());
        let signature = accepted.signature.clone();
        blocking::run(move || Stage::open(folder, header, &document, &signature)).await
    }

    /// Refuses before the first byte what has no room where it waits, or where it is kept.
    fn check_room(&self, stage: &Stage, accepted: &Accepted) -> Result<()> {
        bundle::check_space(stage.folder(), stage.to_come().saturating_add(accepted.made()))?;
        let store = self.inner.store.staging();
        // Where both are one disk, what is staged is only named anew.
        if self.inner.store.capability().local && !is_one_disk(stage.folder(), &store) {
            bundle::check_space(&store, stage.needed().saturating_add(accepted.made()))?;
        }
        Ok(())
    }

    /// Finds out what of the bundle is new here.
    async fn prepare_stage(&self, mut stage: Stage, loaded: &mut Loaded) -> Result<Stage> {
        let store = self.inner.store.clone();
        let runtime = tokio::runtime::Handle::current();
        let stage = blocking::run(move || {
            stage.list(|batch: &[Object]| {
                runtime.block_on(async {
                    let stats = batch.iter().map(|object| async {
                        let stored = store.stat(&object.blob.sha256).await?;
                        Ok(stored.is_some_and(|stored| stored.size == object.blob.size))
                    });
                    futures::stream::iter(stats).buffered(ASKED_AT_ONCE).try_collect().await
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
        let (stage_back, missing) = blocking::run(move || {
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
            blocking::run(move || stage.keep_taken()).await?;
            return Err(media::without_trailer());
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
        task.report(Progress::Phase { name: "verify", total: None });
        stage = blocking::run(move || {
            stage.finish(&watch)?;
            Ok(stage)
        })
        .await?;
        stage = self.unpatch(accepted, stage, task).await?;
        task.report(Progress::Phase { name: "check", total: None });
        self.check_content(accepted, &stage, task).await?;
        self.apply(accepted, &stage, loaded, actor, task).await?;
        stage.discard();
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

fn is_one_disk(one: &Path, other: &Path) -> bool {
    let device = |folder: &Path| std::fs::metadata(folder).ok().map(|found| found.dev());
    device(one).is_some() && device(one) == device(other)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::Untrusted {
        what: "the bundle".into(),
        reason: "its signature is not text".into(),
    })
}
