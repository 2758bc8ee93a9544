//! Reading a registry: signed suites, their indexes, the packages they list.

use reservoir_core::{
    Error, Result,
    ecosystem::{Discover, DiscoverySink},
};

/// Lists what a registry offers.
///
/// # Errors
/// Not there yet.
#[expect(clippy::unused_async, reason = "it will ask the registry")]
pub async fn discover(_request: Discover<'_>, _sink: &mut dyn DiscoverySink) -> Result<()> {
    Err(Error::Unsupported { what: "reading apt registries".into(), detail: "not yet".into() })
}
