//! Requirements ([PEP 508]), read as leniently as uv reads them. The text is kept and never written anew.
//!
//! [PEP 508]: https://peps.python.org/pep-0508/

use std::str::FromStr;

use pep440_rs::{Operator, VersionSpecifier, VersionSpecifiers};
use reservoir_core::{Error, Result};

use crate::{
    marker::{Environment, Marker},
    name::{ProjectName, is_valid, normalize},
    target::Target,
    version::Version,
};

/// Longest requirement taken, in bytes.
const LIMIT: usize = 16 << 10;
/// Most extras in one requirement.
const EXTRAS: usize = 256;

/// A requirement: a project, some of its extras, and what its versions must satisfy.
#[derive(Debug, Clone)]
pub struct PyRequirement {
    /// The project.
    pub name: ProjectName,
    /// Its extras, in normal form.
    pub extras: Vec<String>,
    /// What follows name and extras, as it was written: specifiers and marker.
    pub tail: String,
    /// A direct reference (`name @ URL`), which an index cannot serve.
    pub url: Option<String>,
    /// What `tail` means.
    pub constraint: Constraint,
}

/// Specifiers and a marker, read from the text that follows a project's name.
#[derive(Debug, Clone)]
pub struct Constraint {
    specifiers: VersionSpecifiers,
    /// `*`: every version there is.
    whole: bool,
    marker: Option<Marker>,
}

impl PyRequirement {
    /// Reads a requirement.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rule `requirement`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |detail: String| {
            Error::malformed(format!("requirement {:?}", shown(text)), "requirement", detail)
        };
        if text.len() > LIMIT {
            return Err(bad(format!("is over {LIMIT} bytes long")));
        }
        let rest = text.trim();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let name = name.parse().map_err(|_| bad("does not begin with a project name".into()))?;
        let mut rest = rest.trim_start();
        let mut extras = Vec::new();
        if let Some(inner) = rest.strip_prefix('[') {
            let (list, after) =
                inner.split_once(']').ok_or_else(|| bad("has an open `[` after its name".into()))?;
            for extra in list.split(',').map(str::trim).filter(|extra| !extra.is_empty()) {
                if !is_valid(extra) || extras.len() == EXTRAS {
                    return Err(bad("has an extra that is no name, or too many extras".into()));
                }
                extras.push(normalize(extra));
            }
            rest = after.trim_start();
        }
        extras.sort_unstable();
        extras.dedup();
        if let Some(reference) = rest.strip_prefix('@') {
            // A URL may hold a semicolon; the marker's must follow white space.
            let end = reference.find(" ;").or_else(|| reference.find("\t;")).unwrap_or(reference.len());
            let (url, marker) = reference.split_at(end);
            let constraint = Constraint::parse(marker.trim_start()).map_err(bad)?;
            let url = Some(url.trim().to_owned());
            return Ok(Self { name, extras, tail: rest.to_owned(), url, constraint });
        }
        let constraint = Constraint::parse(rest).map_err(bad)?;
        Ok(Self { name, extras, tail: rest.to_owned(), url: None, constraint })
    }

    /// Whether the requirement may apply to one of the targets (any at all, when there are none) with these
    /// extras of the file that has it, in normal form.
    #[must_use]
    pub fn may_apply(&self, targets: &[Target], extras: &[String]) -> bool {
        let Some(marker) = &self.constraint.marker else { return true };
        let holds = |target| marker.may_hold(Environment { target, extras: Some(extras) });
        if targets.is_empty() { holds(None) } else { targets.iter().any(|target| holds(Some(target))) }
    }
}

impl Constraint {
    /// Every version, pre-releases by the usual rule.
    pub const WHOLE: &str = "*";

