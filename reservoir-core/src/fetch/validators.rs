//! What a server says a representation can be recognised by.

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};
use serde::{Deserialize, Serialize};

const LONGEST: usize = 1024;

/// `ETag` and `Last-Modified` (RFC 9110 §8.8), as the server wrote them; send them back to ask whether
/// anything changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The entity tag with its quotes and, when weak, its `W/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The date of last modification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Validators {
    /// From an answer's headers; values that are not printable ASCII or are absurdly long are left out.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| {
            let value: &HeaderValue = headers.get(name)?;
            let text = value.to_str().ok()?;
            (!text.is_empty() && text.len() <= LONGEST).then(|| text.to_owned())
        };
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    /// Whether there is nothing to recognise the representation by.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Makes a request conditional.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, text) in [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)] {
            if let Some(value) = text.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        }
    }

    /// Keeps only what `If-Range` may use (RFC 9110 §13.1.5): a strong tag, or a date that was at least a
    /// second old when the answer was made.
    pub(super) fn strong(headers: &HeaderMap) -> Self {
        let Self { etag, last_modified } = Self::from_headers(headers);
        let etag = etag.filter(|tag| tag.starts_with('"'));
        let sent = headers
            .get(DATE)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| httpdate::parse_http_date(text).ok());
        let last_modified = last_modified.filter(|text| {
            httpdate::parse_http_date(text).is_ok_and(|modified| {
                sent.is_none_or(|sent| {
                    sent.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1))
                })
            })
        });
        Self { etag, last_modified }
    }

    /// The value for `If-Range`.
    pub(super) fn if_range(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.etag.as_ref().or(self.last_modified.as_ref())?).ok()
    }

    /// Whether both name something, and not the same.
    pub(super) fn contradict(&self, other: &Self) -> bool {
        let differ =
            |one: &Option<String>, two: &Option<String>| one.is_some() && two.is_some() && one != two;
        differ(&self.etag, &other.etag) || differ(&self.last_modified, &other.last_modified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn if_range_takes_strong_tags_and_settled_dates_only() {
        let (early, late) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        let strong = |pairs: &[_]| Validators::strong(&headers(pairs)).if_range();
        assert_eq!(strong(&[(ETAG, "\"a\""), (LAST_MODIFIED, early)]).unwrap(), "\"a\"");
        assert_eq!(strong(&[(ETAG, "W/\"a\"")]), None);
        assert_eq!(strong(&[(LAST_MODIFIED, early), (DATE, early)]), None);
        assert_eq!(strong(&[(LAST_MODIFIED, early), (DATE, late)]).unwrap(), early);
        assert_eq!(strong(&[(LAST_MODIFIED, "yesterday")]), None);
    }
}
