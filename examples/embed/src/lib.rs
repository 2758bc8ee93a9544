//! What a host adds to the engine. The program beside this library shows how it embeds the engine itself.

mod deny;

pub use self::deny::DenyByDigest;
