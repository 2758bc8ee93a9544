//! From the path of a URL to a repository, what is asked of it, and the rest.

use std::collections::{HashMap, HashSet};

use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::{Request, RequestBody};
use crate::{
    error::{Error, Result},
    name::{RefName, RepositoryName},
};

/// The longest path that is looked at, in bytes as sent: a content path of the greatest length with every byte
/// escaped, and room for the repository.
const PATH_LIMIT: usize = 3 * 4096 + 1024;

/// The names of all repositories, for finding the one a path begins with. Immutable; made anew when the
/// repositories change.
#[derive(Debug, Clone, Default)]
pub struct Router {
    names: HashMap<String, RepositoryName>,
    raw: HashSet<RepositoryName>,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The repository; the longest configured name that the path begins with.
    pub repository: RepositoryName,
    /// What stands after `@`; the default ref when `None`.
    pub selector: Option<Selector>,
    /// Below the repository, percent-decoded, without a leading slash; a trailing one is kept. Empty for the
    /// repository itself, with or without its slash (see [`Route::base`]).
    pub path: String,
    /// The same as sent: not decoded.
    pub raw_path: String,
    /// The repository as the client wrote it, with a leading slash and without a trailing one; empty for the root.
    pub base: String,
}

/// How public keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringForm {
    /// ASCII armor.
    Armored,
    /// As packets.
    Binary,
}

/// Which state of a repository is asked for: `/python@stable/…`, `/python@12/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// What a branch or tag points to.
    Ref(RefName),
    /// A snapshot by its number.
    Number(u64),
}

impl Router {
    /// A router for these repositories.
    pub fn new(names: impl IntoIterator<Item = RepositoryName>) -> Self {
        let names = names.into_iter().map(|name| (name.as_str().to_owned(), name)).collect();
        Self { names, raw: HashSet::new() }
    }

    /// The same router, where clients of these repositories escape slashes that belong to a name
    /// (`refs%2Fpr%2F1`), and their formats read [`Request::raw_path`].
    #[must_use]
    pub fn with_raw_paths(mut self, names: impl IntoIterator<Item = RepositoryName>) -> Self {
        self.raw.extend(names);
        self
    }

    /// Finds the repository of `path`, the path of the request's URL as sent: not decoded, without a query.
    ///
    /// # Errors
    /// [`Error::Malformed`] (400) for what no client sends by accident: a bad escape, an escaped slash (but see
    /// [`Router::with_raw_paths`]) or backslash, a control character, other than UTF-8. [`Error::NotFound`] (404)
    /// for an unknown repository (a reserved name among them), a selector that selects nothing, and empty or dot
    /// segments; a plain `.` segment is passed over.
    pub fn route(&self, path: &str) -> Result<Route> {
        self.route_with_root(path, None)
    }

    /// The same, where a path that begins with no repository's name is one of `root`, if there is such a repository:
    /// for clients that expect a registry to have a host of its own.
    pub fn route_with_root(&self, path: &str, root: Option<&RepositoryName>) -> Result<Route> {
        if path.len() > PATH_LIMIT {
            return Err(refused("url-path-length", "is too long"));
        }
        let Some(relative) = path.strip_prefix('/') else {
            return Err(refused("url-path", "does not begin with a slash"));
        };
        // A flat apt archive has its clients ask for `/./file`. The dot is one that the client wrote: an escaped
        // one was made to mean something else.
        let raw: Vec<&str> = relative.split('/').filter(|segment| *segment != ".").collect();
        if raw.is_empty() {
            return Err(Error::not_found("path", shown(path)));
        }
        let segments = raw.iter().map(|segment| decode(segment)).collect::<Result<Vec<_>>>()?;
        let inner = &segments[..segments.len() - 1];
        let is_dot = |segment: &String| segment.split('/').any(|part| part == "." || part == "..");
        if inner.iter().any(String::is_empty) || segments.iter().any(is_dot) {
            return Err(Error::not_found("path", shown(path)));
        }
        let root = || {
            let name = root.filter(|name| self.names.contains_key(name.as_str()))?;
            Some((0, name.clone(), None))
        };
        let found = self.repository(&segments).or_else(root);
        let strict = match &found {
            Some((count, repository, _)) if self.raw.contains(repository) => *count,
            _ => segments.len(),
        };
        if segments[..strict].iter().any(|segment| segment.contains('/')) {
            return Err(refused("url-slash", "has an escaped slash in it"));
        }
        let (count, repository, selector) =
            found.ok_or_else(|| Error::not_found("repository", shown(&segments[0])))?;
        Ok(Route {
            repository,
            selector: selector.map(parse_selector).transpose()?,
            path: segments[count..].join("/"),
            raw_path: raw[count..].join("/"),
            base: if count == 0 { String::new() } else { format!("/{}", raw[..count].join("/")) },
        })
    }

