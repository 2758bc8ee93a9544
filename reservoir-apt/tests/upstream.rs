//! Archives of others: what is read, what is left out, what is refused, and what it costs.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

#[path = "upstream/suites.rs"]
mod suites;
#[path = "upstream/trust.rs"]
mod trust;
#[path = "upstream/verbatim.rs"]
mod verbatim;

use reservoir_core::sync::SyncReport;
use serde_json::json;

use self::support::{
    archive::{SuiteFiles, World},
    deb::Deb,
};

fn hello() -> Deb {
    Deb::new("hello", "1.0-1", "amd64")
}

fn jq(version: &str) -> Deb {
    Deb::new("jq", version, "amd64")
}

fn has_alarm(report: &SyncReport, rule: &str) -> bool {
    report.alarms.iter().any(|alarm| alarm.contains(rule))
}

/// A suite with one package, in a world that mirrors it.
async fn one() -> (World, SuiteFiles) {
    let world = World::new(json!({})).await;
    let suite = SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]);
    world.suite(&suite);
    (world, suite)
}
