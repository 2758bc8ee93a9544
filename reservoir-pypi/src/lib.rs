//! Python packages for Reservoir.

mod index;
mod metadata;
mod package;
mod record;
mod respond;
mod setup;
mod system;

/// The normal form of a valid project name (PEP 503).
fn normal_form(name: &str) -> Option<String> {
    Some(name.to_lowercase())
}
