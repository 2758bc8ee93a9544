//! What a user pastes so that apt uses a repository.

use std::fmt::Write as _;

use reservoir_core::ecosystem::{ClientSetup, RepositoryConfig};
use url::Url;

use crate::{
    options::{Options, View},
    upstream::UPSTREAM_KEYRING,
};

/// A deb822 source, and the commands that put it and our key into place.
pub(crate) fn client_setup(repository: &RepositoryConfig, base: &Url) -> ClientSetup {
    let options = Options::of(repository).unwrap_or_default();
    let mut address = base.clone();
    address.set_query(None);
    address.set_fragment(None);
    address.set_path(&format!("{}/{}/", base.path().trim_end_matches('/'), repository.name));

    let short = format!("reservoir-{}", repository.name.as_str().replace('/', "-"));
    let keyring = format!("/etc/apt/keyrings/{short}.asc");
    let file = format!("{short}.sources");
    let mut source = String::new();
    let types = if options.sources { "deb deb-src" } else { "deb" };
    let _ = writeln!(source, "Types: {types}\nURIs: {address}");
    let names: Vec<String> = options.suites.iter().map(ToString::to_string).collect();
    let suites = if names.is_empty() { "stable".to_owned() } else { names.join(" ") };
    let _ = writeln!(source, "Suites: {suites}");
    if !options.suites.iter().any(crate::name::Suite::is_flat) {
        let names: Vec<&str> = options.components.iter().map(AsRef::as_ref).collect();
        let components = if names.is_empty() { "main".to_owned() } else { names.join(" ") };
        let _ = writeln!(source, "Components: {components}");
    }
    let architectures: Vec<&str> = options.architectures.iter().map(AsRef::as_ref).collect();
    if !architectures.is_empty() {
        let _ = writeln!(source, "Architectures: {}", architectures.join(" "));
    }
    let install = format!("mv {file} /etc/apt/sources.list.d/ && apt-get update");
    let command = match options.view {
        View::Curated => {
            let _ = writeln!(source, "Signed-By: {keyring}");
            format!("curl -fsSo {keyring} --create-dirs {address}keyring.asc && {install}")
        }
        // The certificates that the mirror itself believes; who has upstream's own package of them compares.
        View::Verbatim => {
            let keyring = format!("/etc/apt/keyrings/{short}-upstream.gpg");
            let _ = writeln!(source, "Signed-By: {keyring}");
            format!("curl -fsSo {keyring} --create-dirs {address}{UPSTREAM_KEYRING} && {install}")
        }
    };
    ClientSetup { command, files: vec![(file, source)] }
}
