//! Environment markers ([PEP 508]), asked one question only: may this requirement apply to a target?
//!
//! What a target does not fix (the patch release, the kernel) is taken to hold either way, and there is no
//! `not` in the language, so the answer errs to "yes" and a closure never misses a package. The crate
//! `pep508_rs` is not used: it refuses `'x' in extras`, and it keeps every marker it ever saw for the life of
//! the process, which hostile metadata could fill.
//!
//! [PEP 508]: https://peps.python.org/pep-0508/#environment-markers

use std::str::FromStr;

use pep440_rs::VersionSpecifier;

use crate::{
    name::normalize,
    target::{Platform, Target},
};

/// Deepest nesting of parentheses taken.
const DEPTH: usize = 64;
/// Most comparisons taken.
const COMPARISONS: usize = 1000;

/// A parsed marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marker {
    Compare(Compare),
    All(Vec<Marker>),
    Any(Vec<Marker>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compare {
    left: Value,
    operator: String,
    right: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Variable(String),
    Text(String),
}

/// Where a marker is evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment<'a> {
    /// The target; `None` when the repository names none, and everything about it is unknown.
    pub(crate) target: Option<&'a Target>,
    /// Extras in normal form; `None` when those were judged before.
    pub(crate) extras: Option<&'a [String]>,
}

impl Marker {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parser = Parser { rest: text, comparisons: 0 };
        let marker = parser.any(0)?;
        match parser.rest.trim_start() {
            "" => Ok(marker),
            _ => Err("has something after its marker"),
        }
    }

    /// Whether the marker may hold.
    pub(crate) fn may_hold(&self, environment: Environment<'_>) -> bool {
        match self {
            Self::Compare(compare) => compare.may_hold(environment),
            Self::All(parts) => parts.iter().all(|part| part.may_hold(environment)),
            Self::Any(parts) => parts.iter().any(|part| part.may_hold(environment)),
        }
    }
}

impl Compare {
    fn may_hold(&self, environment: Environment<'_>) -> bool {
        let (name, text, reversed) = match (&self.left, &self.right) {
            (Value::Variable(name), Value::Text(text)) => (name.as_str(), text.as_str(), false),
            (Value::Text(text), Value::Variable(name)) => (name.as_str(), text.as_str(), true),
            // Two literals say nothing about an environment; two variables are not compared by any tool.
            _ => return true,
        };
        let positive = matches!(self.operator.as_str(), "==" | "===" | "in");
        match name {
            // A tool may ask with one extra, several or none, so only the positive forms exclude anything.
            "extra" | "extras" => {
                let wanted = normalize(text);
                !positive || environment.extras.is_none_or(|extras| extras.contains(&wanted))
            }
            // Clients that know no variants see none (PEP 825).
            _ if name.starts_with("variant_") => !positive,
            "python_version" | "python_full_version" | "implementation_version" => {
                environment.target.is_none_or(|target| self.python_may_match(target, name, text, reversed))
            }
            _ => match environment.target.and_then(|target| fact(target, name)) {
                Some(fact) => compare_text(&fact, &self.operator, text, reversed),
                None => true,
            },
        }
    }

    fn python_may_match(&self, target: &Target, name: &str, text: &str, reversed: bool) -> bool {
        let python = target.python;
        let short = format!("{}.{}", python.major, python.minor);
        if matches!(self.operator.as_str(), "in" | "not in") {
            return name != "python_version" || compare_text(&short, &self.operator, text, reversed);
        }
        let operator = if reversed { mirrored(&self.operator) } else { &self.operator };
        let Ok(specifier) = VersionSpecifier::from_str(&format!("{operator}{}", text.trim())) else {
            return true;
        };
        if name == "python_version" {
            return short.parse().is_ok_and(|version| specifier.contains(&version));
        }
        python.patches([specifier.version()].into_iter()).any(|version| specifier.contains(&version))
    }
}

fn mirrored(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        same => same,
    }
}

