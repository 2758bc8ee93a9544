//! `records.jsonl.zst`: what makes the blobs trustworthy. Lines stand under those before them: artifacts and revisions
//! under their repository, files under their revision.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    canonical::LARGEST,
    header::Part,
    lines::{self, LinesReader, LinesWriter},
};
use crate::{
    catalog::{RecordedAlarm, VerdictRow},
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Inspection, RepositoryConfig},
    error::{Error, Result},
    lifecycle::{HistoryEntry, Status},
    name::{Actor, ArtifactName, RegistryName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// The name of the file.
pub(crate) const NAME: &str = "records.jsonl.zst";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(crate) enum Line {
    /// A repository; the lines of it follow.
    Repository(Box<CarriedRepository>),
    /// An artifact; its revisions follow, not necessarily at once.
    Artifact(CarriedArtifact),
    /// A revision; its files follow.
    Revision(CarriedRevision),
    /// A file of the revision before.
    File(Box<CarriedFile>),
    /// Something that a person had to look at.
    Alarm(Box<CarriedAlarm>),
}

/// A repository as configured on the outside, without its registries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CarriedRepository {
    pub(crate) config: RepositoryConfig,
    /// The signed record of the snapshot that its ref points to, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_record: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CarriedArtifact {
    pub(crate) name: ArtifactName,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quarantined: Option<String>,
}

/// A decision as carried: the revision it belongs to is the line it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarriedApproval {
    pub(crate) decision: bool,
    pub(crate) actor: Actor,
    pub(crate) reason: String,
    pub(crate) digests: Vec<Sha256Digest>,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CarriedRevision {
    pub(crate) artifact: ArtifactName,
    pub(crate) revision: RevisionName,
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<HistoryEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) approvals: Vec<CarriedApproval>,
}

/// What a scanner said of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarriedVerdict {
    pub(crate) scanner: String,
    pub(crate) rules: String,
    #[serde(flatten)]
    pub(crate) verdict: crate::gate::Verdict,
    pub(crate) at: Timestamp,
}

