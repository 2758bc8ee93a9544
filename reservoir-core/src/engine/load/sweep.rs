//! Stages of bundles that nobody goes on with.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{
    Engine, blocking,
    bundle::{Header, Stage},
    digest::Sha256Digest,
    error::{Error, Result},
};

/// What nobody touched for so long is given up: long enough for media that come by post, one after the other.
const ABANDONED: Duration = Duration::from_hours(30 * 24);

impl Engine {
    /// Removes stages that were given up, and those of bundles that their streams have left behind. Whoever calls this
    /// holds the lease of loads, so that none is in use.
    pub(in crate::engine) async fn sweep_stages(&self) -> Result<u64> {
        let streams = self.inner.catalog.arriving_streams().await?;
        let streams = streams.into_iter().map(|stream| (stream.stream, stream.sequence)).collect();
        let folder = self.inner.scratch.join("load");
        blocking::run(move || sweep(&folder, &streams, SystemTime::now())).await
    }
}

fn sweep(folder: &Path, streams: &HashMap<Uuid, u64>, now: SystemTime) -> Result<u64> {
    let failed = || Error::io(format!("sweep `{}`", folder.display()));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed()(error)),
    };
    let mut removed = 0;
    for entry in entries {
        let stage = entry.map_err(failed())?.path();
        let is_stage = stage.file_name().and_then(|name| name.to_str()).is_some_and(is_digest);
        if is_stage && (is_abandoned(&stage, now) || is_behind(&stage, streams)) {
            tracing::info!(stage = %stage.display(), "nobody goes on with this bundle; what was staged goes");
            fs::remove_dir_all(&stage).map_err(failed())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_digest(name: &str) -> bool {
    name.parse::<Sha256Digest>().is_ok()
}

/// Whether nothing in it was made, renamed or noted for long. A folder is as young as the last file that came into it.
fn is_abandoned(stage: &Path, now: SystemTime) -> bool {
    let below = fs::read_dir(stage).into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = below
        .chain([stage.to_owned()])
        .filter_map(|path| fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok())
        .max();
    newest.is_some_and(|newest| now.duration_since(newest).is_ok_and(|idle| idle >= ABANDONED))
}

/// Whether its stream has applied that bundle, or one behind it: it is never taken again.
fn is_behind(stage: &Path, streams: &HashMap<Uuid, u64>) -> bool {
    let header = Stage::kept(stage).and_then(|(document, _)| Header::decode(&document));
    header.is_ok_and(|header| streams.get(&header.stream).is_some_and(|last| header.sequence <= *last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_from_time_to_time_stays() {
        let folder = tempfile::tempdir().unwrap();
        let stage = |name: &[u8]| folder.path().join(Sha256Digest::of(name).to_string());
        for name in [&b"left"[..], b"used"] {
            fs::create_dir_all(stage(name).join("blobs")).unwrap();
        }
        fs::create_dir(folder.path().join("another's")).unwrap();
        let later = SystemTime::now() + ABANDONED + Duration::from_hours(1);
        let touched = fs::File::open(stage(b"used").join("blobs")).unwrap();
        touched.set_modified(later - Duration::from_hours(24)).unwrap();
        assert_eq!(sweep(folder.path(), &HashMap::new(), SystemTime::now()).unwrap(), 0);
        assert_eq!(sweep(folder.path(), &HashMap::new(), later).unwrap(), 1);
        assert!(!stage(b"left").exists() && stage(b"used").exists());
        assert!(folder.path().join("another's").exists());
        assert_eq!(sweep(&folder.path().join("none"), &HashMap::new(), later).unwrap(), 0);
    }
}
