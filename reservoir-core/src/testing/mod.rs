//! Conformance suites, a fault-injecting store and a fault-injecting upstream.

pub mod catalog;
pub mod lifecycle;
#[cfg(feature = "postgres")]
pub mod postgres;
