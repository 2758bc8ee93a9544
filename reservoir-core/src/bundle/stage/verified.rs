//! What is verified and durable: blobs get their names, and how far each volume was taken is noted.

use std::fs::{self, File};

use super::{Stage, Watch, write_state, wrong};
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

    /// Volumes with a part of a wrong blob have to come again from where it begins.
    pub(super) fn distrust(&mut self, object: &Object) -> Result<()> {
        self.settle()?;
        let layout = self.header.volumes;
        let last = layout.place(object.at + object.blob.size.saturating_sub(1)).0;
        for index in layout.place(object.at).0..=last {
            let start = layout.extent(index).start;
            if let Some(taken) = self.state.volumes.get_mut(&index) {
                *taken = (*taken).min(object.at.saturating_sub(start));
            }
        }
        self.write_state()
    }

    /// Makes what is staged durable and notes it, beside the reading.
    pub(super) fn note(&mut self, index: u32, taken: u64) -> Result<()> {
        self.settle()?;
        self.state.volumes.insert(index, taken);
        let (folder, state) = (self.folder.clone(), self.state.clone());
        let verified = std::mem::take(&mut self.verified);
        let names: Vec<_> = verified
            .iter()
            .map(|blob| (self.part_path(&blob.sha256), self.blob_path(&blob.sha256)))
            .collect();
        self.checkpoint = Some(std::thread::spawn(move || {
            sync_all(&folder)?;
            for (part, path) in names {
                fs::rename(&part, &path).map_err(Error::io(format!("rename to `{}`", path.display())))?;
            }
            write_state(&folder, &state)
        }));
        Ok(())
    }

    /// Waits for the checkpoint that is being made.
    pub(super) fn settle(&mut self) -> Result<()> {
        match self.checkpoint.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
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
            if !self.is_wanted(object.index) || self.blob_path(&object.blob.sha256).exists() || !part.exists()
            {
                continue;
            }
            watch.bytes(0)?;
            let file = File::open(&part).map_err(Error::io(format!("read `{}`", part.display())))?;
            let (blob, tree) = hash::hash_file(&file, &part, &PutOptions::default())?;
            self.verify(&object, blob, &tree)?;
        }
        let verified = std::mem::take(&mut self.verified);
        if verified.is_empty() {
            // Every blob got its name at a checkpoint.
            return Ok(());
        }
        sync_all(&self.folder)?;
        for blob in verified {
            let path = self.blob_path(&blob.sha256);
            fs::rename(self.part_path(&blob.sha256), &path)
                .map_err(Error::io(format!("rename to `{}`", path.display())))?;
        }
        Ok(())
    }

    /// A staged blob, open.
    pub(crate) fn opened(&self, sha256: &Sha256Digest) -> Result<File> {
        let path = self.blob_path(sha256);
        File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::malformed("the bundle", "bundle-incomplete", format!("blob `{sha256}` is not in it"))
            }
            _ => Error::io(format!("read `{}`", path.display()))(error),
        })
    }

    /// Takes a blob that was made at its [`place`](Self::place), if it is that blob.
    pub(crate) fn take_made(&mut self, blob: &Blob) -> Result<()> {
        let part = self.part_path(&blob.sha256);
        let failed = || Error::io(format!("read `{}`", part.display()));
        let file = File::open(&part).map_err(failed())?;
        let (found, tree) = hash::hash_file(&file, &part, &PutOptions::default())?;
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
        file.sync_all().map_err(failed())?;
        fs::rename(&part, self.blob_path(&blob.sha256)).map_err(failed())
    }
}
