//! Reading registries over HTTP.

/// TODO
#[derive(Debug, Clone)]
pub struct Fetcher {}
