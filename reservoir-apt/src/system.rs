//! The archive that this machine's own apt is configured with (`url = "system"`).

use reservoir_core::{Error, Result, ecosystem::SystemRegistry};

#[expect(clippy::unused_async, reason = "it will read files")]
pub(crate) async fn system_registry() -> Result<SystemRegistry> {
    Err(Error::Unsupported { what: "url = \"system\"".into(), detail: "not yet".into() })
}