    /// How many segments name the repository, which it is, and what follows its `@`.
    fn repository<'s>(&self, segments: &'s [String]) -> Option<(usize, RepositoryName, Option<&'s str>)> {
        let find = |prefix: &str, last: &'s str| {
            let (name, selector) = match last.split_once('@') {
                Some((name, selector)) => (name, Some(selector)),
                None => (last, None),
            };
            Some((self.names.get(&format!("{prefix}{name}"))?.clone(), selector))
        };
        let first = segments.first()?;
        if let Some(second) = segments.get(1)
            && let Some((name, selector)) = find(&format!("{first}/"), second)
        {
            return Some((2, name, selector));
        }
        find("", first).map(|(name, selector)| (1, name, selector))
    }
}

impl Route {
    /// In which form the path asks for the keys that signatures are made with: `keyring.asc` or `keyring.gpg`
    /// at the top of every repository. The engine answers it itself, before any format is asked.
    #[must_use]
    pub fn keyring(&self) -> Option<KeyringForm> {
        match self.path.as_str() {
            "keyring.asc" => Some(KeyringForm::Armored),
            "keyring.gpg" => Some(KeyringForm::Binary),
            _ => None,
        }
    }

    /// What the format is given, once access and the snapshot are settled.
    #[must_use]
    pub fn request(&self, method: Method, query: Option<&str>, headers: HeaderMap) -> Request {
        Request {
            method,
            path: self.path.clone(),
            raw_path: self.raw_path.clone(),
            query: query.map(str::to_owned),
            headers,
            base: self.base.clone(),
            origin: String::new(),
            body: RequestBody::default(),
        }
    }
}

fn parse_selector(text: &str) -> Result<Selector> {
    let unknown = || Error::not_found("ref or snapshot", shown(text));
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // One number, one address.
        let number = text.parse().ok().filter(|number| *number > 0 && !text.starts_with('0'));
        return number.map(Selector::Number).ok_or_else(unknown);
    }
    text.parse().map(Selector::Ref).map_err(|_| unknown())
}

/// Decodes one segment, once.
fn decode(segment: &str) -> Result<String> {
    let mut rest = segment.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        if digits.is_none() {
            return Err(refused("url-escape", "has a `%` without two hexadecimal digits after it"));
        }
        rest = &rest[at + 3..];
    }
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| refused("url-utf8", "is not UTF-8 once decoded"))?;
    if text.contains('\\') {
        return Err(refused("url-slash", "has a backslash in it"));
    }
    if text.contains(char::is_control) {
        return Err(refused("url-control", "has a control character in it"));
    }
    Ok(text.into_owned())
}

fn refused(rule: &'static str, detail: &str) -> Error {
    Error::malformed("the path of the request", rule, detail)
}

