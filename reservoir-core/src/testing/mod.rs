<<<<<<< HEAD
//! What tests of the engine, of formats and of hosts are made of: conformance suites, a fault-injecting store
//! and a fault-injecting upstream.

pub mod memory;
pub mod upstream;
=======
//! Conformance suites, a fault-injecting store and a fault-injecting upstream.

pub mod fault_store;
pub mod store;
pub mod vandal;
>>>>>>> store
