//! `volumes.json`: written last, so that one pass over the data is enough. It says which volume is damaged, and where.

use serde::{Deserialize, Serialize};

use super::{
    canonical,
    parity::ParitySums,
    version,
    volume::{HEAD, Layout, PIECE},
};
use crate::{
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
};

/// The largest trailer, in bytes: enough for 10 TB.
pub const LIMIT: usize = 128 << 20;

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSums {
    /// Its place, from 1.
    pub index: u32,
    /// What is written on its medium.
    pub label: String,
    /// Bytes of the file.
    pub size: u64,
    /// The digest of the file.
    pub sha256: Sha256Digest,
    /// The digests of each 8 MiB of the file, its head included.
    pub pieces: Vec<Blake3Digest>,
}

/// The trailer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// The version of the format.
    pub format: String,
    /// The SHA-256 of the header of its bundle.
    pub bundle: Sha256Digest,
    /// The volumes, in order.
    pub volumes: Vec<VolumeSums>,
    /// The parity volumes, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parity: Vec<ParitySums>,
}

impl Trailer {
    /// The bytes that are signed.
    pub fn encode(&self) -> Result<Vec<u8>> {
        canonical::encode("volumes.json", self)
    }

    /// Reads a trailer whose signature was checked, and holds it against the header.
    pub fn decode(bytes: &[u8], bundle: Sha256Digest, layout: &Layout) -> Result<Self> {
        let malformed = |detail: &str| Error::malformed("volumes.json", "bundle-trailer", detail);
        if bytes.len() > LIMIT {
            return Err(malformed("it is too long"));
        }
        let trailer: Self = canonical::decode("volumes.json", bytes)?;
        version::check("volumes.json", &trailer.format)?;
        if trailer.bundle != bundle {
            return Err(malformed("it belongs to another bundle"));
        }
        let agrees = trailer.volumes.len() as u64 == u64::from(layout.count)
            && trailer.volumes.iter().zip(1..).all(|(volume, index)| {
                volume.index == index
                    && volume.size == HEAD + layout.size(index)
                    && volume.pieces.len() as u64 == volume.size.div_ceil(PIECE)
            });
        let agrees = agrees && trailer.parity.iter().all(|sums| sums.size <= canonical::LARGEST);
        if !agrees {
            return Err(malformed("it has other volumes than the header says"));
        }
        Ok(trailer)
    }
}
