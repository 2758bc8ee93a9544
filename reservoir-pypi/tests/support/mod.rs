//! What the tests of this crate share: packages made on the spot, snapshots made of them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

pub mod dist;
pub mod raw_zip;
pub mod site;
