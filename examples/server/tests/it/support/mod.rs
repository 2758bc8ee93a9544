//! What the tests of the binary share: a home, a fixture index, real clients.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

pub mod client;
#[path = "../../../../../reservoir-pypi/tests/support/dist.rs"]
pub mod dist;
pub mod home;
#[path = "../../../../../reservoir-hf/tests/support/hub.rs"]
pub mod hub;
pub mod hub_client;
pub mod index;
#[path = "../../../../../reservoir-pypi/tests/support/raw_zip.rs"]
pub mod raw_zip;
pub mod web;
pub mod wire;
