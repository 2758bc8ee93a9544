//! The engine of Reservoir: verified, content-addressed, immutable repositories of packages and models.

pub mod archive;
pub mod catalog;
pub mod clock;
pub mod depends;
pub mod digest;
pub mod ecosystem;
mod engine;
mod error;
pub mod fetch;
pub mod gate;
pub mod lifecycle;
pub mod name;
pub mod openpgp;
pub mod path;
mod secret;
pub mod serve;
pub mod snapshot;
pub mod store;
pub mod sync;
pub mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use self::{
    engine::{
        CleanupReport, Collected, Damaged, Engine, EngineBuilder, Health, Limits, Rebuilt, Retention,
        Verified,
    },
    error::{Cause, Error, ErrorKind, Result},
};