fn shown(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn router() -> Router {
        Router::new(["python", "a", "a/b", "ns/prod"].map(|name| name.parse().unwrap()))
    }

    #[test]
    fn the_longest_name_wins() {
        let table = [
            ("/python/simple/six/", "python", "simple/six/", "/python"),
            ("/python", "python", "", "/python"),
            ("/python/", "python", "", "/python"),
            ("/a/b/c", "a/b", "c", "/a/b"),
            ("/a/b", "a/b", "", "/a/b"),
            ("/a/bc", "a", "bc", "/a"),
            ("/a/c/b", "a", "c/b", "/a"),
            ("/a@1/b/c", "a", "b/c", "/a@1"),
            ("/ns/prod/x", "ns/prod", "x", "/ns/prod"),
            ("/%70ython/x", "python", "x", "/%70ython"),
            ("/python/a%20b/%C3%A9/x%2Bcu", "python", "a b/é/x+cu", "/python"),
            ("/python/a+b@c", "python", "a+b@c", "/python"),
            ("/python/100%25", "python", "100%", "/python"),
            ("/python/%252e", "python", "%2e", "/python"),
            ("/python/...", "python", "...", "/python"),
            ("/python/./x.deb", "python", "x.deb", "/python"),
            ("/./python/a/./b/", "python", "a/b/", "/python"),
            ("/python/.", "python", "", "/python"),
        ];
        for (raw, name, path, base) in table {
            let route = router().route(raw).unwrap();
            assert_eq!((route.repository.as_str(), &*route.path, &*route.base), (name, path, base), "{raw}");
        }
    }

    #[test]
    fn escaped_slashes_are_for_formats_that_read_them() {
        let router = router().with_raw_paths(["a/b".parse().unwrap()]);
        let route = router.route("/a/b/tree/refs%2Fpr%2F1/x%20y").unwrap();
        assert_eq!((&*route.path, &*route.raw_path), ("tree/refs/pr/1/x y", "tree/refs%2Fpr%2F1/x%20y"));
        for raw in ["/a%2Fb/x", "/python/a%2Fb", "/python/a%2f..%2fb"] {
            assert!(router.route(raw).is_err(), "{raw}");
        }
        assert!(matches!(router.route("/a/b/x%2F..%2Fy"), Err(Error::NotFound { .. })));
    }

    #[test]
    fn selectors_name_a_ref_or_a_number() {
        let selector = |raw: &str| router().route(raw).map(|route| route.selector);
        assert_eq!(selector("/python/x").unwrap(), None);
        assert_eq!(selector("/python@12/x").unwrap(), Some(Selector::Number(12)));
        assert_eq!(selector("/a/b@12").unwrap(), Some(Selector::Number(12)));
        let stable = Selector::Ref("v1.2-stable".parse().unwrap());
        assert_eq!(selector("/ns/prod@v1.2-stable/x").unwrap(), Some(stable));
        // `a` has no repository `b@x y`, but a path may be called so.
        assert_eq!(router().route("/a/c@1/x").unwrap().path, "c@1/x");
        for raw in ["/python@", "/python@0", "/python@01", "/python@-1", "/python@A", "/python@a@b"] {
            assert!(matches!(selector(raw), Err(Error::NotFound { .. })), "{raw}");
        }
    }

    #[test]
    fn the_keyring_is_at_the_top_of_a_repository() {
        for (raw, form) in [
            ("/a/keyring.asc", Some(KeyringForm::Armored)),
            ("/a@3/keyring.asc", Some(KeyringForm::Armored)),
            ("/a/keyring.gpg", Some(KeyringForm::Binary)),
            ("/a/x/keyring.asc", None),
        ] {
            assert_eq!(router().route(raw).unwrap().keyring(), form, "{raw}");
        }
    }

    #[test]
    fn numbered_requests_never_change() {
        let numbered = |raw: &str| {
            let route = router().route(raw).unwrap();
            route.request(Method::GET, Some("a=b"), HeaderMap::new()).is_numbered()
        };
        assert!(numbered("/a/b@12/x"));
        assert!(!numbered("/a/b/x@12"));
        assert!(!numbered("/a@main/x"));
    }

    proptest! {
        #[test]
        fn any_path_is_routed_or_refused(raw in "(/python|/a/b|/a@)?[/%.@a-z0-9\\\\]{0,40}|\\PC{0,60}") {
            if let Ok(route) = router().route(&raw) {
                let raw = raw.replace("/./", "/");
                prop_assert!(raw.starts_with(&route.base) && route.base.len() > 1 && !route.base.starts_with("//"));
                let parts: Vec<_> = route.path.split('/').collect();
                prop_assert!(!parts.iter().any(|part| *part == "." || *part == ".."));
                prop_assert!(!route.path.starts_with('/') && !route.path.contains(['\0', '\\']));
            }
        }

        #[test]
        fn what_was_escaped_comes_back(path in "[^/\\\\\\p{Cc}]{1,20}") {
            prop_assume!(path != "." && path != "..");
            let raw = percent_encoding::utf8_percent_encode(&path, percent_encoding::NON_ALPHANUMERIC);
            prop_assert_eq!(router().route(&format!("/python/{raw}")).unwrap().path, path);
        }
    }
}
