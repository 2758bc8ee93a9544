//! What tests of the engine, of formats and of hosts are made of.

mod memory;

pub use self::memory::MemoryStore;
