//! Conformance suites, a fault-injecting store and a fault-injecting upstream.

pub mod memory;
pub mod upstream;
