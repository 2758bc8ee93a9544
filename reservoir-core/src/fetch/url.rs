//! URLs as they may be shown: in errors, logs and records.

use std::fmt;

use url::Url;

/// A URL without user, password, query and fragment, any of which may carry a secret (presigned URLs do).
#[derive(Clone, Copy)]
pub struct DisplayUrl<'a>(pub &'a Url);

impl fmt::Display for DisplayUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        let Some(host) = url.host_str() else {
            // Not hierarchical (`data:`, `mailto:`): anything behind the scheme may be content.
            return write!(f, "{}:…", url.scheme());
        };
        write!(f, "{}://{host}", url.scheme())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path())?;
        if url.query().is_some() {
            f.write_str("?…")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DisplayUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The same URL without user and password, which travel in a header to their own origin only.
pub(crate) fn without_userinfo(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // Fails only for URLs without a host, which cannot have either.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_secret() {
        let shown = |text: &str| DisplayUrl(&text.parse().unwrap()).to_string();
        assert_eq!(shown("https://u:p@example.com:8443/a/b?X-Sig=s#f"), "https://example.com:8443/a/b?…");
        assert_eq!(shown("https://token@example.com"), "https://example.com/");
        assert_eq!(shown("http://u:p@[::1]:80/x"), "http://[::1]/x");
        assert_eq!(shown("data:text/plain,secret"), "data:…");
        assert_eq!(shown("ftp://u:p@example.com/x"), "ftp://example.com/x");
    }

    #[test]
    fn strips_userinfo() {
        let url = "https://u:p@example.com/a?q=1".parse().unwrap();
        assert_eq!(without_userinfo(&url).as_str(), "https://example.com/a?q=1");
    }
}
