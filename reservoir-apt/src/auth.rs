//! Credentials as apt keeps them: `auth.conf` and `auth.conf.d/*.conf`, in the words of netrc (`apt_auth.conf(5)`).
//!
//! `machine [SCHEME://]HOST[:PORT][/PATH] login NAME password SECRET`. An entry without a scheme is for https alone, so
//! that nobody sends a secret in the clear by mistake; the first entry that fits counts.

use url::Url;

/// Name and secret.
type Credentials = (String, String);

/// The credentials for an address among the texts of apt's files, in the order that apt reads them.
pub(crate) fn find<'t>(texts: impl IntoIterator<Item = &'t str>, url: &Url) -> Option<Credentials> {
    texts.into_iter().find_map(|text| find_in(text, url))
}

fn find_in(text: &str, url: &Url) -> Option<Credentials> {
    let mut words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_ascii_whitespace)
        .peekable();
    while let Some(word) = words.next() {
        if word != "machine" {
            continue;
        }
        let Some(machine) = words.next() else { break };
        let (mut login, mut password) = (None, None);
        while let Some(key) = words.next_if(|word| *word != "machine") {
            match key {
                "login" => login = words.next(),
                "password" => password = words.next(),
                _ => {}
            }
        }
        if fits(machine, url) {
            return Some((login.unwrap_or_default().to_owned(), password.unwrap_or_default().to_owned()));
        }
    }
    None
}

fn fits(machine: &str, url: &Url) -> bool {
    let rest = match machine.split_once("://") {
        Some((scheme, rest)) if scheme == url.scheme() => rest,
        None if url.scheme() == "https" => machine,
        Some(_) | None => return false,
    };
    let (place, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let Some(host) = url.host_str() else { return false };
    let is_place = match url.port() {
        Some(port) => place == format!("{host}:{port}"),
        None => {
            place == host || url.port_or_known_default().is_some_and(|port| place == format!("{host}:{port}"))
        }
    };
    // A path means what begins with it.
    is_place && url.path().starts_with(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_fits_counts() {
        let text = "# machine commented.example.com login x password y\n\
                    machine http://deb.example.com:8080 login ann password one\n\
                    machine deb.example.com/private\n  login bob\n  password two\n\
                    machine deb.example.com login carl password three\n\
                    machine half.example.com login dora";
        for (url, expected) in [
            ("http://deb.example.com:8080/debian", Some(("ann", "one"))),
            ("http://deb.example.com/debian", None),
            ("https://deb.example.com/private/x", Some(("bob", "two"))),
            ("https://deb.example.com/debian", Some(("carl", "three"))),
            ("https://deb.example.com:8443/debian", None),
            ("https://other.example.com/", None),
            ("https://commented.example.com/", None),
            ("https://half.example.com/", Some(("dora", ""))),
        ] {
            let found = find([text], &url.parse().unwrap());
            let expected = expected.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
            assert_eq!(found, expected, "{url}");
        }
        assert_eq!(find(["machine", "machine x login", ""], &"https://x/".parse().unwrap()).unwrap().0, "");
    }
}
