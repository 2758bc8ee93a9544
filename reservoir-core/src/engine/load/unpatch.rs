//! Making the blobs that travelled as patches, of what is here and what has come.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write as _},
};

use super::Accepted;
use crate::{
    Engine, blocking,
    bundle::{BlobReader, Recipe, Run, Stage},
    engine::watch::Watcher,
    error::{Error, Result},
    store::Blob,
    task::{Progress, TaskContext},
};

impl Engine {
    /// Makes what neither the store nor the stage has yet. The patches stay staged until the bundle is applied, so
    /// that an interrupted load can begin this again.
    pub(super) async fn unpatch(
        &self,
        accepted: &Accepted,
        mut stage: Stage,
        task: &TaskContext,
    ) -> Result<Stage> {
        if !accepted.header.patches.is_empty() {
            task.report(Progress::Phase { name: "patch", total: Some(accepted.header.patches.len() as u64) });
        }
        for patched in accepted.header.patches.clone() {
            let stored = self.inner.store.stat(&patched.blob.sha256).await?;
            if stored.is_some_and(|stored| stored.size == patched.blob.size)
                || stage.staged(&patched.blob).is_some()
            {
                continue;
            }
            task.checkpoint()?;
            let (engine, runtime) = (self.clone(), tokio::runtime::Handle::current());
            let task = task.clone();
            stage = blocking::run(move || {
                let open = |base: &Blob, offset: u64, length: u64| {
                    task.checkpoint()?;
                    let bytes = runtime.block_on(engine.inner.store.read(base, offset..offset + length));
                    let bytes = bytes.map_err(|error| missing(base, error))?;
                    Ok(BlobReader::new(runtime.clone(), bytes))
                };
                let patch = stage.opened(&patched.patch)?;
                let place = stage.place(&patched.blob);
                let out = File::create(&place).map_err(Error::io(format!("write `{}`", place.display())))?;
                make(BufReader::new(patch), &patched.blob, &open, out)?;
                stage.take_made(&patched.blob, &Watcher { task: task.clone() })?;
                Ok(stage)
            })
            .await?;
        }
        Ok(stage)
    }
}

fn missing(base: &Blob, error: Error) -> Error {
    match error {
        Error::NotFound { .. } => {
            let detail =
                format!("a patch builds on blob `{}`, which is not here; export with `--full`", base.sha256);
            Error::malformed("the bundle", "bundle-incomplete", detail)
        }
        error => error,
    }
}

/// Writes the pieces one after the other.
fn make(
    mut patch: BufReader<File>,
    blob: &Blob,
    open: &dyn Fn(&Blob, u64, u64) -> Result<BlobReader>,
    out: File,
) -> Result<()> {
    let recipe = Recipe::read(&mut patch, blob)?;
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let failed = || Error::io("make a blob of a patch");
    for run in &recipe.runs {
        let length = run.length();
        let copied = match *run {
            Run::New { .. } => std::io::copy(&mut (&mut patch).take(length), &mut out),
            Run::Base { base, offset, .. } => {
                std::io::copy(&mut open(&recipe.bases[usize::from(base)], offset, length)?, &mut out)
            }
        };
        if copied.map_err(failed())? != length {
            return Err(Error::malformed("a patch", "bundle-patch", "it ends before its end"));
        }
    }
    let mut rest = [0];
    if patch.read(&mut rest).map_err(failed())? > 0 {
        return Err(Error::malformed("a patch", "bundle-patch", "something is hidden behind its end"));
    }
    out.flush().map_err(failed())
}
