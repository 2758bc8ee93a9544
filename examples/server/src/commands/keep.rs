//! check, verify, gc, backup, rebuild.

use std::{path::Path, time::Duration};

use reservoir_core::{
    BrokenPackage, CheckedTarget, Engine, Error, RestoredStream, Result, Retention,
    name::{Actor, RepositoryName},
};

use crate::{
    durable,
    home::Home,
    output::{
        BackupOutput, BrokenRow, CheckOutput, CheckedTargetRow, DamagedRow, GcOutput, RebuildOutput,
        VerifyOutput,
    },
};

pub(crate) async fn check(engine: &Engine, name: &RepositoryName) -> Result<CheckOutput> {
    let checked = engine.check(name).await?;
    let broken = |broken: BrokenPackage| BrokenRow {
        package: broken.package,
        artifact: broken.of.as_ref().map(|of| of.artifact.to_string()),
        revision: broken.of.as_ref().map(|of| of.revision.to_string()),
        why: broken.why.0.iter().map(ToString::to_string).collect(),
    };
    let target = |target: CheckedTarget| CheckedTargetRow {
        target: target.target,
        packages: target.packages as u64,
        checked: target.checked as u64,
        broken: target.broken.into_iter().map(broken).collect(),
        notes: target.notes,
    };
    Ok(CheckOutput {
        repository: checked.repository.to_string(),
        snapshot: checked.snapshot,
        targets: checked.targets.into_iter().map(target).collect(),
    })
}

pub(crate) async fn verify(engine: &Engine, deep: bool) -> Result<VerifyOutput> {
    let report = engine.verify(deep).await?;
    Ok(VerifyOutput {
        referenced: report.referenced,
        hashed: report.hashed,
        bytes: report.bytes,
        audit_records: report.audit_records,
        damaged: report
            .damaged
            .into_iter()
            .map(|damage| DamagedRow {
                sha256: damage.sha256.to_string(),
                problem: damage.problem,
                used_by: damage.used_by,
            })
            .collect(),
    })
}

pub(crate) async fn gc(engine: &Engine, generations: u64, days: u64, grace: u64) -> Result<GcOutput> {
    let retention = Retention {
        generations,
        age: Duration::from_secs(days.saturating_mul(86400)),
        grace: Duration::from_secs(grace.saturating_mul(60)),
    };
    let collected = engine.collect_garbage(retention).await?;
    Ok(GcOutput {
        snapshots: collected.snapshots,
        live: collected.live,
        condemned: collected.condemned,
        deleted: collected.deleted,
        leftovers: collected.leftovers,
    })
}

pub(crate) async fn backup(home: &Home, engine: &Engine, dir: &Path) -> Result<BackupOutput> {
    let failed = |path: &Path| Error::io(format!("write `{}`", path.display()));
    // Keys lie in it.
    durable::private_folder(dir).map_err(failed(dir))?;
    let catalog = dir.join("catalog.sqlite");
    if catalog.exists() {
        return Err(Error::Conflict {
            what: format!("`{}`", catalog.display()),
            detail: "it holds a backup already; name an empty folder".into(),
        });
    }
    engine.backup_catalog(&catalog).await?;
    let mut files = vec![catalog];
    for source in home.key_files()? {
        if let Some(name) = source.file_name() {
            let target = dir.join(name);
            durable::copy(&source, &target).map_err(failed(&target))?;
            files.push(target);
        }
    }
    durable::sync(dir).map_err(failed(dir))?;
    Ok(BackupOutput { files: files.into_iter().map(|file| file.display().to_string()).collect() })
}

/// A stream for people.
fn stream(row: &RestoredStream) -> String {
    match (row.sequence, &row.key) {
        (Some(sequence), Some(key)) => {
            format!("{}: bundle {sequence} was the last; trust its key again ({})", row.stream, key.name())
        }
        _ => format!("{}: trust its key again, and load a full bundle", row.stream),
    }
}

pub(crate) async fn rebuild(engine: &Engine, actor: &Actor) -> Result<RebuildOutput> {
    let rebuilt = engine.rebuild(actor).await?;
    Ok(RebuildOutput {
        repositories: rebuilt.repositories.iter().map(ToString::to_string).collect(),
        snapshots: rebuilt.snapshots,
        files: rebuilt.files,
        dangling: rebuilt.dangling,
        decisions: rebuilt.decisions,
        forgotten: rebuilt.forgotten,
        streams: rebuilt.streams.iter().map(stream).collect(),
        skipped: rebuilt.skipped.iter().map(|one| format!("{}: {}", one.repository, one.reason)).collect(),
    })
}
