//! A repository of many paths across the gap: memory must not grow with them.

use std::collections::BTreeMap;

use reservoir_core::{
    ecosystem::{Cursor, DiscoveredArtifact, DiscoveredFile, Inspection},
    lifecycle::{ArtifactLifecycle as _, Revision, Status, Transition},
    snapshot::InstanceKey,
    store::{Blob, StoreExt as _},
};
use tempfile::TempDir;

use crate::{
    Effort, Result,
    binary::{Home, Reservoir},
    bundle,
    site::{self, Site},
    table::{Table, time, verdict},
};

/// Most memory of ours while it works.
const MEMORY: u64 = 256 << 20;
/// Revisions of a project, each of one file.
const REVISIONS: usize = 500;
/// Bytes of a file.
const BYTES: usize = 1000;

/// # Errors
/// When anything fails.
pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let mut table = Table::new("Many paths across the gap", &["paths", "what", "time", "peak memory"]);
    for projects in effort.size([10, 40], [1, 2]) {
        let each = effort.size(REVISIONS, 3);
        let folder = TempDir::with_prefix("reservoir-bench")?;
        let outside = reservoir.init()?;
        hold(&outside, projects, each).await?;
        let inside = bundle::trusting(reservoir, &outside)?;
        let (media, have) = (folder.path().join("media"), folder.path().join("have.json"));
        let (media, have) = (media.display().to_string(), have.display().to_string());
        for (what, home, arguments) in [
            ("export", &outside, ["export", &media]),
            ("load", &inside, ["load", &media]),
            ("inventory", &inside, ["inventory", &have]),
        ] {
            let done = home.run(&arguments)?;
            table.row([
                (projects * each).to_string(),
                what.into(),
                time(done.seconds),
                format!("{} MiB, {}", done.peak_memory >> 20, verdict(done.peak_memory <= MEMORY, "256 MiB")),
            ]);
        }
    }
    table.note(format!(
        "Whole processes, once. {REVISIONS} revisions a project, each of one file of {BYTES} bytes."
    ));
    Ok(table)
}

/// Puts projects into the home's repository, as a sync would leave them, and publishes.
async fn hold(home: &Home, projects: usize, each: usize) -> Result<()> {
    let site = Site::open(home.folder(), false).await?;
    for number in 0..projects {
        let project = format!("project{number:04}");
        let mut files = Vec::with_capacity(each);
        for version in 0..each {
            let file = format!("{project}-1.{version}-py3-none-any.whl");
            let bytes = crate::wheel::noise(&file, BYTES);
            files.push((file, format!("1.{version}"), site.store.put_bytes(bytes.into()).await?));
        }
        make_available(&site, &project, &files).await?;
    }
    let key = InstanceKey::load(home.folder().join("keys/instance.key"))?;
    let engine = site.engine(key, &home.folder().join("scratch"))?;
    let name = &site.repository.config.name;
    engine.publish(name, site.actor.clone(), "files").await?.ok_or("there was nothing to publish")?;
    Ok(())
}

async fn make_available(site: &Site, project: &str, files: &[(String, String, Blob)]) -> Result<()> {
    let (catalog, repository) = (&site.catalog, site.repository.id);
    let mut found = DiscoveredArtifact {
        artifact: project.parse()?,
        cursor: Cursor::default(),
        attributes: BTreeMap::new(),
        quarantined: None,
        files: Vec::with_capacity(files.len()),
        skipped: Vec::new(),
    };
    for (file, version, blob) in files {
        found.files.push(DiscoveredFile {
            revision: version.parse()?,
            path: format!("{project}/{file}").parse()?,
            url: format!("http://127.0.0.1:9/{file}").parse()?,
            size: Some(blob.size),
            sha256: Some(blob.sha256),
            attributes: site::attributes(&blob.sha256),
            bytes: None,
        });
    }
    catalog.record_discovery(repository, &"index".parse()?, &found, &site.actor).await?;
    let mut revisions: Vec<Revision> = Vec::with_capacity(files.len());
    for (_, version, blob) in files {
        let revision = catalog.find_revision(repository, &found.artifact, &version.parse()?).await?;
        for file in catalog.files(revision.id).await? {
            catalog.store_file(file.id, blob, None).await?;
            let attributes = site::attributes(&blob.sha256);
            let inspection = Inspection { attributes, ..Inspection::default() };
            catalog.inspected_file(file.id, &inspection, &[], None).await?;
        }
        catalog.admit_files(revision.id, &[blob.sha256], None).await?;
        revisions.push(revision);
    }
    for to in [Status::Pulling, Status::Pulled, Status::Verifying, Status::Available] {
        let change = |revision: &Revision| Transition {
            revision: revision.id,
            from: revision.status,
            attempt: revision.attempt,
            to,
            actor: site.actor.clone(),
            reason: "bench".into(),
        };
        let changes: Vec<Transition> = revisions.iter().map(change).collect();
        revisions = catalog.transition(&changes, None).await?;
    }
    Ok(())
}
