//! OpenPGP: our own signing key.

mod key;

pub use self::key::SigningKey;
