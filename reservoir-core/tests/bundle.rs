//! Bundles between two engines: what is refused, what is asked of what comes, and what happens when either side stops
//! anywhere.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod power;
mod world;

#[path = "bundle/decisions.rs"]
mod decisions;
#[path = "bundle/durability.rs"]
mod durability;
#[path = "bundle/forge.rs"]
mod forge;
#[path = "bundle/formats.rs"]
mod formats;
#[path = "bundle/gap.rs"]
mod gap;
#[path = "bundle/golden.rs"]
mod golden;
#[path = "bundle/hostile.rs"]
mod hostile;
#[path = "bundle/kill.rs"]
mod kill;
#[path = "bundle/ledger.rs"]
mod ledger;
#[path = "bundle/lost.rs"]
mod lost;
#[path = "bundle/media.rs"]
mod media;
#[path = "bundle/parity.rs"]
mod parity;
#[path = "bundle/policy.rs"]
mod policy;
#[path = "bundle/refs.rs"]
mod refs;
#[path = "bundle/resume.rs"]
mod resume;
#[path = "bundle/stream.rs"]
mod stream;
