//! Taking over a repository from another Reservoir by network: the same bundle that would come on a medium, asked for
//! with this side's signed inventory, its blobs fetched one by one where they are not here.

use std::{fs::File, path::Path, time::Duration};

use futures::{FutureExt as _, TryStreamExt as _, future::BoxFuture, stream};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{Accepted, text};
use crate::{
    Engine, blocking,
    bundle::{
        self, Object, SIGNATURE_LIMIT, Stage,
        inventory::{Inventory, StreamState},
    },
    catalog::Repository,
    digest::Sha256Digest,
    ecosystem::Registry,
    engine::{run::wait_for_lease, share},
    error::{Error, Result},
    fetch::{DownloadOptions, Fetcher, PageOptions, PageOutcome},
    name::Actor,
    sync::{Depth, SyncReport},
    task::{Progress, TaskContext, TaskHandle},
};

/// How long a pull waits for a bundle that is being loaded.
const PATIENCE: Duration = Duration::from_mins(10);
/// Blobs that are fetched at a time.
const AT_ONCE: usize = 4;
/// The answer to the first question, in bytes.
const ANSWER: u64 = 4096;

/// What was worked out for this side.
#[derive(Debug, Deserialize)]
struct Planned {
    stream: Option<Uuid>,
    bundle: Option<Sha256Digest>,
}

impl Engine {
    /// Starts what a scan, import or sync means for a repository that another Reservoir has.
    pub(in crate::engine) async fn start_pull(
        &self,
        kind: &'static str,
        peer: Registry,
        repository: Repository,
        depth: Depth,
        specs: &[String],
        actor: Actor,
    ) -> Result<TaskHandle<SyncReport>> {
        if !specs.is_empty() {
            let detail = "a repository comes whole from another Reservoir; leave the names away";
            return Err(Error::invalid("SPEC", detail));
        }
        self.bundle_key()?;
        let (engine, target, by) = (self.clone(), repository.clone(), actor.clone());
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<SyncReport>> {
            Box::pin(async move { engine.run_pull(&peer, &target, depth, &actor, &task).await })
        };
        self.spawn(kind, Some(repository), json!({}), by, work).await
    }

