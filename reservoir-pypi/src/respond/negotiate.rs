//! Content negotiation of the simple repository API (PEP 691).

use http::{HeaderMap, header::ACCEPT};

use crate::index::Format;

/// What a page can be sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Representation {
    /// `application/vnd.pypi.simple.v1+json`
    Json,
    /// `application/vnd.pypi.simple.v1+html`
    HtmlV1,
    /// `text/html`, for browsers and for those who do not say.
    Html,
}

use Representation::{Html, HtmlV1, Json};

impl Representation {
    pub(super) const ALL: [Self; 3] = [Json, HtmlV1, Html];

    /// The name by which clients ask.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Json => "application/vnd.pypi.simple.v1+json",
            HtmlV1 => "application/vnd.pypi.simple.v1+html",
            Html => "text/html",
        }
    }

    /// The exact `Content-Type`. uv compares what stands before `;` byte for byte.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Html => "text/html; charset=utf-8",
            other => other.media_type(),
        }
    }

    pub(super) fn format(self) -> Format {
        if self == Json { Format::Json } else { Format::Html }
    }

    /// How closely a media range names it: 3 exactly, 2 by `type/*`, 1 by `*/*`.
    fn closeness(self, range: &str) -> u8 {
        let alias = match self {
            Json => "application/vnd.pypi.simple.latest+json",
            HtmlV1 => "application/vnd.pypi.simple.latest+html",
            Html => "text/html",
        };
        let family = if self == Html { "text/*" } else { "application/*" };
        if range.eq_ignore_ascii_case(self.media_type()) || range.eq_ignore_ascii_case(alias) {
            3
        } else if range.eq_ignore_ascii_case(family) {
            2
        } else {
            u8::from(range == "*/*")
        }
    }

    /// Which one wins among equals: the richest for those who name it, what browsers read for `*/*`.
    fn preference(self, closeness: u8) -> u8 {
        match (closeness, self) {
            (1, Html) => 3,
            (_, Json) => 2,
            (_, HtmlV1) => 1,
            (_, Html) => 0,
        }
    }
}

/// The representation that suits the client best; `None` when none does (406).
pub(super) fn negotiate(headers: &HeaderMap, query: Option<&str>) -> Option<Representation> {
    if let Some(format) = query.and_then(format_of) {
        return Representation::ALL.into_iter().find(|offer| offer.closeness(&format) == 3);
    }
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .peekable();
    if ranges.peek().is_none() {
        return Some(Html);
    }
    // For each representation: the closest range that names it, and its weight.
    let mut weights = [(0_u8, 0_u16); 3];
    for (range, weight) in ranges.filter_map(media_range) {
        for (offer, best) in Representation::ALL.into_iter().zip(&mut weights) {
            let closeness = offer.closeness(range);
            if closeness > 0 {
                *best = (*best).max((closeness, weight));
            }
        }
    }
    Representation::ALL
        .into_iter()
        .zip(weights)
        .filter(|(_, (_, weight))| *weight > 0)
        .max_by_key(|(offer, (closeness, weight))| (*weight, *closeness, offer.preference(*closeness)))
        .map(|(offer, _)| offer)
}

/// `?format=`, which PEP 691 leaves to servers: for people with a browser.
fn format_of(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("format="))?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// A media range and its weight in thousandths; `None` when the weight is no number from 0 to 1.
fn media_range(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next()?;
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    match weight {
        None => Some((range, 1000)),
        Some(weight) => Some((range, thousandths(weight)?)),
    }
}

/// `0`, `1`, `0.5`, `1.000`: a digit and three decimals at most (RFC 9110 §12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", _) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(accept: &str) -> Option<Representation> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        negotiate(&headers, None)
    }

    const V1_JSON: &str = "application/vnd.pypi.simple.v1+json";
    const V1_HTML: &str = "application/vnd.pypi.simple.v1+html";

    #[test]
    fn each_client_gets_what_it_prefers() {
        let uv = format!("{V1_JSON}, {V1_HTML};q=0.2, text/html;q=0.01");
        let pip = format!("{V1_JSON}, {V1_HTML}; q=0.1, text/html; q=0.01");
        let poetry = format!("{V1_JSON}, */*;q=0.1");
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            (uv.as_str(), Some(Json)),
            (&pip, Some(Json)),
            (&poetry, Some(Json)),
            (browser, Some(Html)),
            ("*/*", Some(Html)),
            ("", Some(Html)),
            ("text/html", Some(Html)),
            ("text/*", Some(Html)),
            ("TEXT/HTML", Some(Html)),
            ("application/*", Some(Json)),
            (V1_HTML, Some(HtmlV1)),
            (&format!("{V1_JSON};q=0.5, {V1_HTML}"), Some(HtmlV1)),
            (&format!("{V1_HTML}, {V1_JSON}"), Some(Json)),
            (&format!("{V1_JSON};q=0, */*;q=0.1"), Some(Html)),
            (&format!("text/html;q=0, {V1_HTML};q=0, */*"), Some(Json)),
            ("application/vnd.pypi.simple.latest+json", Some(Json)),
            ("application/vnd.pypi.simple.latest+html", Some(HtmlV1)),
            (&format!("{V1_JSON};charset=utf-8;q=0.9, text/html;q=0.8"), Some(Json)),
            ("application/xml", None),
            ("application/vnd.pypi.simple.v2+json", None),
            ("*/*;q=0", None),
            ("text/html;q=2", None),
            ("text/html;q=0.0001", None),
            ("text/html;q=, */*;q=0.5", Some(Html)),
        ] {
            assert_eq!(ask(accept), expected, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new(), None), Some(Html));
    }

    #[test]
    fn several_accept_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "text/html;q=0.5".parse().unwrap());
        headers.append(ACCEPT, V1_JSON.parse().unwrap());
        assert_eq!(negotiate(&headers, None), Some(Json));
    }

    #[test]
    fn a_format_in_the_query_wins() {
        let headers = HeaderMap::new();
        let ask = |query| negotiate(&headers, Some(query));
        assert_eq!(ask("format=application/vnd.pypi.simple.v1%2Bjson"), Some(Json));
        assert_eq!(ask("a=b&format=application/vnd.pypi.simple.v1+html"), Some(HtmlV1));
        assert_eq!(ask("format=text/xml"), None);
        assert_eq!(ask("a=b"), Some(Html));
    }

    proptest! {
        #[test]
        fn any_header_is_answered(accept in "[ -~]{0,200}", query in "[ -~]{0,60}") {
            let _ = ask(&accept);
            let _ = negotiate(&HeaderMap::new(), Some(&query));
        }

        #[test]
        fn any_list_is_answered(accept in "((text|application|\\*)/(html|\\*|xml)(;q=[0-9.]{0,5})?,? ?){0,9}") {
            if let Some(found) = ask(&accept) {
                prop_assert!(Representation::ALL.contains(&found));
            }
        }
    }
}
