//! What a user pastes into apt's configuration.

use reservoir_core::{ecosystem::ClientSetup, name::RepositoryName};
use url::Url;

pub(crate) fn client_setup(repository: &RepositoryName, base: &Url) -> ClientSetup {
    ClientSetup { command: format!("deb {base}{repository}/ SUITE COMPONENT"), files: Vec::new() }
}
