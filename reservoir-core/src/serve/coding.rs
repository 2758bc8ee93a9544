//! `Accept-Encoding` (RFC 9110 §12.5.3): which coding of a page a client gets.

use http::{HeaderMap, HeaderValue, header};

/// A content coding that pages are served in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    Zstd,
    Gzip,
    Identity,
}

impl Coding {
    /// In the order the server prefers them, everything else being equal.
    const ALL: [Self; 3] = [Self::Zstd, Self::Gzip, Self::Identity];

    /// The value of `Content-Encoding`; none for the page as it is.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Zstd => Some(HeaderValue::from_static("zstd")),
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Identity => None,
        }
    }

    /// What keeps the entity tags of one page's codings apart.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name {
            _ if is("zstd") => Some(Self::Zstd),
            _ if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            _ if is("identity") => Some(Self::Identity),
            _ => None,
        }
    }
}

/// How much a client wants a coding, in thousandths: of 1 to 1000; 0 is a refusal.
type Quality = u16;

/// The codings a client accepts, the one to use first. Empty when it refuses all that there are.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Coding> {
    let mut lines = headers.get_all(header::ACCEPT_ENCODING).iter().peekable();
    if lines.peek().is_none() {
        return vec![Coding::Identity];
    }
    let mut wanted = Wanted::default();
    for line in lines {
        // What is not text names no coding of ours.
        if let Ok(text) = line.to_str() {
            text.split(',').for_each(|element| wanted.note(element));
        }
    }
    wanted.ranked()
}

#[derive(Debug, Default)]
struct Wanted {
    named: [Option<Quality>; 3],
    others: Option<Quality>,
}

impl Wanted {
    fn note(&mut self, element: &str) {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        let Some(quality) = quality(parameters) else { return };
        let name = name.trim();
        if name == "*" {
            self.others.get_or_insert(quality);
        } else if let Some(coding) = Coding::parse(name) {
            // Said twice, the first counts.
            self.named[coding as usize].get_or_insert(quality);
        }
    }

    fn ranked(&self) -> Vec<Coding> {
        let mut ranked: Vec<_> = Coding::ALL
            .into_iter()
            .filter_map(|coding| {
                let (named, wildcard) = (self.named[coding as usize], self.others);
                match (named.or(wildcard), coding) {
                    (Some(0), _) => None,
                    (Some(quality), _) => Some((quality, named.is_some(), coding)),
                    // Unless refused, the page as it is always goes, after all that was asked for.
                    (None, Coding::Identity) => Some((0, false, coding)),
                    (None, _) => None,
                }
            })
            .collect();
        // A `*` promises little: old clients that send it know gzip at best.
        let rank = |named: bool, coding: Coding| match coding {
            Coding::Zstd if !named => 1,
            Coding::Gzip if !named => 0,
            coding => coding as u8,
        };
        ranked.sort_by_key(|&(quality, named, coding)| {
            (std::cmp::Reverse(quality), !named, rank(named, coding))
        });
        ranked.into_iter().map(|(_, _, coding)| coding).collect()
    }
}

/// The weight in the parameters of an element: 1 when there is none, `None` when it is not a number from 0
/// to 1 with three digits at most.
fn quality(parameters: &str) -> Option<Quality> {
    for parameter in parameters.split(';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("q") {
            return thousandths(value.trim());
        }
    }
    Some(1000)
}

fn thousandths(text: &str) -> Option<Quality> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<3}").parse::<Quality>().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepted_by(lines: &[&str]) -> Vec<Coding> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        accepted(&headers)
    }

    #[test]
    fn the_best_coding_a_client_accepts_comes_first() {
        use Coding::{Gzip, Identity, Zstd};
        let many = format!("{}gzip", "br,".repeat(10_000));
        let table: &[(&[&str], &[Coding])] = &[
            (&[], &[Identity]),
            (&[""], &[Identity]),
            (&["identity"], &[Identity]),
            (&["gzip"], &[Gzip, Identity]),
            (&["GZip"], &[Gzip, Identity]),
            (&["x-gzip"], &[Gzip, Identity]),
            (&["zstd"], &[Zstd, Identity]),
            (&["gzip, deflate"], &[Gzip, Identity]),
            (&["gzip, deflate, br, zstd"], &[Zstd, Gzip, Identity]),
            (&["gzip", "zstd"], &[Zstd, Gzip, Identity]),
            (&["gzip;q=1.0, zstd;q=0.5"], &[Gzip, Zstd, Identity]),
            (&["gzip;q=0.5"], &[Gzip, Identity]),
            (&["gzip;q=0.001"], &[Gzip, Identity]),
            (&["identity;q=1, gzip;q=0.5"], &[Identity, Gzip]),
            (&["gzip ; Q=0.5 , zstd ; q = 0.25"], &[Gzip, Zstd, Identity]),
            (&["gzip;q=0"], &[Identity]),
            (&["gzip;q=0.000"], &[Identity]),
            (&["gzip;q=0, gzip"], &[Identity]),
            (&["*"], &[Gzip, Zstd, Identity]),
            (&["*;q=0"], &[]),
            (&["*;q=0, identity"], &[Identity]),
            (&["identity;q=0"], &[]),
            (&["identity;q=0, gzip"], &[Gzip]),
            (&["identity;q=0, *"], &[Gzip, Zstd]),
            (&["gzip, *;q=0"], &[Gzip]),
            (&["gzip, *;q=0.1"], &[Gzip, Zstd, Identity]),
            (&["zstd, *"], &[Zstd, Gzip, Identity]),
            (&["br"], &[Identity]),
            (&["gzip;q=2"], &[Identity]),
            (&["gzip;q=-1"], &[Identity]),
            (&["gzip;q=1.001"], &[Identity]),
            (&["gzip;q=0.1234"], &[Identity]),
            (&["gzip;q="], &[Identity]),
            (&["gzip;level=9"], &[Gzip, Identity]),
            (&["gzip;level=9;q=0"], &[Identity]),
            (&[",,;;=,gzip"], &[Gzip, Identity]),
            (&[&many], &[Gzip, Identity]),
        ];
        for (lines, codings) in table {
            assert_eq!(accepted_by(lines), *codings, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_gives_each_coding_once(line in "\\PC{0,80}|[gzipstdeny*;=q0-9., -]{0,80}") {
            if let Ok(value) = HeaderValue::from_str(&line) {
                let mut headers = HeaderMap::new();
                headers.append(header::ACCEPT_ENCODING, value);
                let codings = accepted(&headers);
                let unique: std::collections::HashSet<_> = codings.iter().collect();
                prop_assert_eq!(unique.len(), codings.len());
            }
        }

        #[test]
        fn the_higher_weight_wins(gzip in 1u16..1000, zstd in 1u16..1000) {
            let line = format!("gzip;q=0.{gzip:03}, zstd;q=0.{zstd:03}");
            let first = accepted_by(&[&line])[0];
            prop_assert_eq!(first, if gzip > zstd { Coding::Gzip } else { Coding::Zstd });
        }
    }
}
