//! Preconditions (RFC 9110 §13): what the client has already, or insists on.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    clock::Timestamp,
    error::{Error, Result},
};

/// What names the exact bytes of a response.
#[derive(Debug, Clone)]
pub(crate) struct Validators {
    etag: HeaderValue,
    modified: SystemTime,
}

/// What the preconditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client insists on.
    Failed,
}

impl Validators {
    /// A strong `ETag` of `opaque`, which goes between the quotes, and a `Last-Modified` in whole seconds.
    ///
    /// The date counts as strong too: snapshots are a second apart at least, or the format's clients ask by tag
    /// ([`Ecosystem::spacing`](crate::ecosystem::Ecosystem::spacing)).
    pub(crate) fn new(opaque: &str, modified: Timestamp) -> Result<Self> {
        let legal = opaque.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e));
        let etag = HeaderValue::from_str(&format!("\"{opaque}\"")).ok().filter(|_| legal);
        let etag = etag.ok_or_else(|| {
            Error::malformed(
                format!("entity tag {opaque:?}"),
                "etag",
                "is not printable ASCII without quotes",
            )
        })?;
        // Within what the format of the header can say: the epoch to the year 9999.
        let seconds = u64::try_from(modified.to_jiff().as_second()).unwrap_or(0);
        Ok(Self { etag, modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) })
    }

    /// `ETag` and `Last-Modified`.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(self.modified)).expect("a date is ASCII");
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::LAST_MODIFIED, date);
    }

    /// Evaluates the preconditions in the order of RFC 9110 §13.2.2.
    pub(crate) fn evaluate(&self, headers: &HeaderMap) -> Condition {
        if headers.contains_key(header::IF_MATCH) {
            if !self.listed(headers, &header::IF_MATCH, Comparison::Strong) {
                return Condition::Failed;
            }
        } else if date(headers, &header::IF_UNMODIFIED_SINCE).is_some_and(|date| self.modified > date) {
            return Condition::Failed;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            if self.listed(headers, &header::IF_NONE_MATCH, Comparison::Weak) {
                return Condition::NotModified;
            }
        } else if date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|date| self.modified <= date) {
            return Condition::NotModified;
        }
        Condition::Proceed
    }

    /// Whether `If-Range` lets the range stand: absent, the same strong tag, or exactly the same date.
    pub(crate) fn range_stands(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(header::IF_RANGE).iter();
        match (lines.next(), lines.next()) {
            (None, _) => true,
            (Some(line), None) if line.as_bytes().starts_with(b"\"") => line == self.etag,
            (Some(_), None) => date(headers, &header::IF_RANGE) == Some(self.modified),
            _ => false,
        }
    }

    fn listed(&self, headers: &HeaderMap, name: &HeaderName, comparison: Comparison) -> bool {
        headers.get_all(name).iter().any(|line| contains(line.as_bytes(), self.etag.as_bytes(), comparison))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags has `etag` (strong, quotes included) in it, or is `*`. What follows the
/// first thing that is no entity tag is not read.
fn contains(list: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after;
            continue;
        }
        let (weak, tag) = rest.strip_prefix(b"W/").map_or((false, rest), |tag| (true, tag));
        let Some(opaque) = tag.strip_prefix(b"\"") else { return false };
        let Some(length) = opaque.iter().position(|byte| *byte == b'"') else { return false };
        let (tag, after) = tag.split_at(length + 2);
        if tag == etag && (comparison == Comparison::Weak || !weak) {
            return true;
        }
        rest = after.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return false;
        }
    }
}

