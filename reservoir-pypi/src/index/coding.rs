//! Pages as they are kept: compressed as they are written, with gzip and with zstd.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use flate2::{Compression, write::GzEncoder};
use reservoir_core::{Error, Result, blocking, snapshot::IndexWriter};

use super::{SERIAL, SIZE};

/// Bytes collected before they are compressed, off the reactor.
const BATCH: usize = 128 << 10;

/// zstd's level: half of gzip's time at gzip's size.
const ZSTD_LEVEL: i32 = 6;

/// One of the two paths under which a page is kept; both are written together.
pub(super) fn encoded(path: &str) -> String {
    format!("{path}.gz")
}

/// A page being written. Equal text gives equal bytes: no time and no name in the gzip header, one thread.
pub(super) struct Page {
    batch: Vec<u8>,
    gzip: GzEncoder<Vec<u8>>,
    zstd: zstd::Encoder<'static, Vec<u8>>,
    size: u64,
}

impl Page {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            batch: Vec::with_capacity(BATCH + 4096),
            gzip: GzEncoder::new(Vec::new(), Compression::default()),
            zstd: zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(failed)?,
            size: 0,
        })
    }

    /// Where the next bytes of the page go.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.batch
    }

    /// Compresses what was collected, once it is worth it.
    pub(super) async fn settle(self) -> Result<Self> {
        if self.batch.len() < BATCH {
            Ok(self)
        } else {
            blocking::run(move || self.compress().map_err(failed)).await
        }
    }

    fn compress(mut self) -> io::Result<Self> {
        self.gzip.write_all(&self.batch)?;
        self.zstd.write_all(&self.batch)?;
        self.size += self.batch.len() as u64;
        self.batch.clear();
        Ok(self)
    }

    /// Puts both codings into the publication.
    pub(super) async fn put(self, path: &str, serial: u64, out: &mut IndexWriter<'_>) -> Result<()> {
        let finish = move || {
            let page = self.compress().map_err(failed)?;
            Ok((page.gzip.finish().map_err(failed)?, page.zstd.finish().map_err(failed)?, page.size))
        };
        let (gzip, zstd, size) = blocking::run(finish).await?;
        let attributes = BTreeMap::from([(SERIAL.to_owned(), serial.into()), (SIZE.to_owned(), size.into())]);
        out.put(format!("{path}.gz").parse()?, gzip.into(), attributes.clone()).await?;
        out.put(format!("{path}.zst").parse()?, zstd.into(), attributes).await
    }
}

fn failed(source: io::Error) -> Error {
    Error::io("compress a page")(source)
}
