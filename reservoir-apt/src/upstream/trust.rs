//! By whom a registry's suites must be signed.

use std::path::Path;

use reservoir_core::{Error, Result, blocking, ecosystem::Registry, openpgp::Keyring};

use crate::{options::RegistryOptions, system};

/// Who may sign for a registry.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) keyring: Keyring,
    /// Fingerprints of those in it that may, in upper case; empty means all.
    pub(super) pins: Vec<String>,
}

/// The certificates that may sign for a registry: its keyring, or what this machine's apt trusts for its address. The
/// registry's `keys` narrow either.
///
/// # Errors
/// [`Error::Invalid`] when there is none, and what [`Keyring::load`] gives.
pub(super) async fn trusted(registry: &Registry, options: &RegistryOptions) -> Result<Trusted> {
    let own = |keyring| Trusted { keyring, pins: options.keys.clone() };
    if let Some(path) = &options.keyring {
        if !path.is_absolute() {
            let detail = format!(
                "`{}` must be an absolute path, or relative to a file that is applied",
                path.display()
            );
            return Err(Error::invalid(format!("registry `{}`, key `keyring`", registry.name), detail));
        }
        return load(path).await.map(own);
    }
    let trusted = match &registry.url {
        Some(url) => system::keyring(url).await?,
        None => None,
    };
    let (keyring, pins) = trusted.ok_or_else(|| {
        Error::invalid(
            format!("registry `{}`", registry.name),
            "needs `keyring`: the file of certificates that sign its suites; this machine's apt is not configured with \
             its address, so there is nothing to trust",
        )
    })?;
    Ok(if options.keys.is_empty() { Trusted { keyring, pins } } else { own(keyring) })
}

async fn load(path: &Path) -> Result<Keyring> {
    let path = path.to_owned();
    blocking::run(move || Keyring::load(path)).await
}
