//! What is verified and durable: blobs get their names, and how far each volume was taken is noted.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use super::{CHECKPOINT, Stage, Watch, unfinished, write_state, wrong};
use crate::{
    bundle::{hashing::Hashed, objects::Object, space::sync_all},
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, PutOptions, hash, tree},
};

impl Stage {
    pub(super) fn hear(&mut self) -> Result<()> {
        while let Some(hashed) = self.hashing.poll() {
            self.heard(hashed)?;
        }
        Ok(())
    }

    pub(super) fn heard(&mut self, (index, blob, tree): Hashed) -> Result<()> {
        let Some(object) = self.pending.remove(&index) else { return Ok(()) };
        self.verify(&object, blob, &tree)
    }

    /// Holds a hashed blob against the list; its file gets its name at the next checkpoint.
    pub(super) fn verify(&mut self, object: &Object, found: Blob, tree: &tree::Tree) -> Result<()> {
        if found != object.blob {
            let _ = fs::remove_file(self.part_path(&object.blob.sha256));
            self.distrust(object)?;
            return Err(wrong(&self.header, object, &found.sha256));
        }
        if tree::is_stored(found.size) {
            let path = self.tree_path(&found.sha256);
            fs::write(&path, tree.encode()).map_err(Error::io(format!("write `{}`", path.display())))?;
        }
        self.verified.push(found);
        Ok(())
    }

    /// Volumes with a part of a blob have to come again from where it begins.
    pub(super) fn take_again(&mut self, object: &Object) {
        self.missing = None;
        let layout = self.header.volumes;
        let last = layout.place(object.at + object.blob.size.saturating_sub(1)).0;
        for index in layout.place(object.at).0..=last {
            let start = layout.extent(index).start;
            if let Some(taken) = self.state.volumes.get_mut(&index) {
                *taken = (*taken).min(object.at.saturating_sub(start));
            }
        }
    }

    /// The same for a blob that is wrong, noted.
    pub(super) fn distrust(&mut self, object: &Object) -> Result<()> {
        self.settle()?;
        self.take_again(object);
        self.write_state()
    }

    /// Makes what is staged durable and notes it, beside the reading.
    pub(super) fn note(&mut self, index: u32, taken: u64) -> Result<()> {
        self.settle()?;
        self.state.volumes.insert(index, taken);
        let (folder, state) = (self.folder.clone(), self.state.clone());
        let unnamed = std::mem::take(&mut self.unnamed);
        let verified = std::mem::take(&mut self.verified);
        let names: Vec<_> = verified
            .iter()
            .map(|blob| (self.part_path(&blob.sha256), self.blob_path(&blob.sha256)))
            .collect();
        self.checkpoint = Some(std::thread::spawn(move || {
            sync_all(&folder)?;
            name_all(&folder, &unnamed)?;
            for (part, path) in names {
                fs::rename(&part, &path).map_err(Error::io(format!("rename to `{}`", path.display())))?;
            }
            write_state(&folder, &state)
        }));
        Ok(())
    }

    /// The last of the volumes is taken, and little has come since the checkpoint before: what comes next is to give
    /// every blob its name in the store, which makes it durable there. A run that stops before reads this again.
    pub(super) fn note_the_last(&mut self, index: u32, taken: u64) -> Result<()> {
        self.settle()?;
        self.state.volumes.insert(index, taken);
        self.make_ready();
        Ok(())
    }

    /// Makes durable, and notes, what [`note_the_last`](Self::note_the_last) left to the store: the bundle cannot be
    /// applied in this run, and the next is given other media.
    pub(crate) fn keep_taken(&mut self) -> Result<()> {
        self.settle()?;
        sync_all(&self.folder)?;
        let ready = std::mem::take(&mut self.ready);
        let verified = std::mem::take(&mut self.verified).into_iter().map(|blob| blob.sha256);
        for sha256 in ready.iter().copied().chain(verified) {
            let path = self.blob_path(&sha256);
            fs::rename(self.part_path(&sha256), &path)
                .map_err(Error::io(format!("rename to `{}`", path.display())))?;
        }
        self.write_state()
    }

    fn make_ready(&mut self) {
        let verified = std::mem::take(&mut self.verified);
        Arc::make_mut(&mut self.ready).extend(verified.into_iter().map(|blob| blob.sha256));
    }

    /// Has the disk begin with what was written, so that it has less to do when it is waited for.
    pub(super) fn begin_flush(&mut self) -> Result<()> {
        if self.checkpoint.is_some() || self.flush.as_ref().is_some_and(|flush| !flush.is_finished()) {
            return Ok(());
        }
        self.end_flush()?;
        let folder = self.folder.clone();
        self.flush = Some(std::thread::spawn(move || sync_all(&folder)));
        Ok(())
    }