/// The date of a header that must be there once; `None` when it is absent or no date.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => httpdate::parse_http_date(line.to_str().ok()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, and half a second.
    fn validators() -> Validators {
        Validators::new("abc", Timestamp::from_micros(784_111_777_500_000)).unwrap()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn preconditions_follow_the_rfc() {
        use Condition::{Failed, NotModified, Proceed};
        let long = format!("{}\"abc\"", "\"x\", ".repeat(10_000));
        let table: &[(&[(&'static str, &str)], Condition)] = &[
            (&[], Proceed),
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", " * ")], NotModified),
            (&[("if-none-match", "\"x\", \"abc\"")], NotModified),
            (&[("if-none-match", ",, \"x\",,W/\"abc\" ,")], NotModified),
            (&[("if-none-match", "\"x,\",\"abc\"")], NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", &long)], NotModified),
            (&[("if-none-match", "\"x\"")], Proceed),
            (&[("if-none-match", "abc")], Proceed),
            (&[("if-none-match", "\"abc")], Proceed),
            (&[("if-none-match", "w/\"abc\"")], Proceed),
            (&[("if-none-match", "\"ABC\"")], Proceed),
            (&[("if-none-match", "\"x\" \"abc\"")], Proceed),
            (&[("if-none-match", "\"x\", *")], Proceed),
            (&[("if-none-match", "")], Proceed),
            (&[("if-modified-since", SAME)], NotModified),
            (&[("if-modified-since", LATER)], NotModified),
            (&[("if-modified-since", EARLIER)], Proceed),
            (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], NotModified),
            (&[("if-modified-since", "yesterday")], Proceed),
            (&[("if-modified-since", SAME), ("if-modified-since", SAME)], Proceed),
            // A tag that differs outweighs a date that does not.
            (&[("if-none-match", "\"x\""), ("if-modified-since", SAME)], Proceed),
            (&[("if-none-match", "\"abc\""), ("if-modified-since", EARLIER)], NotModified),
            (&[("if-match", "\"abc\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "W/\"abc\"")], Failed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")], NotModified),
            (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Failed),
            (&[("if-unmodified-since", SAME)], Proceed),
            (&[("if-unmodified-since", EARLIER)], Failed),
            (&[("if-unmodified-since", "garbage")], Proceed),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", EARLIER)], Proceed),
        ];
        for (lines, condition) in table {
            assert_eq!(validators().evaluate(&headers(lines)), *condition, "{lines:?}");
        }
    }

    #[test]
    fn if_range_wants_the_exact_same_thing() {
        let table: &[(&[(&'static str, &str)], bool)] = &[
            (&[], true),
            (&[("if-range", "\"abc\"")], true),
            (&[("if-range", SAME)], true),
            (&[("if-range", "W/\"abc\"")], false),
            (&[("if-range", "\"x\"")], false),
            (&[("if-range", "\"abc\", \"x\"")], false),
            (&[("if-range", "*")], false),
            (&[("if-range", LATER)], false),
            (&[("if-range", EARLIER)], false),
            (&[("if-range", "abc")], false),
            (&[("if-range", "")], false),
            (&[("if-range", "\"abc\""), ("if-range", "\"abc\"")], false),
        ];
        for (lines, stands) in table {
            assert_eq!(validators().range_stands(&headers(lines)), *stands, "{lines:?}");
        }
    }

    #[test]
    fn dates_and_tags_that_no_header_can_carry() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            let mut headers = HeaderMap::new();
            Validators::new("a", Timestamp::from_micros(micros)).unwrap().write(&mut headers);
            assert!(headers.contains_key(header::LAST_MODIFIED));
        }
        for opaque in ["a\"b", "a b", "a\n", "ä", "\u{7f}"] {
            assert!(Validators::new(opaque, Timestamp::from_micros(0)).is_err(), "{opaque:?}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read_to_an_end(list in proptest::collection::vec(any::<u8>(), 0..200)) {
            // `*` and the tag itself are the only ways to match.
            let has = list.windows(5).any(|window| window == b"\"abc\"") || list.trim_ascii() == b"*";
            prop_assert!(has || !contains(&list, b"\"abc\"", Comparison::Weak));
        }

        #[test]
        fn lists_of_tags_match_by_membership(tags in proptest::collection::vec("[a-c,]{0,3}", 0..6)) {
            let list = tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(
                contains(list.as_bytes(), b"\"abc\"", Comparison::Strong),
                tags.iter().any(|tag| tag == "abc")
            );
        }

        #[test]
        fn any_header_values_are_evaluated(
            name in proptest::sample::select(vec![
                "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
            ]),
            value in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut map = HeaderMap::new();
                map.append(name, value);
                validators().evaluate(&map);
                validators().range_stands(&map);
            }
        }
    }
}
