//! What leaves: a signed bundle of what a destination does not have yet.

mod known;
mod patch;
mod payload;
mod plan;
mod reach;
mod records;
mod resume;

use std::{path::PathBuf, time::Duration};

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    Engine,
    run::{Outcome, wait_for_lease},
    watch::Watcher,
};
use crate::{
    blocking,
    bundle::{CarriedRef, Header, Kind, Parity, StreamKey, Target, Writer},
    catalog::SentBundle,
    digest::Sha256Digest,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    task::{Progress, TaskContext, TaskHandle},
};

/// Names that are listed in a report.
const LISTED: usize = 100;

/// What the destination is taken to have.
#[derive(Debug, Default)]
pub enum Base {
    /// What the ledger says it was sent; nothing, the first time.
    #[default]
    Ledger,
    /// Nothing.
    Nothing,
    /// What it had after the bundle of that number.
    Since(u64),
    /// What its own signed inventory says: the document and its signature.
    Inventory(Vec<u8>, String),
}

/// What to export.
#[derive(Debug, Default)]
pub struct ExportOptions {
    /// The repositories; those of the bundle before when empty, all the first time.
    pub repositories: Vec<RepositoryName>,
    /// The destination: bundles of one site follow each other.
    pub site: String,
    /// What it is taken to have.
    pub base: Base,
    /// The size of a medium, in bytes; one volume when absent.
    pub volume_size: Option<u64>,
    /// Recovery volumes beside the others, in per cent of the payload, 1 to 100: so much of it may be damaged or lost on
    /// the way. They need a folder, and at most 200 volumes.
    pub parity: Option<u32>,
    /// How long the bundle is taken.
    pub expires: Option<Duration>,
    /// Sends every new blob as it is, also where a patch of what the destination has would be much smaller.
    pub whole_blobs: bool,
}

/// What an export made, or would make.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Exported {
    /// The destination.
    pub site: String,
    /// Its stream.
    pub stream: Uuid,
    /// The number of the bundle; `None` when there was nothing new to send.
    pub sequence: Option<u64>,
    /// The digest of its header.
    pub bundle: Option<Sha256Digest>,
    /// Whether it is full.
    pub full: bool,
    /// The refs it carries.
    pub refs: Vec<CarriedRef>,
    /// Blobs in it.
    pub blobs: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Blobs that travel as patches, and the bytes that this saves.
    pub patched: (u64, u64),
    /// Bytes of the two compressed files.
    pub metadata_bytes: u64,
    /// The labels of its volumes.
    pub volumes: Vec<String>,
    /// Its parity volumes.
    pub parity: u32,
    /// Bytes of all of them.
    pub parity_bytes: u64,
    /// Bytes that were written by an earlier run.
    pub resumed_at: u64,
    /// Revisions that travel as metadata only.
    pub metadata_only: u64,
    /// Those of them whose files were once here or were chosen, a hundred at most.
    pub missing: Vec<String>,
}

impl Outcome for Exported {
    fn is_complete(&self) -> bool {
        self.is_complete()
    }

    fn is_settled(&self) -> bool {
        true
    }
}

impl Exported {
    /// Whether everything that was expected is in it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

impl Engine {
    /// Writes a bundle of what the site does not have yet. The work is a task of the engine.
    ///
    /// Into a folder it goes on where an interrupted run stopped, byte for byte, when it is called again with the
    /// same folder, and the same options or none. The ledger moves only when the last byte is durable.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a key to sign with, [`Error::NoSpace`] before the first volume when it cannot fit,
    /// [`Error::Conflict`] for a folder that holds something else, or what other options began.
    pub async fn export(
        &self,
        options: ExportOptions,
        target: Target,
        actor: Actor,
    ) -> Result<TaskHandle<Exported>> {
        self.bundle_key()?;
        check_site(&options.site)?;
        if options.parity.is_some() && folder_of(&target).is_none() {
            let detail = "reads the volumes again, which a stream has passed on; name a folder";
            return Err(Error::invalid("`parity`", detail));
        }
        let engine = self.clone();
        let by = actor.clone();
        let payload = json!({ "site": options.site });
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<Exported>> {
            Box::pin(async move { Box::pin(engine.run_export(options, target, actor, &task)).await })
        };
        self.spawn("export", None, payload, by, work).await
    }

    /// What [`export`](Self::export) would write: sizes and media. Changes nothing but scratch files, and begins a
    /// stream where the site has none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the name of a site, a repository that nobody knows, or some repositories where a loss asks
    /// for all; [`Error::NotFound`] for a bundle of that number; [`Error::Untrusted`] for an inventory whose key is not
    /// trusted; [`Error::NoSpace`] for scratch files; those of store and catalog.
    pub async fn plan_export(&self, options: ExportOptions, actor: Actor) -> Result<Exported> {
        check_site(&options.site)?;
        let have = self.inventory_in(&options).await?;
        let stream = self.stream_for(&options, have.as_ref(), &actor).await?;
        let folder = self.inner.scratch.join("export").join(format!("plan-{}", Uuid::new_v4()));
        let planned = self.plan(&options, have, stream, folder.clone()).await;
        let _ = std::fs::remove_dir_all(&folder);
        Ok(match planned? {
            Ok(plan) => plan.report,
            Err(report) => *report,
        })
    }

