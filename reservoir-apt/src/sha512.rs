//! SHA-512, which some archives list alone: as text, and of what is stored.

use std::{fmt, str::FromStr};

use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    store::{Blob, Store},
};
use sha2::{Digest as _, Sha512};

/// A SHA-512 digest; written in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha512Digest([u8; 64]);

impl Sha512Digest {
    /// The digest of a stored blob, read in pieces.
    pub(crate) async fn of_blob(store: &dyn Store, blob: &Blob) -> Result<Self> {
        let mut hasher = Sha512::new();
        let mut bytes = store.read(blob, 0..blob.size).await?;
        while let Some(chunk) = bytes.try_next().await? {
            hasher.update(&chunk);
        }
        Ok(hasher.into())
    }
}

impl From<Sha512> for Sha512Digest {
    fn from(hasher: Sha512) -> Self {
        Self(hasher.finalize().into())
    }
}

impl FromStr for Sha512Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let shown: String = text.chars().take(140).collect();
            Error::invalid("SHA-512 digest", format!("`{shown}` is not 128 hexadecimal digits"))
        };
        if text.len() != 128 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        let mut bytes = [0; 64];
        for (byte, at) in bytes.iter_mut().zip((0..128).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Sha512Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha512Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_in_any_case_and_written_in_lower() {
        let text = Sha512Digest::from(Sha512::new()).to_string();
        assert!(text.starts_with("cf83e1357eefb8bd"), "{text}");
        assert_eq!(text.to_uppercase().parse::<Sha512Digest>().unwrap().to_string(), text);
        for wrong in ["", "cf83", &text.replace('c', "g"), &"é".repeat(64)] {
            assert!(wrong.parse::<Sha512Digest>().is_err(), "{wrong}");
        }
    }
}