    /// The system tells of a failed write once, and may have told that thread.
    fn end_flush(&mut self) -> Result<()> {
        wait(self.flush.take())
    }

    /// Waits for the checkpoint that is being made.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.end_flush()?;
        wait(self.checkpoint.take())
    }

    /// Keeps what a next run needs that is given volumes only.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let unnamed = std::mem::take(&mut self.unnamed);
        if unnamed.is_empty() {
            return Ok(());
        }
        sync_all(&self.folder)?;
        name_all(&self.folder, &unnamed)
    }

    /// Removes everything: it is applied, or not wanted.
    pub(crate) fn discard(mut self) {
        let _ = self.settle();
        self.unnamed.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }

    pub(super) fn write_state(&self) -> Result<()> {
        write_state(&self.folder, &self.state)
    }

    /// Hashes what could not be hashed as it came: blobs whose parts came out of order or in several runs.
    pub(crate) fn finish(&mut self, watch: &dyn Watch) -> Result<()> {
        self.settle()?;
        let mut objects = self.objects()?;
        while let Some(object) = objects.next()? {
            let part = self.part_path(&object.blob.sha256);
            let sha256 = &object.blob.sha256;
            let is_known = self.ready.contains(sha256) || self.blob_path(sha256).exists();
            if !self.is_wanted(object.index) || is_known || !part.exists() {
                continue;
            }
            let file = File::open(&part).map_err(Error::io(format!("read `{}`", part.display())))?;
            let options = PutOptions::default();
            let (blob, tree) =
                hash::hash_file_watched(&file, &part, &options, &mut |read| watch.bytes(read))?;
            self.verify(&object, blob, &tree)?;
        }
        if self.verified.iter().map(|blob| blob.size).sum::<u64>() < CHECKPOINT {
            self.make_ready();
            return Ok(());
        }
        sync_all(&self.folder)?;
        for blob in std::mem::take(&mut self.verified) {
            let path = self.blob_path(&blob.sha256);
            fs::rename(self.part_path(&blob.sha256), &path)
                .map_err(Error::io(format!("rename to `{}`", path.display())))?;
        }
        Ok(())
    }

    /// A staged blob, open.
    pub(crate) fn opened(&self, sha256: &Sha256Digest) -> Result<File> {
        let path = self.verified_path(sha256);
        File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::malformed("the bundle", "bundle-incomplete", format!("blob `{sha256}` is not in it"))
            }
            _ => Error::io(format!("read `{}`", path.display()))(error),
        })
    }

    /// Takes a blob that was made at its [`place`](Self::place), if it is that blob.
    pub(crate) fn take_made(&mut self, blob: &Blob, watch: &dyn Watch) -> Result<()> {
        let part = self.part_path(&blob.sha256);
        let failed = || Error::io(format!("read `{}`", part.display()));
        let file = File::open(&part).map_err(failed())?;
        let options = PutOptions::default();
        let (found, tree) = hash::hash_file_watched(&file, &part, &options, &mut |read| watch.bytes(read))?;
        if found != *blob {
            let _ = fs::remove_file(&part);
            return Err(Error::Integrity {
                what: format!("blob `{}`, made by its patch", blob.sha256),
                expected: format!("{} ({} bytes)", blob.sha256, blob.size),
                actual: format!("{} ({} bytes)", found.sha256, found.size),
            });
        }
        if tree::is_stored(found.size) {
            let path = self.tree_path(&found.sha256);
            fs::write(&path, tree.encode()).map_err(Error::io(format!("write `{}`", path.display())))?;
        }
        if found.size < CHECKPOINT {
            Arc::make_mut(&mut self.ready).insert(blob.sha256);
            return Ok(());
        }
        // To make it once more would take its time.
        file.sync_all().map_err(failed())?;
        fs::rename(&part, self.blob_path(&blob.sha256)).map_err(failed())
    }
}

fn wait(thread: Option<std::thread::JoinHandle<Result<()>>>) -> Result<()> {
    match thread {
        Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        None => Ok(()),
    }
}

/// Gives small files their names, in this order.
fn name_all(folder: &Path, names: &[&str]) -> Result<()> {
    names.iter().try_for_each(|name| {
        let path = folder.join(name);
        fs::rename(folder.join(unfinished(name)), &path)
            .map_err(Error::io(format!("rename to `{}`", path.display())))
    })
}
