//! One new file recorded in a repository of many: what it costs must not depend on how many.

use std::{collections::HashSet, time::Instant};

use futures::{StreamExt as _, stream};
use reservoir_core::{
    Engine,
    digest::Sha256Digest,
    ecosystem::{Cursor, DiscoveredArtifact, DiscoveredFile, Inspection},
    lifecycle::{ArtifactLifecycle as _, Status, Transition},
    snapshot::{InstanceKey, Snapshot},
    store::{Blob, StoreExt as _},
};
use tempfile::TempDir;

use crate::{
    Effort, Result,
    site::{self, Site},
    table::{Table, percent, time, verdict},
};

/// Files of a project; its page is written anew with each of them.
const FILES: usize = 500;

/// How much longer than in the smallest repository it may take in the largest.
const FLAT: f64 = 1.5;

/// What publishing one new file took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    seconds: f64,
    content_pages: usize,
    publication_pages: usize,
}

pub(crate) async fn run(effort: Effort) -> Result<Table> {
    let columns =
        ["paths", "content pages", "publish one file", "pages written", "of the smallest", "target"];
    let mut table = Table::new("One new file recorded (publish, every write durable)", &columns);
    let mut smallest = None;
    for paths in effort.size([1_000, 100_000, 1_000_000], [200, 400, 800]) {
        let folder = TempDir::with_prefix("reservoir-bench")?;
        let key = || InstanceKey::load(folder.path().join("instance.key"));
        InstanceKey::generate()?.save(folder.path().join("instance.key"))?;
        let fast = Site::open(folder.path(), false).await?;
        fast.publish(stream::iter((0..paths).map(numbered)).boxed(), &key()?).await?;
        drop(fast);
        // What was written without waiting must not weigh on the first that waits.
        std::process::Command::new("sync").status()?;

        let site = Site::open(folder.path(), true).await?;
        let engine = site.engine(key()?, &folder.path().join("scratch"))?;
        let (mut best, mut pages) = (None::<Cost>, 0);
        // The first warms the caches of a process that has just started.
        for round in 0..=effort.rounds {
            let (cost, total) = publish_one(&site, &engine, paths, round).await?;
            pages = total;
            if round > 0 && best.is_none_or(|best| cost.seconds < best.seconds) {
                best = Some(cost);
            }
        }
        let cost = best.ok_or("no round was run")?;
        let ratio = cost.seconds / *smallest.get_or_insert(cost.seconds);
        table.row([
            paths.to_string(),
            pages.to_string(),
            time(cost.seconds),
            format!("{} content, {} publication", cost.content_pages, cost.publication_pages),
            percent(ratio),
            verdict(ratio <= FLAT && cost.content_pages <= 2, "flat"),
        ]);
    }
    table.note(format!(
        "Best of {} after one to warm up. `Engine::publish` of a revision that has become AVAILABLE in a project of \
         {FILES} files: content page and root, the project's page in two languages and two codings, publication \
         page and root, signed record, ref.",
        effort.rounds
    ));
    Ok(table)
}

/// A file of the synthetic repository; they come in the order of their paths.
fn numbered(number: usize) -> reservoir_core::Result<reservoir_core::snapshot::Entry> {
    let project = project(number / FILES);
    let version = format!("1.{}", 1000 + number % FILES);
    let file = file_name(&project, &version);
    site::entry(&project, &file, &version, site::phantom(&file))
}

fn project(number: usize) -> String {
    format!("project{number:06}")
}

/// Makes one more revision of a project in the middle AVAILABLE, and publishes it. Also: content pages in all.
async fn publish_one(site: &Site, engine: &Engine, paths: usize, round: u32) -> Result<(Cost, usize)> {
    let project = project(paths / FILES / 2);
    let version = format!("2.{round}");
    let file = file_name(&project, &version);
    let blob = site.store.put_bytes(file.into()).await?;
    make_available(site, &project, &version, blob).await?;
    let before = site.catalog.resolve(site.repository.id, "main").await?;
    let name = &site.repository.config.name;
    // Two snapshots of a repository are a second apart: that wait is a rule, not a cost.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let started = Instant::now();
    let after = engine.publish(name, site.actor.clone(), "one file").await?;
    let seconds = started.elapsed().as_secs_f64();
    let after = after.ok_or("there was nothing to publish")?;
    let (content_pages, total) = new_pages(engine, &before, &after, |snapshot| snapshot.content).await?;
    let (publication_pages, _) = new_pages(engine, &before, &after, |snapshot| snapshot.publication).await?;
    Ok((Cost { seconds, content_pages, publication_pages }, total))
}

/// Pages that only the later snapshot has, and all of its pages.
async fn new_pages(
    engine: &Engine,
    before: &Snapshot,
    after: &Snapshot,
    root: impl Fn(&Snapshot) -> Sha256Digest,
) -> Result<(usize, usize)> {
    let known: HashSet<_> = engine.pages().open(root(before)).await?.pages().into_iter().collect();
    let pages = engine.pages().open(root(after)).await?.pages();
    Ok((pages.iter().filter(|page| !known.contains(page)).count(), pages.len()))
}

fn file_name(project: &str, version: &str) -> String {
    format!("{project}-{version}-py3-none-any.whl")
}

/// What a sync does for a new revision whose bytes are stored, up to the point where it may be served.
pub(crate) async fn make_available(site: &Site, project: &str, version: &str, blob: Blob) -> Result<()> {
    let catalog = &site.catalog;
    let file = file_name(project, version);
    let found = DiscoveredArtifact {
        artifact: project.parse()?,
        cursor: Cursor::default(),
        attributes: std::collections::BTreeMap::new(),
        quarantined: None,
        files: vec![DiscoveredFile {
            revision: version.parse()?,
            path: format!("{project}/{file}").parse()?,
            url: format!("http://127.0.0.1:9/{file}").parse()?,
            size: Some(blob.size),
            sha256: Some(blob.sha256),
            attributes: site::attributes(&blob.sha256),
            bytes: None,
        }],
        skipped: Vec::new(),
    };
    let repository = site.repository.id;
    catalog.record_discovery(repository, &"index".parse()?, &found, &site.actor).await?;
    let mut revision = catalog.find_revision(repository, &found.artifact, &version.parse()?).await?;
    for file in catalog.files(revision.id).await? {
        catalog.store_file(file.id, &blob, None).await?;
        let attributes = site::attributes(&blob.sha256);
        let inspection = Inspection { attributes, ..Inspection::default() };
        catalog.inspected_file(file.id, &inspection, &[], None).await?;
    }
    catalog.admit_files(revision.id, &[blob.sha256], None).await?;
    for to in [Status::Pulling, Status::Pulled, Status::Verifying, Status::Available] {
        let change = Transition {
            revision: revision.id,
            from: revision.status,
            attempt: revision.attempt,
            to,
            actor: site.actor.clone(),
            reason: "bench".into(),
        };
        revision = catalog.transition(&[change], None).await?.remove(0);
    }
    Ok(())
}
