//! Making parity volumes of a bundle whose volumes are written.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use reed_solomon_simd::ReedSolomonEncoder;
use sha2::{Digest as _, Sha256};

use super::{Geometry, ParitySums, file_name, label, short};
use crate::{
    bundle::{
        header::Header,
        stage::Watch,
        volume::{self, HEAD},
    },
    digest::Sha256Digest,
    error::{Error, Result},
};

/// One parity volume being written.
struct Out {
    index: u32,
    file: BufWriter<File>,
    sha256: Sha256,
}

impl Out {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sha256.update(bytes);
        self.file.write_all(bytes).map_err(|error| self.failed()(error))
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(format!("write `{}`", file_name(self.index)))
    }
}

/// Reads the volumes in `folder` once more and writes the parity volumes beside them, durable; what an interrupted run
/// left is written anew. Memory does not depend on the payload. Blocks.
pub(crate) fn encode(
    folder: &Path,
    header: &Header,
    bundle: Sha256Digest,
    watch: &dyn Watch,
) -> Result<Vec<ParitySums>> {
    let Some(geometry) = Geometry::of(header) else { return Ok(Vec::new()) };
    let open = |index: u32| {
        let path = folder.join(volume::file_name(index));
        File::open(&path).map_err(Error::io(format!("read `{}`", path.display())))
    };
    let volumes: Vec<File> = (1..=geometry.layout.count).map(open).collect::<Result<_>>()?;
    let mut outs = Vec::with_capacity(geometry.added as usize);
    for index in 1..=geometry.added {
        let path = folder.join(file_name(index));
        let file = File::create(&path).map_err(Error::io(format!("create `{}`", path.display())))?;
        let mut out = Out { index, file: BufWriter::new(file), sha256: Sha256::new() };
        out.write(&geometry.head(header, bundle, index)?)?;
        outs.push(out);
    }
    let mut piece = vec![0; geometry.piece as usize];
    let mut list = Vec::with_capacity(geometry.list() as usize);
    for stripe in 0..geometry.stripes() {
        let piece = &mut piece[..geometry.length(stripe) as usize];
        let mut encoder =
            ReedSolomonEncoder::new(geometry.columns as usize, geometry.added as usize, piece.len())
                .map_err(unfit)?;
        list.clear();
        for column in 0..geometry.columns {
            read(&geometry, &volumes, stripe, column, piece)?;
            list.extend_from_slice(&short(piece));
            encoder.add_original_shard(&*piece).map_err(unfit)?;
            let extent = geometry.extent(stripe, column);
            watch.bytes(extent.end - extent.start)?;
        }
        let made = encoder.encode().map_err(unfit)?;
        for (out, added) in outs.iter_mut().zip(made.recovery_iter()) {
            let mut own = blake3::Hasher::new();
            own.update(&list).update(added);
            out.write(own.finalize().as_bytes())?;
            out.write(&list)?;
            out.write(added)?;
        }
    }
    let size = geometry.size();
    let finish = |mut out: Out| {
        out.file.flush().map_err(out.failed())?;
        out.file.get_ref().sync_all().map_err(out.failed())?;
        let label = label(header, out.index, geometry.added);
        Ok(ParitySums { index: out.index, label, size, sha256: out.sha256.into() })
    };
    outs.into_iter().map(finish).collect()
}

/// Fills a piece from the volumes; behind the end of the payload with zeros.
fn read(geometry: &Geometry, volumes: &[File], stripe: u64, column: u32, piece: &mut [u8]) -> Result<()> {
    let extent = geometry.extent(stripe, column);
    piece[(extent.end - extent.start) as usize..].fill(0);
    for (index, offset, part) in geometry.parts(extent) {
        volumes[index as usize - 1]
            .read_exact_at(&mut piece[part], HEAD + offset)
            .map_err(Error::io(format!("read volume {index} again")))?;
    }
    Ok(())
}

/// What the library refuses follows from numbers that were checked before.
pub(super) fn unfit(error: reed_solomon_simd::Error) -> Error {
    Error::invalid("`parity`", error.to_string())
}