    /// Reads what follows a project's name. The error is the detail alone.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (specifiers, marker) = match text.split_once(';') {
            Some((specifiers, marker)) => (specifiers, Some(Marker::parse(marker)?)),
            None => (text, None),
        };
        let specifiers = specifiers.trim();
        if specifiers == Self::WHOLE {
            return Ok(Self { specifiers: VersionSpecifiers::empty(), whole: true, marker });
        }
        Ok(Self { specifiers: parse_specifiers(specifiers)?, whole: false, marker })
    }

    /// Whether nothing is said of versions.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.specifiers.is_empty() && !self.whole
    }

    /// Whether it may concern a target; extras were judged before.
    #[must_use]
    pub fn may_concern(&self, target: &Target) -> bool {
        let environment = Environment { target: Some(target), extras: None };
        self.marker.as_ref().is_none_or(|marker| marker.may_hold(environment))
    }

    /// Whether a version satisfies the specifiers; pre-releases are not treated apart here.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.specifiers.contains(version.as_pep440())
    }

    /// Whether it names one version exactly, which is what lets a yanked file be taken (PEP 592).
    #[must_use]
    pub fn is_pin(&self) -> bool {
        self.specifiers.iter().any(|one| matches!(one.operator(), Operator::Equal | Operator::ExactEqual))
    }

    /// Whether it names a pre-release, which is what lets pre-releases be taken (PEP 440).
    #[must_use]
    pub fn names_prerelease(&self) -> bool {
        self.specifiers.iter().any(|one| {
            !matches!(one.operator(), Operator::NotEqual | Operator::NotEqualStar) && one.any_prerelease()
        })
    }
}

/// Reads version specifiers with the repairs that real metadata needs: missing, doubled and trailing commas,
/// parentheses, stray quotes, `>=2.*`, `!=3.0*`, `!=~5.0`, `>dev`, a local part after an ordering.
///
/// The error is the detail alone.
pub(crate) fn parse_specifiers(text: &str) -> Result<VersionSpecifiers, String> {
    let text = text.trim();
    let text = text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(text);
    let text = text.replace(['"', '\''], "");
    let is_operator = |c: char| matches!(c, '<' | '>' | '=' | '!' | '~');
    let mut specifiers = Vec::new();
    let mut rest = text.trim_matches(|c: char| c == ',' || c.is_whitespace());
    while !rest.is_empty() {
        let end = rest.find(|c| !is_operator(c)).unwrap_or(rest.len());
        let (operator, after) = rest.split_at(end);
        // An epoch (`1!2.0`) is no operator.
        let end = after
            .char_indices()
            .find(|(at, c)| match c {
                '!' => after[at + 1..].starts_with('='),
                c => is_operator(*c) || *c == ',',
            })
            .map_or(after.len(), |(at, _)| at);
        let (version, after) = after.split_at(end);
        specifiers.push(parse_specifier(operator, version.trim())?);
        rest = after.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    Ok(specifiers.into_iter().collect())
}

fn parse_specifier(operator: &str, version: &str) -> Result<VersionSpecifier, String> {
    let mut operator = operator;
    let mut version = version.to_owned();
    let mut star = false;
    if let Some(stem) = version.strip_suffix('*') {
        version = stem.trim_end_matches('.').to_owned();
        star = true;
    }
    if operator == "!=~" {
        // `!=~5.0` was written for "not compatible with 5.0".
        operator = "!=";
        star = true;
    }
    if version == "dev" {
        "0.0.0.dev0".clone_into(&mut version);
    }
    if matches!(operator, "<" | "<=" | ">" | ">=" | "~=")
        && let Some((public, _)) = version.split_once('+')
    {
        version = public.to_owned();
    }
    // An ordering against a prefix is one against its first version.
    let star = if star && matches!(operator, "==" | "!=") { ".*" } else { "" };
    let repaired = format!("{operator}{version}{star}");
    VersionSpecifier::from_str(&repaired)
        .map_err(|error| format!("has the specifier {:?}: {error}", shown(&repaired)))
}

fn shown(text: &str) -> String {
    text.chars().take(120).collect()
}