impl From<VerdictRow> for CarriedVerdict {
    fn from(row: VerdictRow) -> Self {
        Self { scanner: row.scanner, rules: row.rules, verdict: row.verdict, at: row.at }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CarriedFile {
    pub(crate) path: ContentPath,
    pub(crate) registry: RegistryName,
    pub(crate) url: url::Url,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<Sha256Digest>,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Value>,
    /// Its bytes, where they travel or travelled before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob: Option<Blob>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inspection: Option<Inspection>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) derived: Vec<(ContentPath, Blob)>,
    #[serde(default)]
    pub(crate) admitted: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) verdicts: Vec<CarriedVerdict>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarriedAlarm {
    pub(crate) artifact: ArtifactName,
    pub(crate) rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<ContentPath>,
    pub(crate) detail: String,
    pub(crate) at: Timestamp,
}

impl From<RecordedAlarm> for CarriedAlarm {
    fn from(row: RecordedAlarm) -> Self {
        let RecordedAlarm { artifact, alarm, at, .. } = row;
        Self { artifact, rule: alarm.rule, path: alarm.path, detail: alarm.detail, at }
    }
}

/// Writes the records.
pub(crate) struct RecordsWriter<W: Write>(LinesWriter<W>);

impl<W: Write> RecordsWriter<W> {
    pub(crate) fn new(out: W) -> Result<Self> {
        LinesWriter::new(out).map(Self)
    }

    pub(crate) fn push(&mut self, line: &Line) -> Result<()> {
        self.0.push(line)
    }

    pub(crate) fn finish(self) -> Result<(W, Part)> {
        self.0.finish()
    }
}

/// Files of one revision that are handled together.
const FILES: usize = 200;
/// Strings that are not names, in bytes.
const TEXT: usize = 64 << 10;

/// What a reader gives: one repository, artifact or alarm, or a revision with some of its files.
#[derive(Debug)]
pub(crate) enum Group {
    Repository(Box<CarriedRepository>),
    Artifact(CarriedArtifact),
    /// The same revision comes again where it has more files than are handled together.
    Revision(Box<(CarriedRevision, Vec<CarriedFile>)>),
    Alarm(Box<CarriedAlarm>),
}

/// Reads the records, in groups of bounded size, and refuses lines that stand under nothing.
pub(crate) struct RecordsReader<R: Read> {
    lines: LinesReader<R>,
    held: Option<Line>,
    revision: Option<CarriedRevision>,
    in_repository: bool,
}

impl<R: Read> RecordsReader<R> {
    pub(crate) fn new(input: R, part: &Part) -> Result<Self> {
        let lines = LinesReader::new(NAME, input, part)?;
        Ok(Self { lines, held: None, revision: None, in_repository: false })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Group>> {
        let malformed = |detail: &str| Error::malformed(NAME, "bundle-records", detail);
        let line = match self.held.take() {
            Some(line) => Some(line),
            None => self.lines.next()?,
        };
        let Some(line) = line else { return Ok(None) };
        let outside = malformed("a line stands under no repository");
        let group = match line {
            Line::Repository(repository) => {
                self.in_repository = true;
                self.revision = None;
                return Ok(Some(Group::Repository(repository)));
            }
            _ if !self.in_repository => return Err(outside),
            Line::Artifact(artifact) => {
                self.revision = None;
                Group::Artifact(artifact)
            }
            Line::Alarm(alarm) => {
                self.revision = None;
                check_text(&[&alarm.rule, &alarm.detail])?;
                Group::Alarm(alarm)
            }
            Line::Revision(revision) => {
                for entry in &revision.history {
                    check_text(&[&entry.reason])?;
                }
                for approval in &revision.approvals {
                    check_text(&[&approval.reason])?;
                }
                self.files(revision, Vec::new())?
            }
            Line::File(file) => {
                let mut again =
                    self.revision.take().ok_or_else(|| malformed("a file stands under no revision"))?;
                again.history.clear();
                again.approvals.clear();
                check_file(&file)?;
                self.files(again, vec![*file])?
            }
        };
        Ok(Some(group))
    }

    fn files(&mut self, revision: CarriedRevision, mut files: Vec<CarriedFile>) -> Result<Group> {
        while files.len() < FILES {
            match self.lines.next()? {
                Some(Line::File(file)) => {
                    check_file(&file)?;
                    files.push(*file);
                }
                other => {
                    self.held = other;
                    break;
                }
            }
        }
        self.revision = Some(revision.clone());
        Ok(Group::Revision(Box::new((revision, files))))
    }
}

/// A file whose own digest is not that of its bytes is nobody's.
fn check_file(file: &CarriedFile) -> Result<()> {
    let malformed =
        |detail: &str| Error::malformed(NAME, "bundle-records", format!("file `{}` {detail}", file.path));
    if let Some(blob) = &file.blob
        && file.sha256.is_some_and(|claimed| claimed != blob.sha256)
    {
        return Err(malformed("has other bytes than its registry said"));
    }
    let size = file.blob.map(|blob| blob.size).or(file.size);
    if size.is_some_and(|size| size > LARGEST) || file.size.is_some_and(|said| Some(said) != size) {
        return Err(malformed("has another size than its bytes, or one that cannot be"));
    }
    if file.derived.iter().any(|(_, blob)| blob.size > LARGEST) {
        return Err(malformed("had something taken out of it that is larger than can be"));
    }
    if file.admitted && (file.blob.is_none() || file.inspection.is_none()) {
        return Err(malformed("was let in without bytes or unread"));
    }
    for verdict in &file.verdicts {
        check_text(&[&verdict.scanner, &verdict.rules])?;
    }
    Ok(())
}

fn check_text(texts: &[&str]) -> Result<()> {
    if texts.iter().any(|text| text.len() > TEXT) {
        return Err(Error::malformed(NAME, "bundle-records", format!("a text is over {TEXT} bytes")));
    }
    Ok(())
}

pub(super) fn check_part(part: &Part) -> Result<()> {
    lines::check_part(NAME, part)
}
