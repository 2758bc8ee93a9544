//! What the tests of this crate share: a store in memory, packages made on the spot, snapshots made of them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod dist;
pub mod memory;
pub mod raw_zip;
pub mod site;