    async fn run_pull(
        &self,
        peer: &Registry,
        target: &Repository,
        depth: Depth,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<SyncReport> {
        // One load at a time: what is staged and what is applied belong together.
        let fence = wait_for_lease(&self.inner.catalog, super::LEASE, PATIENCE).await?;
        task.keep(fence);
        self.sweep_stages().await?;
        let fetcher = self.inner.fetcher.scoped(peer, None)?;
        let mut report = SyncReport { asked: 1, ..SyncReport::default() };
        let Some((accepted, base)) = self.ask(peer, target, &fetcher).await? else {
            report.unchanged = 1;
            return Ok(report);
        };
        let mut loaded = accepted.report();
        if self.check_place(&accepted, None).await? {
            self.discard(accepted.bundle);
            report.unchanged = 1;
            return Ok(report);
        }
        let mut stage = self.open_stage(&accepted).await?;
        for (name, part) in
            [(bundle::OBJECTS, &accepted.header.objects), (bundle::RECORDS, &accepted.header.records)]
        {
            if !stage.has_part(name) {
                let place = stage.folder().join(format!("{name}.fetched"));
                fetch(&fetcher, &join(&base, name)?, &place, part.sha256, part.size).await?;
                stage = blocking::run(move || {
                    stage.take_part(
                        name,
                        &mut File::open(&place).map_err(Error::io("read what was fetched"))?,
                    )?;
                    std::fs::remove_file(&place).map_err(Error::io("remove what was fetched"))?;
                    Ok(stage)
                })
                .await?;
            }
        }
        stage = self.prepare_stage(stage, &mut loaded).await?;
        report.new_files = loaded.blobs;
        if depth == Depth::Scan {
            return Ok(report);
        }
        self.check_room(&stage, &accepted)?;
        // What says which blobs come is not fetched twice.
        stage = blocking::run(move || stage.keep().map(|()| stage)).await?;
        task.report(Progress::Phase { name: "pull", total: None });
        task.report(Progress::Expected { bytes: stage.needed() });
        let (stage, count) = fetch_blobs(stage, &fetcher, &base, task).await?;
        self.apply_staged(&accepted, stage, &mut loaded, actor, task).boxed().await?;
        (report.fetched_files, report.fetched_bytes) = (count, loaded.new_bytes);
        for repository in &loaded.repositories {
            report.admitted += repository.admitted;
            report.published = report.published.or(repository.snapshot);
        }
        // What waits for a person here is what a person must look at.
        report.alarms = loaded.waiting;
        Ok(report)
    }

    /// Shows what is here and is told what is new; the header of that, its signature checked, and where it lies.
    async fn ask(
        &self,
        peer: &Registry,
        target: &Repository,
        fetcher: &Fetcher,
    ) -> Result<Option<(Accepted, Url)>> {
        let unusable = || {
            Error::invalid(
                format!("registry `{}`", peer.name),
                "needs `url`: the address of the other Reservoir",
            )
        };
        let mut address = peer.url.clone().ok_or_else(unusable)?;
        if !address.path().ends_with('/') {
            address.set_path(&format!("{}/", address.path()));
        }
        let address = join(&address, share::SHARE.trim_start_matches('/'))?;
        let mut question = join(&address, &format!("plan/{}", target.config.name))?;
        let (document, signature) = self.position(target).await?;
        question.query_pairs_mut().append_pair("have", &document).append_pair("signature", &signature);
        let answer = page(fetcher, &question, ANSWER).await?;
        let planned: Planned = serde_json::from_slice(&answer).map_err(|error| {
            Error::malformed("the answer of the other Reservoir", "peer-answer", error.to_string())
        })?;
        let (Some(stream), Some(bundle)) = (planned.stream, planned.bundle) else { return Ok(None) };
        let base = join(&address, &format!("get/{stream}/{bundle}/"))?;
        let [document, signature] = share::FIRST;
        let document = page(fetcher, &join(&base, document)?, bundle::header::LIMIT as u64).await?;
        let signature = page(fetcher, &join(&base, signature)?, SIGNATURE_LIMIT as u64).await?;
        let accepted = self.check_signature(document, text(signature)?).await?;
        let foreign = accepted.header.refs.iter().find(|carried| carried.repository != target.config.name);
        if accepted.bundle != bundle || accepted.header.stream != stream || foreign.is_some() {
            let detail = "it is not the bundle that was asked for";
            return Err(Error::malformed("the answer of the other Reservoir", "peer-answer", detail));
        }
        Ok(Some((accepted, base)))
    }

    /// An inventory of the one stream that fills the repository: small enough for an address, as the blobs are compared
    /// here, and the other side knows by the header which refs it sent.
    async fn position(&self, target: &Repository) -> Result<(String, String)> {
        let catalog = &self.inner.catalog;
        let mut streams = Vec::new();
        if let Some(stream) = catalog.stream_of(target.id).await?
            && let Some(known) = catalog.arriving_stream(stream).await?
        {
            streams.push(StreamState {
                stream: known.stream,
                sequence: known.sequence,
                header: known.header,
                refs: Vec::new(),
                key: Some(known.public),
            });
        }
        let document = Inventory::new(catalog.clock().now(), streams).encode()?;
        let signature =
            self.bundle_key()?.sign(&document, &format!("what is here of {}", target.config.name));
        Ok((String::from_utf8_lossy(&document).into_owned(), signature))
    }
}

/// Fetches what has to come, some at a time; each goes on where it broke off, also in a later call.
async fn fetch_blobs(
    stage: Stage,
    fetcher: &Fetcher,
    base: &Url,
    task: &TaskContext,
) -> Result<(Stage, u64)> {
    let objects = stage.objects()?;
    let wanted = stream::try_unfold(objects, |mut objects| {
        let next = stage.next_wanted(&mut objects);
        async move { Ok::<_, Error>(next?.map(|object| (object, objects))) }
    });
    let runs = wanted.map_ok(|object: Object| {
        let stage = &stage;
        async move {
            task.checkpoint()?;
            let (blob, name) = (object.blob, object.blob.sha256.to_string());
            let place = stage.place(&blob);
            fetch(fetcher, &join(base, &name)?, &place, blob.sha256, blob.size).await?;
            task.report(Progress::FileBytes { path: name.parse()?, bytes: blob.size });
            task.report(Progress::FileDone { path: name.parse()?, size: blob.size, fetched: true });
            Ok::<_, Error>(())
        }
    });
    let count =
        runs.try_buffer_unordered(AT_ONCE).try_fold(0_u64, async |count, ()| Ok(count + 1)).boxed().await?;
    Ok((stage, count))
}

async fn fetch(fetcher: &Fetcher, url: &Url, dest: &Path, sha256: Sha256Digest, size: u64) -> Result<()> {
    let options = DownloadOptions::announced(Some(sha256), Some(size));
    fetcher.download(url, dest, options).await.map(drop)
}

async fn page(fetcher: &Fetcher, url: &Url, limit: u64) -> Result<Vec<u8>> {
    match fetcher.get_page(url, PageOptions { limit, ..PageOptions::default() }).await? {
        PageOutcome::Page(page) => Ok(page.body.to_vec()),
        PageOutcome::Missing | PageOutcome::NotModified => Err(Error::not_found(
            "repository on the other Reservoir (is it there, and does that one run `serve --share`?)",
            url.path(),
        )),
    }
}

fn join(base: &Url, path: &str) -> Result<Url> {
    base.join(path).map_err(|error| Error::invalid(format!("address `{path}`"), error.to_string()))
}
