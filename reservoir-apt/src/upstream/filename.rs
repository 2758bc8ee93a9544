//! Paths that indexes name: what they are called here and where they are fetched.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reservoir_core::{Error, Result, path::ContentPath};
use url::Url;

/// As apt sends a path: everything is escaped but these.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'/');

/// The places that indexes live in: no package may be there.
const RESERVED: [&str; 2] = ["dists", "upstream"];

/// The content path of a package that an index names, relative to the archive's address: a leading `./` removed,
/// percent escapes decoded once.
///
/// # Errors
/// [`Error::Malformed`] (`filename`) for whatever could lead out of the archive or mean two things: absolute paths
/// and addresses, `..`, `//`, backslashes, escapes that are left, paths among the indexes.
pub(crate) fn content_path(filename: &str, endings: &[&str]) -> Result<ContentPath> {
    let refuse = |detail: &str| {
        let shown: String = filename.chars().take(120).collect();
        Err(Error::malformed(format!("file name {shown:?}"), "filename", detail))
    };
    let plain = filename.strip_prefix("./").unwrap_or(filename);
    if plain.contains("://") {
        return refuse("is an address, not a path within the archive");
    }
    if plain.contains(['?', '#']) {
        return refuse("has a character that addresses give a meaning");
    }
    let Ok(decoded) = percent_decode_str(plain).decode_utf8() else {
        return refuse("is not UTF-8 when its escapes are decoded");
    };
    let Ok(path) = decoded.parse::<ContentPath>() else {
        return refuse("is no clean relative path");
    };
    let first = path.as_str().split('/').next().unwrap_or_default();
    if RESERVED.iter().any(|reserved| first.eq_ignore_ascii_case(reserved)) {
        return refuse("is where indexes are");
    }
    if !endings.is_empty() && !endings.iter().any(|ending| path.as_str().ends_with(ending)) {
        return refuse("does not end as packages do");
    }
    Ok(path)
}

/// Where a path of an archive is fetched.
pub(crate) fn address(base: &Url, path: &str) -> Url {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    let folder = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{folder}/{}", utf8_percent_encode(path, ESCAPED)));
    url
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_and_addresses() {
        let base: Url = "http://127.0.0.1/debian".parse().unwrap();
        for (filename, path, url) in [
            (
                "pool/main/j/jq/jq_1.6+b1~x_amd64.deb",
                "pool/main/j/jq/jq_1.6+b1~x_amd64.deb",
                "pool/main/j/jq/jq_1.6%2Bb1%7Ex_amd64.deb",
            ),
            ("./x.deb", "x.deb", "x.deb"),
            ("a%3ab.deb", "a:b.deb", "a%253ab.deb"),
            ("a b.deb", "a b.deb", "a%20b.deb"),
        ] {
            assert_eq!(content_path(filename, &[".deb"]).unwrap().as_str(), path);
            assert_eq!(address(&base, filename).as_str(), format!("http://127.0.0.1/debian/{url}"));
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for filename in [
            "",
            "/etc/x.deb",
            "//x.deb",
            "../../etc/x.deb",
            "a/../x.deb",
            "a//x.deb",
            "./../x.deb",
            "a\\x.deb",
            "%2e%2e/x.deb",
            "a/%2E%2E/x.deb",
            "%2fetc/x.deb",
            "a%5cx.deb",
            "http://example.com/x.deb",
            "a%252e/x.deb",
            "a%00.deb",
            "dists/bookworm/x.deb",
            "Dists/x.deb",
            "upstream/x.deb",
            "a.deb?x.deb",
            "a#.deb",
            "InRelease",
            "a%ff.deb",
        ] {
            assert!(content_path(filename, &[".deb"]).is_err(), "{filename}");
        }
    }

    proptest! {
        #[test]
        fn addresses_stay_below_the_archive(filename in "[a-z./%\\\\:?#0-9 ]{1,40}\\.deb|\\PC{1,20}\\.deb") {
            if content_path(&filename, &[".deb"]).is_ok() {
                let base: Url = "http://127.0.0.1/debian/".parse().unwrap();
                let url = address(&base, &filename);
                prop_assert!(url.as_str().starts_with("http://127.0.0.1/debian/"), "{url}");
                prop_assert!(!url.path().contains("/../"), "{url}");
            }
        }
    }
}
