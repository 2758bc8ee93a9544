//! By whom a registry's suites must be signed.

use std::path::Path;

use reservoir_core::{Error, Result, ecosystem::Registry, openpgp::Keyring};

use crate::{options::RegistryOptions, system};

/// The certificates that may sign for a registry: its keyring, or what this machine's apt trusts for its address.
///
/// # Errors
/// [`Error::Invalid`] when there is none, and what [`Keyring::load`] gives.
pub(super) async fn keyring(registry: &Registry, options: &RegistryOptions) -> Result<Keyring> {
    if let Some(path) = &options.keyring {
        if !path.is_absolute() {
            let detail = format!(
                "`{}` must be an absolute path, or relative to a file that is applied",
                path.display()
            );
            return Err(Error::invalid(format!("registry `{}`, key `keyring`", registry.name), detail));
        }
        return load(path).await;
    }
    let trusted = match &registry.url {
        Some(url) => system::keyring(url).await?,
        None => None,
    };
    trusted.ok_or_else(|| {
        Error::invalid(
            format!("registry `{}`", registry.name),
            "needs `keyring`: the file of certificates that sign its suites; this machine's apt is not configured with \
             its address, so there is nothing to trust",
        )
    })
}

async fn load(path: &Path) -> Result<Keyring> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || Keyring::load(path))
        .await
        .map_err(|error| Error::io("read a keyring")(std::io::Error::other(error)))?
}
