//! Python packages.

pub mod depends;
pub mod filename;
mod marker;
pub mod name;
pub mod options;
pub mod requirement;
pub mod select;
pub mod tags;
pub mod target;
pub mod upstream;
pub mod version;
