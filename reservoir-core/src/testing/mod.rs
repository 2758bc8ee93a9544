//! What tests of the engine, of formats and of hosts are made of: conformance suites, a fault-injecting store
//! and a fault-injecting upstream.

pub mod catalog;
pub mod lifecycle;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod upstream;
