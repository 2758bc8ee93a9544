//! Project pages of other indexes: both forms of the [simple repository API], read into one.
//!
//! What is read is lenient as installers are (`null` for absent, unknown keys, one bad file among good ones),
//! because a mirror that is stricter than pip is of no use; what is *kept* is checked: names, addresses,
//! digests.
//!
//! [simple repository API]: https://packaging.python.org/en/latest/specifications/simple-repository-api/

mod discover;
mod html;
mod json;
mod page;

pub use self::discover::discover;
pub use self::page::{PageFile, ProjectPage, Yanked};