    pub(super) fn bundle_key(&self) -> Result<&StreamKey> {
        self.inner.bundle_key.as_deref().ok_or_else(|| {
            Error::invalid(
                "bundles",
                "this engine has no key to sign them; give it one with `.bundle_key(…)`",
            )
        })
    }

    async fn run_export(
        &self,
        options: ExportOptions,
        target: Target,
        actor: Actor,
        task: &TaskContext,
    ) -> Result<Exported> {
        let catalog = &self.inner.catalog;
        let have = self.inventory_in(&options).await?;
        let stream = self.stream_for(&options, have.as_ref(), &actor).await?;
        let fence = wait_for_lease(catalog, &format!("export/{stream}"), Duration::ZERO).await?;
        task.keep(fence);
        let folder = self.inner.scratch.join("export").join(stream.to_string());
        let resumed = self.resume(stream, folder_of(&target), &options).await?;
        let (writer, mut report, fresh) = if let Some((writer, report)) = resumed {
            (writer, report, None)
        } else {
            task.report(Progress::Phase { name: "plan", total: None });
            let plan = match self.plan(&options, have, stream, folder.clone()).await? {
                Ok(plan) => plan,
                Err(report) => return Ok(*report),
            };
            check_space(&target, &plan.header)?;
            let bundle = SentBundle {
                stream,
                sequence: plan.header.sequence,
                header: Sha256Digest::of(&plan.header.encode()?),
                kind: plan.header.kind,
                refs: plan.refs,
                created_at: plan.header.created,
                finished: false,
            };
            let report = plan.report.clone();
            let have_digest = resume::digest(&options.base);
            let (records, objects) = (plan.folder.join("records"), plan.folder.join("objects"));
            let engine = self.clone();
            let writer = blocking::run(move || {
                let key = engine.bundle_key()?;
                let told = resume::keep(&plan.folder, &plan.report, bundle.header, have_digest)?;
                let mut writer = Writer::begin(target, plan.header, key, &records, &objects)?;
                writer.with(told);
                Ok(writer)
            })
            .await?;
            (writer, report, Some(bundle))
        };
        report.resumed_at = writer.position();
        let header = writer.header().clone();
        // In the ledger before its header has its name, so that what the bundle needs outlives an interruption. What has
        // no names until its end is written meanwhile.
        let begin = async {
            match &fresh {
                Some(bundle) => catalog.begin_bundle(bundle, &actor).await,
                None => Ok(()),
            }
        };
        let mut writer = if writer.ends_at_once() {
            let write = self.write_payload(writer, &folder, &header, task);
            let (entered, writer) = tokio::join!(begin, write);
            entered.and(writer)?
        } else {
            begin.await?;
            self.write_payload(writer, &folder, &header, task).await?
        };
        let bundle = writer.bundle();
        let engine = self.clone();
        if header.parity.is_some() {
            task.report(Progress::Phase { name: "parity", total: None });
            task.report(Progress::Expected { bytes: header.volumes.payload });
        }
        let watch = Watcher { task: task.clone() };
        blocking::run(move || {
            writer.add_parity(&watch)?;
            writer.finish(engine.bundle_key()?)
        })
        .await?;
        catalog.finish_bundle(stream, header.sequence, bundle, &actor).await?;
        let _ = std::fs::remove_dir_all(&folder);
        report.sequence = Some(header.sequence);
        report.bundle = Some(bundle);
        Ok(report)
    }
}

fn report_of(header: &Header) -> Exported {
    Exported {
        site: header.site.clone(),
        stream: header.stream,
        sequence: Some(header.sequence),
        full: header.kind == Kind::Full,
        refs: header.all_refs().cloned().collect(),
        blobs: header.objects.lines,
        bytes: header.volumes.payload,
        patched: (header.patches.len() as u64, 0),
        metadata_bytes: header.objects.size + header.records.size,
        parity: Parity::of(header).map_or(0, |parity| parity.added),
        parity_bytes: parity_bytes(header),
        volumes: (1..=header.volumes.count).map(|index| header.label(index)).collect(),
        ..Exported::default()
    }
}

fn parity_bytes(header: &Header) -> u64 {
    Parity::of(header).map_or(0, |parity| parity.size() * u64::from(parity.added))
}

pub(super) fn check_site(site: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if site.is_empty() || site.len() > 64 || !site.bytes().all(plain) {
        return Err(Error::invalid(
            "`site`",
            format!("`{site}` is not 1 to 64 letters, digits, `-`, `_` and `.`"),
        ));
    }
    Ok(())
}

fn folder_of(target: &Target) -> Option<PathBuf> {
    match target {
        Target::Folder(folder) => Some(folder.clone()),
        Target::Stream(_) => None,
    }
}

/// Refuses before the first byte what cannot fit.
fn check_space(target: &Target, header: &Header) -> Result<()> {
    let Target::Folder(folder) = target else { return Ok(()) };
    let folder = std::path::absolute(folder).map_err(Error::io(format!("find `{}`", folder.display())))?;
    // It is made with the first file.
    let there = folder.ancestors().find(|path| path.is_dir()).unwrap_or(&folder);
    let needed = header.volumes.payload + header.objects.size + header.records.size + parity_bytes(header);
    crate::bundle::check_space(there, needed)
}
