//! OpenPGP: our own signing keys and what is signed with them, and one policy for what registries sign.
//!
//! The library below checks mathematics only. What may sign, until when and how strongly is decided here, for every
//! format alike: SHA-256 or better; RSA from 2048 bits, ECDSA or `EdDSA`; no DSA; keys neither expired nor revoked;
//! subkeys only when bound both ways and meant for signing; pinned fingerprints where there are some.

mod certificate;
mod cleartext;
mod key;
mod keyring;
mod policy;
mod signer;
mod verify;

pub use self::{
    key::SigningKey,
    keyring::Keyring,
    signer::Signer,
    verify::{SignedBy, Trust, Verified},
};
