//! The names of the facts that are kept with files; they are part of what is stored.

/// Of a file: the id of the git object.
pub(crate) const OID: &str = "oid";
/// Of a file: digest, size and length of the pointer, where git has a pointer.
pub(crate) const LFS: &str = "lfs";
/// Of `README.md`: that its commit has nothing to make a tokenizer of.
pub(crate) const LACKS_TOKENIZER: &str = "lacks-tokenizer";
/// Of `README.md`, looked into: the card, as JSON text.
pub(crate) const CARD: &str = "card";
/// Of `config.json`, looked into: `model_type` and `architectures`.
pub(crate) const CONFIG: &str = "config";
/// Of a commit's record: full names of the refs that point to it, each with when that was first seen (microseconds since
/// 1970).
pub(crate) const REFS: &str = "refs";
/// Of a repository in a cache: where all of the Hub's refs point.
pub(crate) const ALL_REFS: &str = "refs";
/// Of a commit's record: what is known of the commit itself: title, message, date, authors, parents.
pub(crate) const COMMIT: &str = "commit";
