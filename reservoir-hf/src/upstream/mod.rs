//! Reading a Hub: what a ref points to, and what a commit lists. Nothing it says is believed unchecked.

mod api;
mod discover;
mod state;
mod tree;

pub use self::discover::discover;
