//! The Release of a suite: what is in it, dated and signed.

use std::{fmt::Write as _, sync::Arc};

use jiff::tz::TimeZone;
use reservoir_core::{
    Error, Result,
    clock::Timestamp,
    openpgp::Signer,
    snapshot::{Contents, IndexWriter},
};
use serde_json::Value;

use super::{
    ledger::IndexFile,
    listing::{Facts, Listing, join},
    plan::{Plan, SuitePlan},
};
use crate::options::Options;

/// Fields that clients remember of a published address and refuse to see changed.
const LASTING: [&str; 3] = ["Origin", "Label", "Codename"];

/// Fields that are upstream's, in the order they are written; those that say what is in it or for how long come
/// from here.
const UPSTREAM: [&str; 8] = [
    "Origin",
    "Label",
    "Suite",
    "Version",
    "Codename",
    "NotAutomatic",
    "ButAutomaticUpgrades",
    "Description",
];

/// Writes and lists `Release`, `Release.gpg` and `InRelease` of every suite.
pub(super) async fn write(
    contents: &Contents<'_>,
    plan: &Arc<Plan>,
    options: &Options,
    files: &[IndexFile],
    out: &IndexWriter<'_>,
    listing: &mut Listing,
) -> Result<()> {
    let signer = contents.signer.ok_or_else(|| {
        Error::invalid("Engine::builder()", "needs .signer(…): apt refuses what is not signed")
    })?;
    for (index, suite) in plan.suites.iter().enumerate() {
        let fields = fields(contents, suite);
        refuse_change(contents, suite, options, &fields).await?;
        let mut text = head(contents, suite, options, &fields);
        let listed = plan.files.iter().zip(files);
        let listed = listed.filter(|(plan, file)| plan.suite == index && plan.is_listed(file.size));
        for (plan, file) in listed {
            // The plain name must be listed, though only the compressed file exists: clients look for that name.
            let name = plan.listed();
            let _ = writeln!(text, " {} {} {name}", file.sha256, file.size);
            let _ = writeln!(text, " {} {} {name}.gz", file.packed.sha256, file.packed.size);
        }
        let (created_at, folder) = (contents.created_at, suite.suite.folder());
        let documents = Signed::of(signer, text, created_at)?;
        // What is absent is remembered as well: apt compares it as an empty text.
        let remembered = |name: &&str| (name.to_ascii_lowercase(), Value::from(field(&fields, name)));
        let facts: Facts = LASTING.iter().map(remembered).collect();
        for (name, text) in [
            ("Release", documents.release),
            ("Release.gpg", documents.detached),
            ("InRelease", documents.clear),
        ] {
            let blob = out.store(text.into()).await?;
            listing.add(&join(&folder, name), blob, facts.clone())?;
        }
    }
    Ok(())
}

struct Signed {
    release: String,
    detached: String,
    clear: String,
}

impl Signed {
    fn of(signer: &Signer, release: String, at: Timestamp) -> Result<Self> {
        let detached = signer.sign_detached(release.as_bytes(), at)?;
        let clear = signer.clearsign(&release, at)?;
        Ok(Self { release, detached, clear })
    }
}

/// Upstream's fields; where there is no upstream, our own.
fn fields(contents: &Contents<'_>, suite: &SuitePlan) -> Vec<(&'static str, String)> {
    if suite.upstream.is_empty() {
        let mut fields =
            vec![("Origin", "Reservoir".to_owned()), ("Label", contents.repository.name.to_string())];
        if !suite.suite.is_flat() {
            fields.push(("Suite", suite.suite.name().to_owned()));
            fields.push(("Codename", suite.suite.name().to_owned()));
        } else if !suite.suite.name().is_empty() {
            // As sources name it: apt compares.
            fields.push(("Suite", suite.suite.to_string()));
        }
        return fields;
    }
    let known = UPSTREAM.iter().filter_map(|name| {
        let value = suite.upstream.get(&name.to_ascii_lowercase())?;
        // One line, nothing at its end: the signature would not cover it.
        let value = value.lines().next().unwrap_or_default().trim();
        (!value.is_empty()).then(|| (*name, value.to_owned()))
    });
    known.collect()
}

/// apt stops with an error where one of these changed, until a person says yes on every client.
async fn refuse_change(
    contents: &Contents<'_>,
    suite: &SuitePlan,
    options: &Options,
    fields: &[(&'static str, String)],
) -> Result<()> {
    let Some(parent) = contents.parent_publication else { return Ok(()) };
    let path = join(&suite.suite.folder(), "InRelease");
    let Some(published) = parent.get(&path).await?.filter(|_| !options.allow_release_change) else {
        return Ok(());
    };
    for name in LASTING {
        let old = published.attributes.get(&name.to_ascii_lowercase()).and_then(Value::as_str);
        let new = field(fields, name);
        if let Some(old) = old.filter(|old| *old != new) {
            return Err(Error::Conflict {
                what: format!("suite `{}`", suite.suite),
                detail: format!(
                    "its {name} would change from `{old}` to `{new}`, and every apt that has seen it would refuse; to \
                     publish all the same, set `allow_release_change = true` on the repository"
                ),
            });
        }
    }
    Ok(())
}

/// A field, as apt compares it: empty where it is absent.
fn field<'f>(fields: &'f [(&'static str, String)], name: &str) -> &'f str {
    fields.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn head(
    contents: &Contents<'_>,
    suite: &SuitePlan,
    options: &Options,
    fields: &[(&'static str, String)],
) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let _ = writeln!(text, "{name}: {value}");
    }
    let _ = writeln!(text, "Date: {}", date(contents.created_at));
    if let Some(valid_for) = options.valid_for {
        let _ = writeln!(text, "Valid-Until: {}", date(contents.created_at.plus(valid_for)));
    }
    let words = |words: Vec<&str>| words.join(" ");
    let architectures = words(suite.architectures.iter().map(AsRef::as_ref).collect());
    let _ = writeln!(text, "Acquire-By-Hash: yes\nArchitectures: {architectures}");
    if !suite.suite.is_flat() {
        // Packages for all architectures are in the index of each.
        let components = words(suite.components.iter().map(AsRef::as_ref).collect());
        let _ = writeln!(text, "No-Support-for-Architecture-all: Packages\nComponents: {components}");
    }
    text.push_str("SHA256:\n");
    text
}

/// As every apt reads it: `Sat, 21 Nov 2026 14:00:00 UTC`.
fn date(at: Timestamp) -> String {
    at.to_jiff().to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}
