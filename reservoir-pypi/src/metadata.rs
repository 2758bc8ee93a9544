//! Core metadata: what `METADATA` in a wheel and `PKG-INFO` in an sdist say.
//!
//! The format is RFC 822-like, as [the core metadata specification][spec] has it: header fields, perhaps folded
//! over several lines, then a blank line and the description. Clients read it with different mail parsers, so
//! everything those disagree on is refused: a bare carriage return, a line that is no field, a field that may
//! stand once standing twice.
//!
//! [spec]: https://packaging.python.org/en/latest/specifications/core-metadata/

use reservoir_core::{Error, Result};

/// Bytes of a metadata file; the largest seen in the wild is under 1 MiB, and that is its description.
pub(crate) const LIMIT: u64 = 16 << 20;

/// Header fields of one file.
const FIELDS: usize = 20_000;

/// Bytes of one field's value that are kept for fields shown to people.
const SHOWN: usize = 300;

/// Fields that clients or we read as one value. Python's `email` takes the first of two, others the last.
const SINGLE: [&str; 12] = [
    "metadata-version",
    "name",
    "version",
    "requires-python",
    "summary",
    "description",
    "description-content-type",
    "license",
    "license-expression",
    "keywords",
    "author",
    "maintainer",
];

/// The fields of a metadata file that decide what clients do, and a few that people want to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// `Metadata-Version`, such as `2.4`.
    pub(crate) format: String,
    /// `Name`, as written.
    pub(crate) name: String,
    /// `Version`, as written.
    pub(crate) version: String,
    /// `Requires-Python`, as written.
    pub(crate) requires_python: Option<String>,
    /// Each `Requires-Dist`, as written.
    pub(crate) requires_dist: Vec<String>,
    /// Each `Provides-Extra`, as written.
    pub(crate) provides_extra: Vec<String>,
    /// Each `Dynamic` field name, lowercase (PEP 643).
    pub(crate) dynamic: Vec<String>,
    /// `Summary`, its first 300 bytes.
    pub(crate) summary: Option<String>,
    /// `License-Expression`, else the first line of `License`; 300 bytes at most.
    pub(crate) license: Option<String>,
}

impl Metadata {
    /// Parses a metadata file; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] with rule `metadata-encoding`, `metadata-syntax`, `metadata-duplicate-field` or
    /// `metadata-missing-field`; [`Error::LimitExceeded`] beyond 20,000 fields.
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Error::malformed(
                what,
                "metadata-encoding",
                format!("is not UTF-8 at byte {}", error.valid_up_to()),
            )
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut metadata = Self::default();
        let mut seen = Vec::new();
        let mut license_text = None;
        for (number, field) in Fields::new(what, text).enumerate() {
            if number >= FIELDS {
                return Err(Error::LimitExceeded {
                    what: format!("fields of {what}"),
                    limit: format!("{FIELDS} fields"),
                });
            }
            let Field { name, value } = field?;
            if let Some(single) = SINGLE.iter().find(|single| name == **single) {
                if seen.contains(single) {
                    let detail = format!("field `{name}` stands twice");
                    return Err(Error::malformed(what, "metadata-duplicate-field", detail));
                }
                seen.push(single);
            }
            match name.as_str() {
                "metadata-version" => metadata.format = value,
                "name" => metadata.name = value,
                "version" => metadata.version = value,
                "requires-python" => metadata.requires_python = Some(value).filter(|value| !value.is_empty()),
                "requires-dist" => metadata.requires_dist.push(value),
                "provides-extra" => metadata.provides_extra.push(value),
                "dynamic" => metadata.dynamic.push(value.to_ascii_lowercase()),
                "summary" => metadata.summary = shown(&value),
                "license" => license_text = shown(&value),
                "license-expression" => metadata.license = shown(&value),
                _ => {}
            }
        }
        metadata.license = metadata.license.or(license_text);
        for (field, value) in
            [("Metadata-Version", &metadata.format), ("Name", &metadata.name), ("Version", &metadata.version)]
        {
            if value.is_empty() {
                let detail = format!("field `{field}` is missing or empty");
                return Err(Error::malformed(what, "metadata-missing-field", detail));
            }
        }
        Ok(metadata)
    }

    /// Whether its dependency fields hold for every wheel built from the sdist it came from (PEP 643):
    /// `Metadata-Version` 2.2 or a later 2.x, and none of them in `Dynamic`.
    #[must_use]
    pub(crate) fn is_static(&self) -> bool {
        const DECISIVE: [&str; 3] = ["requires-dist", "requires-python", "provides-extra"];
        let minor = self.format.strip_prefix("2.").and_then(|minor| minor.parse::<u32>().ok());
        minor.is_some_and(|minor| minor >= 2)
            && !self.dynamic.iter().any(|field| DECISIVE.contains(&field.as_str()))
    }
}

/// The first line of a value, cut to [`SHOWN`] bytes at a character.
fn shown(value: &str) -> Option<String> {
    let line = value.lines().next().unwrap_or_default().trim();
    let end = (0..=SHOWN.min(line.len())).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    Some(line[..end].to_owned()).filter(|line| !line.is_empty())
}

/// One header field, its name lowercase, its lines joined with `\n`.
struct Field {
    name: String,
    value: String,
}

/// The header fields up to the blank line that ends them.
struct Fields<'a> {
    what: &'a str,
    lines: std::iter::Peekable<std::str::Split<'a, char>>,
    number: usize,
}

