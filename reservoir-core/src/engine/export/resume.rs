//! Going on with a bundle that an earlier run began: it stays what it was asked to be.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Base, ExportOptions, Exported, report_of};
use crate::{
    Engine, blocking,
    bundle::{Header, Kind, Layout, Writer, read_small},
    digest::Sha256Digest,
    error::{Error, Result},
};

/// What the plan told, in the scratch folder of an export.
const TOLD: &str = "told.json";

/// What a header does not say of its bundle.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    bundle: Sha256Digest,
    /// The digest of the inventory that it was made for, if it was.
    #[serde(default)]
    have: Option<Sha256Digest>,
    metadata_only: u64,
    missing: Vec<String>,
    saved: u64,
}

/// Keeps what a plan told, for the runs that go on with its bundle; the file is not durable yet.
pub(super) fn keep(
    folder: &Path,
    report: &Exported,
    bundle: Sha256Digest,
    have: Option<Sha256Digest>,
) -> Result<File> {
    let Exported { metadata_only, ref missing, patched: (_, saved), .. } = *report;
    let told = Told { bundle, have, metadata_only, missing: missing.clone(), saved };
    let bytes = serde_json::to_vec(&told).map_err(|error| Error::invalid(TOLD, error.to_string()))?;
    let failed = || Error::io(format!("write `{}`", folder.join(TOLD).display()));
    let mut file = File::create(folder.join(TOLD)).map_err(failed())?;
    file.write_all(&bytes).map_err(failed())?;
    Ok(file)
}

/// The digest of the inventory that a base is.
pub(super) fn digest(base: &Base) -> Option<Sha256Digest> {
    match base {
        Base::Inventory(document, _) => Some(Sha256Digest::of(document)),
        _ => None,
    }
}

impl Engine {
    /// The unfinished bundle that the folder holds, if the ledger knows it.
    pub(super) async fn resume(
        &self,
        stream: Uuid,
        folder: Option<PathBuf>,
        options: &ExportOptions,
    ) -> Result<Option<(Writer, Exported)>> {
        let Some(folder) = folder else { return Ok(None) };
        let unfinished = self.inner.catalog.sent_bundles(stream, 1).await?;
        let Some(unfinished) = unfinished.into_iter().find(|bundle| !bundle.finished) else {
            return Ok(None);
        };
        let scratch = self.inner.scratch.join("export").join(stream.to_string());
        let engine = self.clone();
        let (source, kept) = (folder.clone(), scratch.clone());
        let writer = blocking::run(move || {
            let writer = Writer::resume(&source, unfinished.header, engine.bundle_key()?)?;
            if writer.is_some() {
                // The list in the bundle is the one to go by.
                std::fs::create_dir_all(&kept).map_err(Error::io("make a scratch folder"))?;
                std::fs::copy(source.join(crate::bundle::OBJECTS), kept.join("objects"))
                    .map_err(Error::io("copy the list of objects"))?;
            }
            Ok(writer)
        })
        .await?;
        let Some(writer) = writer else { return Ok(None) };
        let told = told(&scratch, unfinished.header);
        if let Some(other) = disagreement(options, writer.header(), told.as_ref()) {
            return Err(Error::Conflict {
                what: format!("`{}`", folder.display()),
                detail: format!(
                    "it holds an unfinished bundle that was begun with {other}; go on with the same options or \
                     none, or name an empty folder"
                ),
            });
        }
        let mut report = report_of(writer.header());
        match told {
            Some(told) => {
                (report.metadata_only, report.missing) = (told.metadata_only, told.missing);
                report.patched.1 = told.saved;
            }
            None => {
                tracing::warn!("the scratch folder was emptied: what the bundle lacks is not known any more");
            }
        }
        Ok(Some((writer, report)))
    }
}

fn told(scratch: &Path, bundle: Sha256Digest) -> Option<Told> {
    let bytes = read_small(&scratch.join(TOLD), 1 << 20).ok()?;
    let told: Told = serde_json::from_slice(&bytes).ok()?;
    (told.bundle == bundle).then_some(told)
}

/// What options ask for that a bundle is not. They say nothing of what they leave away.
fn disagreement(options: &ExportOptions, header: &Header, told: Option<&Told>) -> Option<&'static str> {
    let named: BTreeSet<_> = options.repositories.iter().collect();
    let carried: BTreeSet<_> = header.refs.iter().map(|carried| &carried.repository).collect();
    let layout = |size| Layout::new(header.volumes.payload, Some(size)).ok();
    // Where nobody knows any more whether blobs were left away, it is not what was asked for.
    let has_inventory = told.map(|told| told.have);
    let is_other_base = match &options.base {
        Base::Ledger => false,
        Base::Inventory(..) => has_inventory != Some(digest(&options.base)),
        Base::Nothing => header.kind != Kind::Full || has_inventory != Some(None),
        Base::Since(sequence) => {
            header.kind == Kind::Full || header.follows != Some(*sequence) || has_inventory != Some(None)
        }
    };
    let others = [
        (!named.is_empty() && named != carried, "other repositories"),
        (is_other_base, "another base"),
        (options.volume_size.is_some_and(|size| layout(size) != Some(header.volumes)), "another volume size"),
        (options.parity.is_some_and(|percent| header.parity != Some(percent)), "another parity"),
        (
            options.expires.is_some_and(|life| header.expires != Some(header.created.plus(life))),
            "another expiry",
        ),
        (options.whole_blobs && !header.patches.is_empty(), "patches"),
    ];
    others.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
}
