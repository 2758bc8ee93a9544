//! A verdict as the Hub's own clients read it: `securityFileStatus`.

use std::collections::BTreeSet;

use reservoir_core::{catalog::VerdictRow, gate::Verdict};
use serde_json::{Value, json};

use super::ModelFiles;

/// The `securityFileStatus` of a file, of everything that the catalog keeps of it
/// ([`Catalog::verdicts`](reservoir_core::catalog::Catalog::verdicts), the latest first).
///
/// `pickleImportScan` is [`ModelFiles`]' opinion; `avScan` is the worst of all other scanners'. `status` is the
/// worse of the two, in the Hub's words: `safe`, `suspicious`, `unsafe`, `error` for an incomplete look,
/// `unscanned` where nobody has looked. `pickleImports` names what a file with a finding imports.
#[must_use]
pub fn security_file_status(verdicts: &[VerdictRow]) -> Value {
    let is_ours = |row: &&VerdictRow| row.scanner == ModelFiles::ID;
    let ours = verdicts.iter().find(is_ours).map(|row| &row.verdict);
    // What newer rules of a scanner say stands.
    let mut scanners = BTreeSet::new();
    let latest = verdicts.iter().filter(|row| scanners.insert(&row.scanner));
    let others = latest.filter(|row| !is_ours(row) && row.scanner != "integrity");
    let others = others.map(|row| &row.verdict).max_by_key(|verdict| rank(status(Some(verdict))));
    let worst = [ours, others].into_iter().flatten().map(|verdict| status(Some(verdict)));
    let worst = worst.max_by_key(|status| rank(status));
    // What nobody but others looked at may be bad, and is not known to be good.
    let worst = worst.filter(|status| ours.is_some() || rank(status) > rank("safe")).unwrap_or("unscanned");
    json!({
        "status": worst,
        "avScan": { "status": status(others), "message": message(others), "version": Value::Null },
        "pickleImportScan": {
            "status": status(ours),
            "message": message(ours),
            "pickleImports": ours.map(imports).unwrap_or_default(),
            "version": Value::Null,
        },
    })
}

fn status(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        None => "unscanned",
        Some(Verdict::Clean) => "safe",
        Some(Verdict::Incomplete { .. }) => "error",
        Some(Verdict::Finding { rule, .. }) => match rule.as_str() {
            "pickle-unknown-import"
            | "zip-ambiguous"
            | "tar-ambiguous"
            | "compressed-trailing-bytes"
            | "pickle-trailing-bytes" => "suspicious",
            _ => "unsafe",
        },
    }
}

fn rank(status: &str) -> usize {
    ["unscanned", "safe", "error", "suspicious", "unsafe"]
        .iter()
        .position(|known| *known == status)
        .unwrap_or(0)
}

fn message(verdict: Option<&Verdict>) -> Option<&str> {
    match verdict? {
        Verdict::Clean => None,
        Verdict::Finding { detail, .. } => Some(detail),
        Verdict::Incomplete { reason } => Some(reason),
    }
}

/// The imports that the scanner writes as `` `module:name` (safety) ``; names of a file never hold a backtick.
fn imports(verdict: &Verdict) -> Vec<Value> {
    let Verdict::Finding { detail, .. } = verdict else { return Vec::new() };
    let mut imports = Vec::new();
    let mut rest = detail.as_str();
    while let Some((_, after)) = rest.split_once('`') {
        let Some((quoted, after)) = after.split_once('`') else { break };
        rest = after;
        let safety =
            after.strip_prefix(" (").and_then(|after| after.split_once(')')).map(|(safety, _)| safety);
        if let (Some((module, name)), Some(safety @ ("innocuous" | "suspicious" | "dangerous"))) =
            (quoted.split_once(':'), safety)
        {
            imports.push(json!({ "module": module, "name": name, "safety": safety }));
        }
    }
    imports
}