/// What a target says about a variable; `None` when it says nothing.
fn fact(target: &Target, name: &str) -> Option<String> {
    let (os_name, sys_platform, platform_system, machine) = match &target.platform {
        Platform::Manylinux { arch, .. } | Platform::Musllinux { arch, .. } | Platform::Linux { arch } => {
            ("posix", "linux", "Linux", arch.as_str())
        }
        Platform::Macos { arch, .. } => ("posix", "darwin", "Darwin", arch.as_str()),
        Platform::Windows { tag } => {
            let machine = match tag.as_str() {
                "win_amd64" => "AMD64",
                "win_arm64" => "ARM64",
                _ => "x86",
            };
            ("nt", "win32", "Windows", machine)
        }
        Platform::Any => ("", "", "", ""),
    };
    let value = match name {
        "os_name" => os_name,
        "sys_platform" => sys_platform,
        "platform_system" => platform_system,
        "platform_machine" => machine,
        "implementation_name" => "cpython",
        "platform_python_implementation" => "CPython",
        _ => "",
    };
    (!value.is_empty()).then(|| value.to_owned())
}

fn compare_text(fact: &str, operator: &str, text: &str, reversed: bool) -> bool {
    let (left, right) = if reversed { (text, fact) } else { (fact, text) };
    match operator {
        "==" | "===" => left == right,
        "!=" => left != right,
        "in" => right.contains(left),
        "not in" => !right.contains(left),
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        _ => true,
    }
}

struct Parser<'t> {
    rest: &'t str,
    comparisons: usize,
}

impl<'t> Parser<'t> {
    fn any(&mut self, depth: usize) -> Result<Marker, &'static str> {
        let mut parts = vec![self.all(depth)?];
        while self.word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Marker::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Marker, &'static str> {
        let mut parts = vec![self.atom(depth)?];
        while self.word("and") {
            parts.push(self.atom(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Marker::All(parts) })
    }

    fn atom(&mut self, depth: usize) -> Result<Marker, &'static str> {
        if self.symbol("(") {
            if depth == DEPTH {
                return Err("has a marker nested too deep");
            }
            let inner = self.any(depth + 1)?;
            return if self.symbol(")") { Ok(inner) } else { Err("has an open parenthesis in its marker") };
        }
        self.comparisons += 1;
        if self.comparisons > COMPARISONS {
            return Err("has too many comparisons in its marker");
        }
        let left = self.value()?;
        let operator = self.operator()?;
        let right = self.value()?;
        Ok(Marker::Compare(Compare { left, operator, right }))
    }

    fn value(&mut self) -> Result<Value, &'static str> {
        self.rest = self.rest.trim_start();
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let inner = &self.rest[1..];
            let end = inner.find(quote).ok_or("has an open quote in its marker")?;
            self.rest = &inner[end + 1..];
            return Ok(Value::Text(inner[..end].to_owned()));
        }
        let name = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        match name {
            "" => Err("has a marker that cannot be read"),
            // The spellings of PEP 345.
            "python_implementation" | "platform.python_implementation" => {
                Ok(Value::Variable("platform_python_implementation".into()))
            }
            name => Ok(Value::Variable(name.replace('.', "_"))),
        }
    }

    fn operator(&mut self) -> Result<String, &'static str> {
        self.rest = self.rest.trim_start();
        if self.word("in") {
            return Ok("in".into());
        }
        if self.word("not") {
            return if self.word("in") { Ok("not in".into()) } else { Err("has `not` without `in`") };
        }
        match self.take(|c| matches!(c, '<' | '>' | '=' | '!' | '~')) {
            operator @ ("==" | "===" | "!=" | "<" | "<=" | ">" | ">=" | "~=") => Ok(operator.into()),
            _ => Err("has a comparison that PEP 508 does not know in its marker"),
        }
    }

    fn take(&mut self, keep: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(symbol).map(|rest| self.rest = rest).is_some()
    }

    /// Takes a keyword that ends there.
    fn word(&mut self, word: &str) -> bool {
        self.rest = self.rest.trim_start();
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        self.rest = rest;
        true
    }
}
