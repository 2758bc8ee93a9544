//! What was found in one file so far, and the verdict that makes of it.

use std::collections::BTreeSet;

use reservoir_core::gate::Verdict;

/// Findings, reasons and imports that are told; more are counted.
const TOLD: usize = 12;

/// What can be found, the gravest first. The names are stable: policy, the catalog and the Hub's fields use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// A pickle imports what is known to run code.
    PickleDangerousImport,
    /// A pickle imports what is not on the allow-list.
    PickleUnknownImport,
    /// A pickle names or calls something that is no constant.
    PickleComputedName,
    /// A pickle sets the state of something that is no allowed object.
    PickleBuild,
    /// A pickle uses the extension registry, foreign persistent ids or out-of-band buffers.
    PickleOpcode,
    /// The bytes are a pickle and something else at once.
    PicklePolyglot,
    /// A pickle that its own interpreter would give up on, after it did something.
    PickleBroken,
    /// Bytes follow a pickle.
    PickleTrailingBytes,
    /// A Keras model that holds Python code or names classes from elsewhere.
    KerasCode,
    /// A TorchScript archive.
    TorchscriptCode,
    /// A program for some operating system.
    Executable,
    /// A safetensors file that breaks the rules.
    SafetensorsMalformed,
    /// A GGUF file that breaks the rules.
    GgufMalformed,
    /// A ZIP that two programs read differently.
    ZipAmbiguous,
    /// A ZIP at the end of something else.
    ZipPolyglot,
    /// A TAR that two programs read differently.
    TarAmbiguous,
    /// Bytes follow a compressed stream.
    CompressedTrailingBytes,
}

impl Rule {
    /// Its stable name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PickleDangerousImport => "pickle-dangerous-import",
            Self::PickleUnknownImport => "pickle-unknown-import",
            Self::PickleComputedName => "pickle-computed-name",
            Self::PickleBuild => "pickle-build",
            Self::PickleOpcode => "pickle-opcode",
            Self::PicklePolyglot => "pickle-polyglot",
            Self::PickleBroken => "pickle-broken",
            Self::PickleTrailingBytes => "pickle-trailing-bytes",
            Self::KerasCode => "keras-code",
            Self::TorchscriptCode => "torchscript-code",
            Self::Executable => "executable",
            Self::SafetensorsMalformed => "safetensors-malformed",
            Self::GgufMalformed => "gguf-malformed",
            Self::ZipAmbiguous => "zip-ambiguous",
            Self::ZipPolyglot => "zip-polyglot",
            Self::TarAmbiguous => "tar-ambiguous",
            Self::CompressedTrailingBytes => "compressed-trailing-bytes",
        }
    }
}

/// How much a name imported by a pickle is trusted, in the Hub's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Safety {
    Dangerous,
    Suspicious,
    Innocuous,
}

impl Safety {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Dangerous => "dangerous",
            Self::Suspicious => "suspicious",
            Self::Innocuous => "innocuous",
        }
    }
}

/// Findings, reasons why something could not be looked at, and imports, each bounded.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<(Rule, String)>,
    more_findings: usize,
    reasons: Vec<String>,
    more_reasons: usize,
    imports: BTreeSet<(Safety, String, String)>,
    more_imports: usize,
}

impl Report {
    pub(super) fn find(&mut self, rule: Rule, place: &str, detail: impl AsRef<str>) {
        let known = self.findings.iter().filter(|(known, _)| *known == rule).count();
        if known < 3 && self.findings.len() < TOLD {
            self.findings.push((rule, format!("{place} {}", detail.as_ref())));
        } else {
            self.more_findings += 1;
        }
    }

    pub(super) fn incomplete(&mut self, place: &str, reason: impl AsRef<str>) {
        if self.reasons.len() < TOLD {
            self.reasons.push(format!("{place}: {}", reason.as_ref()));
        } else {
            self.more_reasons += 1;
        }
    }

    pub(super) fn import(&mut self, safety: Safety, module: &str, name: &str) {
        let import = (safety, module.to_owned(), name.to_owned());
        if self.imports.len() < TOLD || self.imports.contains(&import) {
            self.imports.insert(import);
        } else {
            self.more_imports += 1;
        }
    }

    /// A finding outweighs what could not be looked at; both are told.
    pub(super) fn verdict(mut self) -> Verdict {
        self.findings.sort_by_key(|(rule, _)| *rule);
        let mut parts: Vec<String> = self.findings.iter().map(|(_, detail)| detail.clone()).collect();
        more(&mut parts, self.more_findings, "findings");
        if !self.imports.is_empty() {
            let imports = self.imports.iter();
            let imports =
                imports.map(|(safety, module, name)| format!("`{module}:{name}` ({})", safety.word()));
            let mut imports: Vec<String> = imports.collect();
            more(&mut imports, self.more_imports, "imports");
            parts.push(format!("imports {}", imports.join(", ")));
        }
        let mut reasons = std::mem::take(&mut self.reasons);
        more(&mut reasons, self.more_reasons, "reasons");
        match self.findings.first() {
            Some((rule, _)) => {
                parts.extend(reasons);
                Verdict::Finding { rule: rule.name().into(), detail: parts.join("; ") }
            }
            None if reasons.is_empty() => Verdict::Clean,
            None => Verdict::Incomplete { reason: reasons.join("; ") },
        }
    }
}

fn more(parts: &mut Vec<String>, count: usize, what: &str) {
    if count > 0 {
        parts.push(format!("{count} more {what}"));
    }
}

/// Text of the file as it may appear in a message: printable ASCII without backticks, and short.
pub(super) fn shown(text: &str) -> String {
    let escaped = text.chars().take(120).flat_map(char::escape_default);
    escaped.map(|c| if c == '`' { '\'' } else { c }).collect()
}
