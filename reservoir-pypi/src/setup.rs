//! What a user pastes so that pip and uv use a repository.

use std::net::IpAddr;

use reservoir_core::{ecosystem::ClientSetup, name::RepositoryName};
use url::{Host, Url};

/// The lines and files for a repository served below `base`.
pub(crate) fn client_setup(repository: &RepositoryName, base: &Url) -> ClientSetup {
    let mut index = base.clone();
    index.set_query(None);
    index.set_fragment(None);
    index.set_path(&format!("{}/{repository}/simple/", base.path().trim_end_matches('/')));

    let trusted = trusted_host(&index);
    let when_trusted = |before: &str, after: &str| match &trusted {
        Some(host) => format!("{before}{host}{after}"),
        None => String::new(),
    };
    let command = format!("pip install --index-url {index}{}", when_trusted(" --trusted-host ", ""));
    let pip = format!("[global]\nindex-url = {index}\n{}", when_trusted("trusted-host = ", "\n"));
    let environment = format!(
        "PIP_INDEX_URL={index}\nUV_DEFAULT_INDEX={index}\n{}",
        when_trusted("PIP_TRUSTED_HOST=", "\n")
    );
    let uv = format!("[[index]]\nurl = \"{index}\"\ndefault = true\n");
    let files = [("pip.conf", pip), ("uv.toml", uv), ("python.env", environment)];
    ClientSetup { command, files: files.map(|(name, text)| (name.to_owned(), text)).into() }
}

/// The host that pip must be told to trust: one reached over plain HTTP that is not this machine.
fn trusted_host(index: &Url) -> Option<String> {
    let is_loopback = match index.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(address).is_loopback(),
    };
    if index.scheme() != "http" || is_loopback {
        return None;
    }
    let host = index.host_str()?;
    Some(index.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(repository: &str, base: &str) -> ClientSetup {
        client_setup(&repository.parse().unwrap(), &base.parse().unwrap())
    }

    #[test]
    fn plain_http_needs_trust_except_on_this_machine() {
        for (base, expected) in [
            ("http://127.0.0.1:8080", "pip install --index-url http://127.0.0.1:8080/python/simple/"),
            ("http://localhost", "pip install --index-url http://localhost/python/simple/"),
            ("http://[::1]:80/", "pip install --index-url http://[::1]/python/simple/"),
            (
                "https://mirror.example.com/a/",
                "pip install --index-url https://mirror.example.com/a/python/simple/",
            ),
            (
                "http://mirror.example.com:81/a?b#c",
                "pip install --index-url http://mirror.example.com:81/a/python/simple/ \
                 --trusted-host mirror.example.com:81",
            ),
            (
                "http://192.0.2.7",
                "pip install --index-url http://192.0.2.7/python/simple/ --trusted-host 192.0.2.7",
            ),
        ] {
            assert_eq!(setup("python", base).command, expected);
        }
    }

    #[test]
    fn files_say_the_same() {
        insta::assert_debug_snapshot!(setup("ns/prod", "http://mirror.example.com:8080"));
    }
}
