//! What may run when somebody loads a model: one look at a file's bytes, whatever it is called.
//!
//! [`ModelFiles`] goes into every container it knows, and judges what it finds there:
//!
//! | bytes | verdict |
//! |---|---|
//! | a pickle, also within an array, a compressed stream or any member of an archive | clean if all it imports is on the allow-list and nothing else could run |
//! | safetensors, GGUF | clean if the header holds to the rules, with nothing missing, doubled or left over |
//! | Keras with Python code or foreign classes, TorchScript, programs | finding |
//! | archives that two programs would read differently, or a ZIP at the end of something else | finding |
//! | encrypted, of an unknown method, cut short, beyond [`Limits`], 7z and other archives without a reader | incomplete |
//! | anything else | clean |
//!
//! Code that runs only where somebody asks for it — Python files, notebooks, `auto_map`, chat templates — is no
//! finding of the scanner: [`labels`] tells the approver.
//!
//! Nothing is loaded, nothing is unpacked to disk; a pickle is followed operation by operation on a stack that
//! holds no values, only what is known of them. Memory does not grow with the file.

mod compressed;
mod gguf;
mod input;
mod keras;
mod labels;
mod look;
mod npy;
mod onnx;
mod pickle;
mod protobuf;
mod report;
mod safetensors;
mod saved_model;
mod status;
mod tar;
mod zip;

use std::io;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    archive::read_blocking,
    gate::{Scanner, Subject, Verdict},
    name::EcosystemId,
    path::ContentPath,
    store::StoreExt as _,
};

use self::{
    input::{Input, TAIL, end_record},
    look::{Place, Scan},
};
pub use self::{labels::labels, look::Limits, status::security_file_status};

/// Bytes by which a file is told from others where its end is looked at.
const HEAD: usize = 64 << 10;

/// The scanner of model files.
///
/// It goes by the bytes alone: names change nothing, as its verdict is kept for the bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelFiles {
    limits: Limits,
}

impl ModelFiles {
    /// Its name among scanners.
    pub const ID: &'static str = "model-files";

    /// With other limits than the default ones. They belong to its rules: verdicts under others are not used.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits }
    }
}

#[async_trait]
impl Scanner for ModelFiles {
    fn id(&self) -> &'static str {
        Self::ID
    }

    async fn rules(&self) -> Result<String> {
        let Limits { depth, members, ratio, expanded } = self.limits;
        Ok(format!("{}-{depth}-{members}-{ratio}-{expanded}", pickle::names::VERSION))
    }

    /// Models and datasets only: a Python package is code by nature.
    fn judges(&self, ecosystem: &EcosystemId) -> bool {
        ecosystem.as_str() == crate::ID
    }

    /// Readers of these formats take numbers and text, and nothing of a file that is cut short. Whatever else has such
    /// a name is found out before its end leaves.
    fn lets_follow(&self, path: &ContentPath) -> bool {
        const DATA: [&str; 10] =
            ["safetensors", "gguf", "parquet", "arrow", "csv", "tsv", "jsonl", "json", "txt", "md"];
        let name = path.file_name();
        name.rsplit_once('.').is_some_and(|(_, ending)| DATA.contains(&ending))
    }

    async fn scan(&self, subject: &Subject<'_>) -> Result<Verdict> {
        let (store, blob, limits) = (subject.store, subject.blob, self.limits);
        let start = blob.size.saturating_sub(TAIL);
        let tail: Vec<_> = store.read(blob, start..blob.size).await?.try_collect().await?;
        let ends_as_zip = end_record(&tail.concat(), start).is_some();
        drop(tail);
        let bytes = store.read_all(blob).await?;
        let size = blob.size;
        read_blocking(bytes, move |mut source| {
            let mut scan = Scan::new(limits, size);
            let looked = whole(&mut scan, &mut source, size, ends_as_zip);
            if let Some(failure) = source.take_failure() {
                return Err(failure);
            }
            looked.map_err(Error::io("look at a model file"))?;
            Ok(scan.report.verdict())
        })
        .await
    }
}

/// Looks at the file itself.
fn whole(scan: &mut Scan, source: &mut dyn io::Read, size: u64, ends_as_zip: bool) -> io::Result<()> {
    let place = Place::file();
    let mut input = Input::new(source);
    if ends_as_zip {
        let head = input.peek(HEAD)?;
        scan.look_at_end(head, &place);
    }
    if let Err(error) = scan.look(&mut input, &place, Some(size)) {
        scan.report.incomplete(&place.shown(), error.to_string());
    }
    Ok(())
}
