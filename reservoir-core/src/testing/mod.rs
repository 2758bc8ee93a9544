//! Conformance suites, a fault-injecting store and a fault-injecting upstream.

pub mod fault_store;
pub mod store;
pub mod vandal;
