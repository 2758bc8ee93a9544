//! Reading a Hub: what a ref points to, and what a commit lists. Nothing it says is believed unchecked.

mod api;
mod discover;
mod state;
mod tree;

pub use self::discover::discover;

/// Keys of what discovery writes on the record of a commit.
pub(crate) mod attribute {
    /// Full names of the refs that point to it, each with when that was first seen (microseconds since 1970).
    pub(crate) const REFS: &str = "refs";
    /// Of a repository in a cache: where all of the Hub's refs point.
    pub(crate) const ALL_REFS: &str = "refs";
    /// What is known of the commit itself: title, message, date, authors, parents.
    pub(crate) const COMMIT: &str = "commit";
}
