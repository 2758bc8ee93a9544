//! What the tests of the binary share: a home, a fixture index, real clients.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::write_with_newline,
    reason = "plain words read better in tests"
)]
#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

pub mod apt;
pub mod client;
#[path = "../../../../../reservoir-apt/tests/support/deb.rs"]
pub mod deb;
pub mod disk;
#[path = "../../../../../reservoir-pypi/tests/support/dist.rs"]
pub mod dist;
pub mod home;
#[path = "../../../../../reservoir-hf/tests/support/hub.rs"]
pub mod hub;
pub mod hub_client;
pub mod index;
#[path = "../../../../../reservoir-pypi/tests/support/raw_zip.rs"]
pub mod raw_zip;
#[path = "../../../../../reservoir-apt/tests/support/root.rs"]
pub mod root;
pub mod tls;
pub mod web;
pub mod wire;
