//! What a user sets so that Hub clients use a repository.

use reservoir_core::{ecosystem::ClientSetup, name::RepositoryName};
use url::Url;

/// The lines for a repository served below `base`.
pub(crate) fn client_setup(repository: &RepositoryName, base: &Url) -> ClientSetup {
    let mut endpoint = base.clone();
    endpoint.set_query(None);
    endpoint.set_fragment(None);
    endpoint.set_path(&format!("{}/{repository}", base.path().trim_end_matches('/')));
    let command = format!("export HF_ENDPOINT={endpoint}");
    // Uploads by LFS; downloads are the same either way.
    let environment = format!("HF_ENDPOINT={endpoint}\nHF_HUB_DISABLE_XET=1\n");
    ClientSetup { command, files: vec![("hub.env".to_owned(), environment)] }
}
