//! What a user pastes so that apt uses a repository.

use std::{collections::BTreeMap, fmt::Write as _};

use reservoir_core::{
    ecosystem::{Candidate, ClientSetup, RepositoryConfig},
    name::RevisionName,
};
use url::Url;

use crate::{
    attribute,
    name::{Suite, last_part},
    options::{Options, View},
    upstream::UPSTREAM_KEYRING,
};

/// A deb822 source, and the commands that put it and our key into place. `known` are the suites as upstream signed them,
/// whose components are meant where the repository names none.
pub(crate) fn client_setup(repository: &RepositoryConfig, base: &Url, known: &[Candidate]) -> ClientSetup {
    let options = Options::of(repository).unwrap_or_default();
    let mut address = base.clone();
    address.set_query(None);
    address.set_fragment(None);
    address.set_path(&format!("{}/{}/", base.path().trim_end_matches('/'), repository.name));

    let short = format!("reservoir-{}", repository.name.as_str().replace('/', "-"));
    let keyring = format!("/etc/apt/keyrings/{short}.asc");
    let file = format!("{short}.sources");
    let install = format!("mv {file} /etc/apt/sources.list.d/ && apt-get update");
    let (command, keyring) = match options.view {
        View::Curated => {
            (format!("curl -fsSo {keyring} --create-dirs {address}keyring.asc && {install}"), keyring)
        }
        // The certificates that the mirror itself believes; who has upstream's own package of them compares.
        View::Verbatim => {
            let keyring = format!("/etc/apt/keyrings/{short}-upstream.gpg");
            let fetch = format!("curl -fsSo {keyring} --create-dirs {address}{UPSTREAM_KEYRING}");
            (format!("{fetch} && {install}"), keyring)
        }
    };
    let types = if options.sources { "deb deb-src" } else { "deb" };
    let (flat, named): (Vec<&Suite>, Vec<&Suite>) = options.suites.iter().partition(|suite| suite.is_flat());
    let mut stanzas = Vec::new();
    // A flat suite has no components and another must have some, so they share no stanza.
    for (suites, components) in [(named, Some(components(&options, known))), (flat, None)] {
        let mut suites: Vec<String> = suites.iter().map(ToString::to_string).collect();
        if options.suites.is_empty() && components.is_some() {
            suites.push("stable".to_owned());
        }
        if suites.is_empty() {
            continue;
        }
        let mut stanza = format!("Types: {types}\nURIs: {address}\nSuites: {}\n", suites.join(" "));
        if let Some(components) = components {
            let _ = writeln!(stanza, "Components: {}", components.join(" "));
        }
        let architectures: Vec<&str> = options.architectures.iter().map(AsRef::as_ref).collect();
        if !architectures.is_empty() {
            let _ = writeln!(stanza, "Architectures: {}", architectures.join(" "));
        }
        let _ = writeln!(stanza, "Signed-By: {keyring}");
        stanzas.push(stanza);
    }
    ClientSetup { command, files: vec![(file, stanzas.join("\n"))] }
}

/// The components that clients are told of: those of the repository, or all that the suites have.
fn components(options: &Options, known: &[Candidate]) -> Vec<String> {
    if !options.components.is_empty() {
        return options.components.iter().map(ToString::to_string).collect();
    }
    // Of each suite the newest state; they are many only where they differ.
    let mut newest: BTreeMap<&str, (&RevisionName, &str)> = BTreeMap::new();
    for candidate in known {
        for file in &candidate.files {
            let release = attribute::fact(&file.attributes, attribute::RELEASE);
            let text = |name: &str| release?.get(name)?.as_str();
            let (Some(offered), suite) = (text("components"), text("suite").unwrap_or_default()) else {
                continue;
            };
            let best = newest.entry(suite).or_insert((&candidate.revision, offered));
            if candidate.revision >= *best.0 {
                *best = (&candidate.revision, offered);
            }
        }
    }
    let mut components: Vec<String> = Vec::new();
    for word in newest.values().flat_map(|(_, offered)| offered.split_ascii_whitespace()) {
        let word = last_part(word);
        if !components.iter().any(|known| known == word) {
            components.push(word.to_owned());
        }
    }
    if components.is_empty() { vec!["main".to_owned()] } else { components }
}
