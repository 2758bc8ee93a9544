//! What tests of the engine, of formats and of hosts are made of: conformance suites, a fault-injecting store
//! and a fault-injecting upstream.

pub mod archives;
pub mod batch;
pub mod catalog;
#[cfg(feature = "sqlite")]
pub mod ecosystem;
pub mod fault_store;
pub mod lifecycle;
pub mod line;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod scanner;
pub mod store;
pub mod toy;
pub mod upstream;
pub mod vandal;
