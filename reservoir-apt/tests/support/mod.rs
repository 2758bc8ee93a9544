//! What the tests share: small packages, a repository without an engine, a private root for apt.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    clippy::write_with_newline,
    reason = "plain words read better in tests"
)]
#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

pub mod archive;
pub mod deb;
pub mod root;
pub mod serve;
pub mod site;
