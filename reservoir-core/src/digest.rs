//! The two digests of every blob: SHA-256 is its identity, BLAKE3 lets any range be verified as it is read.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::Error;

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $label:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes the 32 raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(hex(&mut [0; 64], &self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($label, ":{}"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            /// Takes exactly 64 hexadecimal digits; upper case is accepted and folded.
            fn from_str(text: &str) -> Result<Self, Error> {
                let bytes = text.as_bytes();
                let nibble = |byte: u8| match byte {
                    b'0'..=b'9' => Some(byte - b'0'),
                    b'a'..=b'f' => Some(byte - b'a' + 10),
                    b'A'..=b'F' => Some(byte - b'A' + 10),
                    _ => None,
                };
                let mut out = [0; 32];
                if bytes.len() == 64 {
                    for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                        match (nibble(pair[0]), nibble(pair[1])) {
                            (Some(high), Some(low)) => *slot = high << 4 | low,
                            _ => return Err(bad($label, text)),
                        }
                    }
                    return Ok(Self(out));
                }
                Err(bad($label, text))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(hex(&mut [0; 64], &self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest! {
    /// SHA-256: the identity of a blob, everywhere.
    Sha256Digest, "sha256"
}

digest! {
    /// BLAKE3 root hash: anchors the tree that verifies ranges (see [`store::tree`](crate::store::tree)).
    Blake3Digest, "blake3"
}

/// 64 lower-case digits. Every line of a manifest has two of these: formatting byte by byte is ten times as slow.
fn hex<'t>(text: &'t mut [u8; 64], bytes: &[u8; 32]) -> &'t str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(text).expect("digits are ASCII")
}

fn bad(label: &str, text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::invalid(format!("{label} digest"), format!("`{shown}` is not 64 hexadecimal digits"))
}

impl Sha256Digest {
    /// Hashes bytes that are in memory already.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl From<sha2::Sha256> for Sha256Digest {
    fn from(hasher: sha2::Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl From<blake3::Hash> for Blake3Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_folds_case() {
        let digest = Sha256Digest::of(b"reservoir");
        let upper = digest.to_string().to_uppercase();
        assert_eq!(upper.parse::<Sha256Digest>().unwrap(), digest);
        let bytes: [u8; 32] = std::array::from_fn(|at| (at * 9) as u8);
        let plain = bytes.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(Sha256Digest::from_bytes(bytes).to_string(), plain);
        assert_eq!(serde_json::to_string(&Sha256Digest::from_bytes(bytes)).unwrap(), format!("\"{plain}\""));
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"ä".repeat(32)] {
            assert!(text.parse::<Sha256Digest>().is_err(), "{text}");
        }
    }
}
