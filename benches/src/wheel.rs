//! Wheels of any size, right in every detail that inspection looks at.

use std::{
    fmt::Write as _,
    io::{Cursor, Write as _},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::Result;

const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// A wheel's name and bytes: one stored member of `size` bytes that do not compress, and the metadata.
pub(crate) fn wheel(project: &str, version: &str, size: usize) -> Result<(String, Vec<u8>)> {
    let info = format!("{project}-{version}.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n\nMade up.\n");
    let members = [
        (format!("{project}/data.bin"), noise(&format!("{project} {version}"), size)),
        (format!("{info}/METADATA"), metadata.into_bytes()),
        (format!("{info}/WHEEL"), WHEEL.as_bytes().to_vec()),
    ];
    let mut record = String::new();
    for (path, bytes) in &members {
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        writeln!(record, "{path},sha256={digest},{}", bytes.len())?;
    }
    writeln!(record, "{info}/RECORD,,")?;
    let mut writer = ZipWriter::new(Cursor::new(Vec::with_capacity(size + 4096)));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (path, bytes) in members.into_iter().chain([(format!("{info}/RECORD"), record.into_bytes())]) {
        writer.start_file(path, options)?;
        writer.write_all(&bytes)?;
    }
    Ok((format!("{project}-{version}-py3-none-any.whl"), writer.finish()?.into_inner()))
}

/// Bytes that look random, the same for the same seed (xorshift64*).
pub(crate) fn noise(seed: &str, size: usize) -> Vec<u8> {
    let digest = Sha256::digest(seed);
    let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    let mut state = u64::from_le_bytes(*first) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
