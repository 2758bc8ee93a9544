//! Attestations of a file (PEP 740): kept beside it byte-exact, and advertised only when they speak of it.
//!
//! Here a document is checked for its form, and whom it speaks of is read out of its statements. Whether its
//! signatures hold is for verification with sigstore to say, which this crate does not do yet: clients that
//! care verify what they are served.

use std::collections::{BTreeSet, HashSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reservoir_core::{
    Error, Result, blocking,
    digest::Sha256Digest,
    ecosystem::{CandidateFile, Inspection, PulledFile},
    path::ContentPath,
    snapshot::Entry,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The ending of the document's path, after the whole name of its file.
pub(crate) const ENDING: &str = ".provenance";
/// Attribute of the document: the SHA-256 of the file that its statements speak of. Absent when no statement
/// could be read.
pub(crate) const SUBJECT: &str = "subject_sha256";
/// Most bytes of a document; those seen have some tens of thousands.
const LIMIT: u64 = 1 << 20;

/// The path of the document that belongs to a file; `None` when the file's own is too long for one more.
pub(crate) fn path_of(file: &ContentPath) -> Option<ContentPath> {
    format!("{file}{ENDING}").parse().ok()
}

/// The documents of a release, for many questions after the one of a file.
pub(crate) struct Documents<'a>(HashSet<&'a ContentPath>);

impl<'a> Documents<'a> {
    pub(crate) fn among(files: &'a [CandidateFile]) -> Self {
        let is_document = |path: &&ContentPath| path.as_str().ends_with(ENDING);
        Self(files.iter().map(|file| &file.path).filter(is_document).collect())
    }

    /// That of a file, where the registry has one.
    pub(crate) fn of(&self, file: &ContentPath) -> Option<ContentPath> {
        path_of(file).filter(|document| self.0.contains(document))
    }
}

/// Whether a document may be shown for a file with this digest: what it says of another file is not for this one.
pub(crate) fn speaks_of(document: &Entry, sha256: Sha256Digest) -> bool {
    document.attributes.get(SUBJECT).is_none_or(|subject| *subject == sha256.to_string())
}

/// Reads a pulled document.
///
/// # Errors
/// [`Error::Malformed`] with the rule `provenance`; [`Error::Integrity`] when the store's bytes rotted.
pub(crate) async fn inspect(file: &PulledFile<'_>) -> Result<Inspection> {
    let what = format!("`{}`", file.path.file_name());
    if file.blob.size > LIMIT {
        let detail = format!("is {} bytes long; at most {LIMIT} are read", file.blob.size);
        return Err(Error::malformed(what, "provenance", detail));
    }
    let bytes = file.store.read_whole(&file.blob.sha256, LIMIT).await?;
    let read = move || subject(&bytes).map_err(|detail| Error::malformed(what, "provenance", detail));
    let subject = blocking::run(read).await?;
    let mut inspection = Inspection::default();
    if let Some(sha256) = subject {
        inspection.attributes.insert(SUBJECT.to_owned(), sha256.to_string().into());
    }
    Ok(inspection)
}

/// Whether attestations that somebody sends with a file are such, and of that file.
///
/// # Errors
/// [`Error::Malformed`] with the rule `provenance`.
pub(crate) fn check(file: &str, document: &[u8], sha256: Sha256Digest) -> Result<()> {
    let refuse = |detail| Error::malformed(format!("the attestations of `{file}`"), "provenance", detail);
    match subject(document).map_err(refuse)? {
        Some(subject) if subject != sha256 => {
            Err(refuse(format!("speak of a file with the digest `{subject}`, this one has `{sha256}`")))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct Document {
    version: u64,
    attestation_bundles: Vec<Bundle>,
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "publisher")]
    _publisher: Map<String, Value>,
    attestations: Vec<Attestation>,
}

#[derive(Deserialize)]
struct Attestation {
    version: u64,
    #[serde(rename = "verification_material")]
    _verification_material: Map<String, Value>,
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Envelope {
    statement: String,
    #[serde(rename = "signature")]
    _signature: String,
}

/// What an in-toto statement says, as far as it matters here.
#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

/// The one file that a document speaks of, or what is wrong with the document.
fn subject(bytes: &[u8]) -> Result<Option<Sha256Digest>, String> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| format!("is no document of PEP 740: {error}"))?;
    if document.version != 1 {
        return Err(format!("has the version {}; 1 is understood", document.version));
    }
    let mut subjects = BTreeSet::new();
    for attestation in document.attestation_bundles.iter().flat_map(|bundle| &bundle.attestations) {
        if attestation.version != 1 {
            return Err(format!("has an attestation of version {}; 1 is understood", attestation.version));
        }
        subjects.extend(subjects_of(&attestation.envelope).unwrap_or_default());
    }
    match subjects.len() {
        0 | 1 => Ok(subjects.pop_first()),
        several => Err(format!("speaks of {several} files, not of one")),
    }
}

/// The digests that a statement speaks of; `None` when it cannot be read, which is for verification to judge.
fn subjects_of(envelope: &Envelope) -> Option<Vec<Sha256Digest>> {
    let statement: Statement =
        serde_json::from_slice(&BASE64_STANDARD.decode(&envelope.statement).ok()?).ok()?;
    statement.subject.iter().map(|subject| subject.digest.sha256.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn attestation(statement: &Value) -> Value {
        json!({
            "version": 1,
            "verification_material": { "certificate": "MII", "transparency_entries": [{}] },
            "envelope": { "statement": BASE64_STANDARD.encode(statement.to_string()), "signature": "MEU" },
        })
    }

    fn statement(sha256: &str) -> Value {
        json!({ "_type": "https://in-toto.io/Statement/v1",
                "subject": [{ "name": "a-1.tar.gz", "digest": { "sha256": sha256 } }] })
    }

    fn document(attestations: &[Value]) -> Value {
        let bundle = json!({ "publisher": { "kind": "GitHub" }, "attestations": attestations });
        json!({ "version": 1, "attestation_bundles": [bundle] })
    }

    fn read(document: &Value) -> Result<Option<String>, String> {
        Ok(subject(document.to_string().as_bytes())?.map(|sha256| sha256.to_string()))
    }

    #[test]
    fn the_subject_is_read_out_of_the_statements() {
        let (one, two) = ("ab".repeat(32), "cd".repeat(32));
        let right = attestation(&statement(&one));
        assert_eq!(read(&document(&[right.clone(), right.clone()])), Ok(Some(one)));
        assert_eq!(read(&document(&[])), Ok(None));
        assert_eq!(read(&document(&[attestation(&json!("odd"))])), Ok(None));
        assert_eq!(read(&document(&[attestation(&statement("short"))])), Ok(None));
        let error = read(&document(&[right, attestation(&statement(&two))])).unwrap_err();
        assert!(error.contains("2 files"), "{error}");
    }

    #[test]
    fn other_forms_are_refused() {
        let right = document(&[attestation(&statement(&"ab".repeat(32)))]);
        for (pointer, value) in [
            ("/version", json!(2)),
            ("/version", json!("1")),
            ("/attestation_bundles", json!({})),
            ("/attestation_bundles", json!(null)),
            ("/attestation_bundles/0/publisher", json!("me")),
            ("/attestation_bundles/0/attestations", json!(null)),
            ("/attestation_bundles/0/attestations/0/version", json!(2)),
            ("/attestation_bundles/0/attestations/0/verification_material", json!([])),
            ("/attestation_bundles/0/attestations/0/envelope", json!(null)),
            ("/attestation_bundles/0/attestations/0/envelope/statement", json!(1)),
            ("/attestation_bundles/0/attestations/0/envelope/signature", json!({})),
        ] {
            let mut wrong = right.clone();
            *wrong.pointer_mut(pointer).unwrap() = value;
            assert!(read(&wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "null", "[]", "<html>", "{} {}", &"[".repeat(100_000)] {
            assert!(subject(wrong.as_bytes()).is_err(), "{wrong:.20}");
        }
    }

    proptest! {
        #[test]
        fn mutated_documents_never_panic(at in any::<prop::sample::Index>(), byte: u8, cut: prop::sample::Index) {
            let mut text = document(&[attestation(&statement(&"ab".repeat(32)))]).to_string().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            let _ = subject(&text);
            let _ = subject(&text[..cut.index(text.len())]);
        }
    }
}
