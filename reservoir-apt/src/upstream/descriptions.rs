//! Long descriptions, which archives keep apart from their packages, in `i18n/Translation-en`.
//!
//! A stanza of `Packages` names its description by an MD5, which is a key here and proves nothing: the file it leads into
//! has a signed digest. The text stays on disk; memory holds some forty bytes for each description.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use reservoir_core::{Error, Result};

use super::{
    index::{Fetched, Index},
    reading::open,
};
use crate::control::{Piece, Stanza};

/// Most bytes of one description.
const LIMIT: usize = 64 << 10;

/// The descriptions of one component, by their MD5.
#[derive(Debug)]
pub(super) struct Descriptions {
    file: File,
    places: HashMap<[u8; 16], (u64, u32)>,
}

impl Descriptions {
    /// Reads them into a file of `folder`. Blocks. Those that cannot be read are left out: a package does without.
    ///
    /// # Errors
    /// Those of reading an index: damage, other bytes than are listed, too many of them.
    pub(super) fn read(index: &Index, fetched: &Fetched, folder: &Path) -> Result<Self> {
        let failed = || Error::io("keep descriptions");
        let mut out = BufWriter::new(tempfile::tempfile_in(folder).map_err(failed())?);
        let mut places = HashMap::new();
        let mut end = 0;
        let mut reading = open(index, fetched)?;
        while let Some(piece) = reading.next()? {
            let Piece::Stanza(bytes) = piece else { continue };
            let Ok(stanza) = Stanza::parse(bytes) else { continue };
            let Some(md5) = stanza.get("Description-md5").and_then(key) else { continue };
            if bytes.len() > LIMIT || stanza.get("Description-en").is_none() {
                continue;
            }
            out.write_all(bytes).map_err(failed())?;
            places.insert(md5, (end, bytes.len() as u32));
            end += bytes.len() as u64;
        }
        reading.finish()?;
        let file = out.into_inner().map_err(|error| failed()(error.into_error()))?;
        Ok(Self { file, places })
    }

    /// The stanza of a description.
    pub(super) fn find(&self, md5: &str) -> Result<Option<String>> {
        let Some(&(offset, length)) = key(md5).and_then(|md5| self.places.get(&md5)) else { return Ok(None) };
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(Error::io("read a description"))?;
        let text =
            String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        text.map(Some).map_err(Error::io("read a description"))
    }
}

fn key(md5: &str) -> Option<[u8; 16]> {
    if md5.len() != 32 || !md5.is_ascii() {
        return None;
    }
    let mut key = [0; 16];
    for (byte, at) in key.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&md5[at..at + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_are_read_or_passed_over() {
        assert_eq!(key("000102030405060708090a0b0c0d0e0f").map(|key| key[15]), Some(15));
        for wrong in ["", "00", "000102030405060708090a0b0c0d0e0g", "é00102030405060708090a0b0c0d0e0"] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
