//! OpenPGP: our own signing keys, and what is signed with them.

mod key;
mod signer;

pub use self::{key::SigningKey, signer::Signer};
