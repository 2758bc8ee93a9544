//! `Range: bytes=…` (RFC 9110 §14): one range is answered with a part, anything else with the whole.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};

/// What is to be sent of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything, with 200.
    Whole,
    /// These bytes, with 206; never empty.
    Range(Range<u64>),
    /// Nothing: the range lies outside, 416.
    Unsatisfiable,
}

/// What the client asks for of `size` bytes. Several ranges, other units and what cannot be understood are
/// ignored, as the RFC allows: many small ranges cost the server more than the client.
pub(crate) fn requested(headers: &HeaderMap, size: u64) -> Part {
    let mut lines = headers.get_all(header::RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().map_or(Part::Whole, |text| parse(text, size)),
        _ => Part::Whole,
    }
}

/// `bytes 0-99/1000`.
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    HeaderValue::from_str(&text).expect("digits and ASCII punctuation")
}

/// `bytes */1000`.
pub(crate) fn unsatisfied_range(size: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("bytes */{size}")).expect("digits and ASCII punctuation")
}

fn parse(text: &str, size: u64) -> Part {
    let Some((unit, set)) = text.split_once('=') else { return Part::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    // Empty list elements are legal and mean nothing (RFC 9110 §5.6.1).
    let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    let (Some(spec), None) = (specs.next(), specs.next()) else { return Part::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Part::Whole };
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Part::Whole,
        (true, false) => suffix(last, size),
        (false, _) => from(first, last, size),
    }
}

fn suffix(length: &str, size: u64) -> Part {
    match number(length) {
        None => Part::Whole,
        Some(0) => Part::Unsatisfiable,
        // The last bytes of nothing are satisfiable, but no `Content-Range` can say so.
        Some(_) if size == 0 => Part::Whole,
        Some(length) => Part::Range(size.saturating_sub(length)..size),
    }
}

fn from(first: &str, last: &str, size: u64) -> Part {
    let Some(first) = number(first) else { return Part::Whole };
    let end = match last {
        "" => size,
        last => match number(last) {
            Some(last) if last >= first => last.saturating_add(1).min(size),
            _ => return Part::Whole,
        },
    };
    if first < size { Part::Range(first..end) } else { Part::Unsatisfiable }
}

/// Digits only, however many; what does not fit is beyond any file anyway.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_range_is_a_part_and_the_rest_is_the_whole() {
        use Part::{Range as R, Unsatisfiable as Un, Whole};
        let table = [
            ("bytes=0-99", 1000, R(0..100)),
            ("bytes=0-0", 1000, R(0..1)),
            ("bytes=0-", 1000, R(0..1000)),
            ("bytes=999-", 1000, R(999..1000)),
            ("bytes=990-5000", 1000, R(990..1000)),
            ("bytes=-200", 1000, R(800..1000)),
            ("bytes=-5000", 1000, R(0..1000)),
            ("BYTES=0-1", 1000, R(0..2)),
            ("bytes= 0-1 ,, ", 1000, R(0..2)),
            ("bytes=0-99999999999999999999999999", 1000, R(0..1000)),
            ("bytes=-99999999999999999999999999", 1000, R(0..1000)),
            ("bytes=1000-", 1000, Un),
            ("bytes=5000-6000", 1000, Un),
            ("bytes=99999999999999999999999999-", 1000, Un),
            ("bytes=-0", 1000, Un),
            ("bytes=5-2", 1000, Whole),
            ("bytes=0-1,5-6", 1000, Whole),
            ("bytes=0-1,0-1,0-1", 1000, Whole),
            ("bytes=", 1000, Whole),
            ("bytes=,", 1000, Whole),
            ("bytes=-", 1000, Whole),
            ("bytes=--5", 1000, Whole),
            ("bytes=+1-2", 1000, Whole),
            ("bytes=0x1-2", 1000, Whole),
            ("bytes=1 - 2", 1000, Whole),
            ("bytes=1-2-3", 1000, Whole),
            ("bytes 0-1", 1000, Whole),
            ("bytes =0-1", 1000, Whole),
            ("items=0-1", 1000, Whole),
            ("", 1000, Whole),
            ("bytes=0-", 0, Un),
            ("bytes=0-0", 0, Un),
            ("bytes=-5", 0, Whole),
            ("bytes=-0", 0, Un),
            ("bytes=0-", u64::MAX, R(0..u64::MAX)),
            ("bytes=0-18446744073709551615", u64::MAX, R(0..u64::MAX)),
        ];
        for (text, size, part) in table {
            assert_eq!(parse(text, size), part, "{text:?} of {size}");
        }
    }

    #[test]
    fn two_range_headers_are_ignored() {
        let mut headers = HeaderMap::new();
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(requested(&headers, 10), Part::Range(0..2));
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(requested(&headers, 10), Part::Whole);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_part_that_lies_within(text in "(bytes=)?[-0-9,= \t]{0,40}|\\PC{0,60}", size: u64) {
            if let Part::Range(range) = parse(&text, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn a_range_within_is_given_as_asked(a in 0u64..1000, b in 0u64..1000) {
            let (first, last) = (a.min(b), a.max(b));
            prop_assert_eq!(parse(&format!("bytes={first}-{last}"), 1000), Part::Range(first..last + 1));
        }
    }
}