impl<'a> Fields<'a> {
    fn new(what: &'a str, text: &'a str) -> Self {
        Self { what, lines: text.split('\n').peekable(), number: 0 }
    }

    fn refuse(&self, detail: &str) -> Error {
        Error::malformed(self.what, "metadata-syntax", format!("line {}: {detail}", self.number))
    }

    /// The line without its ending; both `\n` and `\r\n` end one.
    fn clean(&self, line: &'a str) -> Result<&'a str> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(['\r', '\0']) {
            return Err(self.refuse("has a bare carriage return or a NUL"));
        }
        Ok(line)
    }

    fn read(&mut self) -> Result<Option<Field>> {
        let Some(line) = self.lines.next() else { return Ok(None) };
        self.number += 1;
        let line = self.clean(line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(self.refuse("is no field and no continuation of one"));
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.refuse("has a field name that is empty or not printable ASCII"));
        }
        let mut field = Field { name: name.to_ascii_lowercase(), value: value.trim().to_owned() };
        while let Some(next) = self.lines.next_if(|line| line.starts_with([' ', '\t'])) {
            self.number += 1;
            let next = self.clean(next)?;
            field.value.push('\n');
            field.value.push_str(next.trim());
        }
        let folded = field.value.trim();
        if folded.len() != field.value.len() {
            field.value = folded.to_owned();
        }
        Ok(Some(field))
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "Metadata-Version: 2.1\nName: Alpha\nVersion: 1.0\n";

    fn rule(text: &str) -> &'static str {
        match Metadata::parse("METADATA", text.as_bytes()) {
            Err(Error::Malformed { rule, .. }) => rule,
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn fields_are_read_and_the_description_is_not() {
        let text = format!(
            "{HEAD}Requires-Python: >=3.8\nRequires-Dist: beta (>=1.0)\nrequires-dist: gamma;\n\
             \x20extra == 'x'\nProvides-Extra: x\nLicense: MIT\n  and more\nSummary: {}\n\nName: not a field\n",
            "é".repeat(400)
        );
        let metadata = Metadata::parse("METADATA", text.as_bytes()).unwrap();
        assert_eq!(metadata.name, "Alpha");
        assert_eq!(metadata.requires_python.as_deref(), Some(">=3.8"));
        assert_eq!(metadata.requires_dist, ["beta (>=1.0)", "gamma;\nextra == 'x'"]);
        assert_eq!(metadata.provides_extra, ["x"]);
        assert_eq!(metadata.license.as_deref(), Some("MIT"));
        assert_eq!(metadata.summary.map(|summary| summary.len()), Some(300));
    }

    #[test]
    fn windows_line_endings_and_a_byte_order_mark_are_read() {
        let text = format!("\u{feff}{HEAD}Requires-Dist: beta\n\nbody").replace('\n', "\r\n");
        let metadata = Metadata::parse("METADATA", text.as_bytes()).unwrap();
        assert_eq!((metadata.version.as_str(), metadata.requires_dist.len()), ("1.0", 1));
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for (tail, expected) in [
            ("Name: beta\n", "metadata-duplicate-field"),
            ("VERSION: 2.0\n", "metadata-duplicate-field"),
            ("Requires-Python: >=3\nRequires-Python: >=2\n", "metadata-duplicate-field"),
            ("just text\n", "metadata-syntax"),
            (": empty\n", "metadata-syntax"),
            ("Na me: x\n", "metadata-syntax"),
            ("Summary: a\rName: b\n", "metadata-syntax"),
            ("Summary: a\n b\0\n", "metadata-syntax"),
        ] {
            assert_eq!(rule(&format!("{HEAD}{tail}")), expected, "{tail:?}");
        }
        assert_eq!(rule(" Name: folded first\n"), "metadata-syntax");
        assert_eq!(rule("Metadata-Version: 2.1\nName: a\n\nVersion: 1\n"), "metadata-missing-field");
        let latin1 = [HEAD.as_bytes(), b"Author: \xe9\n"].concat();
        assert!(matches!(
            Metadata::parse("METADATA", &latin1),
            Err(Error::Malformed { rule: "metadata-encoding", .. })
        ));
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        let text = format!("{HEAD}{}", "Classifier: x\n".repeat(FIELDS));
        assert!(matches!(Metadata::parse("METADATA", text.as_bytes()), Err(Error::LimitExceeded { .. })));
    }

    #[test]
    fn static_means_pep_643() {
        for (version, dynamic, expected) in [
            ("2.2", "", true),
            ("2.4", "Dynamic: License-File\n", true),
            ("2.4", "Dynamic: requires-dist\n", false),
            ("2.2", "Dynamic: Provides-Extra\n", false),
            ("2.2", "Dynamic: Requires-Python\n", false),
            ("2.1", "", false),
            ("1.2", "", false),
            ("3.0", "", false),
            ("2.10", "", true),
        ] {
            let text = format!("Metadata-Version: {version}\nName: a\nVersion: 1\n{dynamic}");
            let metadata = Metadata::parse("PKG-INFO", text.as_bytes()).unwrap();
            assert_eq!(metadata.is_static(), expected, "{version} {dynamic}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Metadata::parse("METADATA", &bytes);
        }

        #[test]
        fn any_fields_are_parsed_or_refused(tail in "([A-Za-z-]{0,8}[: \t]{0,2}[ -~\r\n]{0,20}\n){0,12}") {
            if let Ok(metadata) = Metadata::parse("METADATA", format!("{HEAD}{tail}").as_bytes()) {
                prop_assert_eq!(metadata.name, "Alpha");
            }
        }
    }
}
