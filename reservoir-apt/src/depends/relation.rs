//! Relations between packages, as control files write them: `a, b (>= 2) | c:any`.

use std::cmp::Ordering;

use super::order::compare;
use crate::select::Relation;

/// One alternative: a package or what packages provide, perhaps of an architecture, perhaps of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alternative<'a> {
    pub(super) name: &'a str,
    pub(super) architecture: Option<&'a str>,
    pub(super) version: Option<(Relation, &'a str)>,
}

impl Alternative<'_> {
    /// Whether a version fits; what has no version only fits where none is asked for.
    pub(super) fn fits(&self, version: Option<&str>) -> bool {
        let Some((relation, bound)) = self.version else { return true };
        version.is_some_and(|version| {
            let order = compare(version, bound);
            match relation {
                Relation::Earlier => order == Ordering::Less,
                Relation::EarlierOrEqual => order != Ordering::Greater,
                Relation::Equal => order == Ordering::Equal,
                Relation::LaterOrEqual => order != Ordering::Less,
                Relation::Later => order == Ordering::Greater,
            }
        })
    }
}

/// The clauses of a field, each as it is written. apt takes an empty one for nothing.
pub(super) fn clauses(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim).filter(|clause| !clause.is_empty())
}

/// The alternatives of a clause; an error in words where it cannot be read.
pub(super) fn alternatives(clause: &str) -> impl Iterator<Item = Result<Alternative<'_>, &'static str>> {
    clause.split('|').map(alternative)
}

/// Reads one alternative, as apt does: `<` and `>` are `<=` and `>=`. Restrictions in brackets have no place in
/// the relations of binary packages.
fn alternative(text: &str) -> Result<Alternative<'_>, &'static str> {
    let text = text.trim();
    let end = text.find(|c: char| c == '(' || c.is_whitespace()).unwrap_or(text.len());
    let (package, rest) = text.split_at(end);
    let (name, architecture) = match package.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (package, None),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
    if name.is_empty() || !name.bytes().all(word) {
        return Err("a name is missing or has other characters than names have");
    }
    if architecture.is_some_and(|architecture| architecture.is_empty() || !architecture.bytes().all(word)) {
        return Err("what follows a colon is no architecture");
    }
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Alternative { name, architecture, version: None });
    }
    let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.ok_or("what follows a name is no version in parentheses")?.trim();
    let end = inner.find(|c: char| !matches!(c, '<' | '=' | '>')).unwrap_or(inner.len());
    let relation = match &inner[..end] {
        "<<" => Relation::Earlier,
        "<=" | "<" => Relation::EarlierOrEqual,
        "=" => Relation::Equal,
        ">=" | ">" => Relation::LaterOrEqual,
        ">>" => Relation::Later,
        _ => return Err("a version has no relation such as `>=`"),
    };
    let version = inner[end..].trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+-~:_".contains(&byte);
    if version.is_empty() || !version.bytes().all(allowed) {
        return Err("a version is missing or has other characters than versions have");
    }
    Ok(Alternative { name, architecture, version: Some((relation, version)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Vec<Vec<Result<Alternative<'_>, &'static str>>> {
        clauses(field).map(|clause| alternatives(clause).collect()).collect()
    }

    #[test]
    fn relations_as_debian_writes_them() {
        let plain = |name| Alternative { name, architecture: None, version: None };
        let libc = Alternative { version: Some((Relation::LaterOrEqual, "2.34")), ..plain("libc6") };
        let any = Alternative { architecture: Some("any"), ..plain("python3") };
        assert_eq!(
            read("libc6 (>= 2.34), debconf (>=0.5)|debconf-2.0 ,\n python3:any,, g++ ( = 4:12.2.0-3 )"),
            [
                vec![Ok(libc)],
                vec![
                    Ok(Alternative { version: Some((Relation::LaterOrEqual, "0.5")), ..plain("debconf") }),
                    Ok(plain("debconf-2.0"))
                ],
                vec![Ok(any)],
                vec![Ok(Alternative { version: Some((Relation::Equal, "4:12.2.0-3")), ..plain("g++") })],
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for text in [
            "a (2)",
            "a (>= 2",
            "a >= 2",
            "a (>= )",
            "a [amd64]",
            "a <!nocheck>",
            "|a",
            "a | ",
            "a:",
            "ä",
            "a (=> 2)",
        ] {
            assert!(read(text).concat().iter().any(Result::is_err), "{text}");
        }
    }

    #[test]
    fn without_a_version_nothing_that_asks_for_one_fits() {
        let versioned = alternative("a (>= 1)");
        assert_eq!(
            versioned.map(|a| (a.fits(None), a.fits(Some("1.0")), a.fits(Some("0.9")))),
            Ok((false, true, false))
        );
        assert_eq!(alternative("a").map(|a| (a.fits(None), a.fits(Some("3")))), Ok((true, true)));
        assert_eq!(alternative("a (< 1)").map(|a| a.fits(Some("1"))), Ok(true));
    }
}
