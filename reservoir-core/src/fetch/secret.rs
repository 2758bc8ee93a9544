//! Credentials that cannot be printed.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

/// The value of an `Authorization` header. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub(super) struct Authorization(HeaderValue);

impl Authorization {
    /// Basic credentials (RFC 7617) from a URL's user and password; a password without a user is a bearer token
    /// (RFC 6750). `None` when it has neither.
    pub(super) fn from_url(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        if let ("", Some(token)) = (url.username(), url.password()) {
            let token = percent_decode_str(token).decode_utf8().ok()?;
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
            value.set_sensitive(true);
            return Some(Self(value));
        }
        let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
        pair.push(b':');
        pair.extend(percent_decode_str(url.password().unwrap_or_default()));
        let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// For the request; marked sensitive, so that HTTP libraries do not log or index it.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_percent_and_hides() {
        let url: Url = "https://us%40er:p%3Ass@example.com/".parse().unwrap();
        let authorization = Authorization::from_url(&url).unwrap();
        assert_eq!(authorization.header(), format!("Basic {}", BASE64_STANDARD.encode("us@er:p:ss")));
        assert_eq!(format!("{authorization:?} {:?}", authorization.header()), "*** Sensitive");
        assert!(Authorization::from_url(&"https://example.com/".parse().unwrap()).is_none());
        let token: Url = "https://:to%20ken@example.com/".parse().unwrap();
        assert_eq!(Authorization::from_url(&token).unwrap().header(), "Bearer to ken");
    }
}
