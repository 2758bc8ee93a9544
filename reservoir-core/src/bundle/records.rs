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
        let is_long = matches!(line, Line::Repository(_) | Line::Revision(_));
        self.0.push_within(line, if is_long { lines::LINE } else { SHORT as u64 })
    }

    pub(crate) fn finish(self) -> Result<(W, Part)> {
        self.0.finish()
    }
}

/// Files of one revision that are handled together, and bytes of their lines after which no more are.
const FILES: usize = 200;
const BYTES: usize = 4 << 20;
/// The longest line of a file, an artifact or an alarm, in bytes.
const SHORT: usize = 4 << 20;
/// How longer lines begin: a repository may name all that it selects, a revision has the decisions on each of its files.
const LONG: [&[u8]; 2] = [b"{\"record\":\"repository\",", b"{\"record\":\"revision\","];
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
    /// With the bytes of its line.
    held: Option<(Line, usize)>,
    revision: Option<CarriedRevision>,
    in_repository: bool,
    size: usize,
}

impl<R: Read> RecordsReader<R> {
    pub(crate) fn new(input: R, part: &Part) -> Result<Self> {
        let lines = LinesReader::new(NAME, input, part)?;
        Ok(Self { lines, held: None, revision: None, in_repository: false, size: 0 })
    }

    /// Bytes of the lines of the group that was given last: what it takes in memory, about.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn line(&mut self) -> Result<Option<(Line, usize)>> {
        let Some(bytes) = self.lines.advance()? else { return Ok(None) };
        let size = bytes.len();
        if size > SHORT && !LONG.iter().any(|begin| bytes.starts_with(begin)) {
            return Err(Error::malformed(NAME, "bundle-records", format!("a line is over {SHORT} bytes")));
        }
        Ok(Some((self.lines.parse()?, size)))
    }

    pub(crate) fn next(&mut self) -> Result<Option<Group>> {
        let malformed = |detail: &str| Error::malformed(NAME, "bundle-records", detail);
        let line = match self.held.take() {
            Some(line) => Some(line),
            None => self.line()?,
        };
        let Some((line, size)) = line else { return Ok(None) };
        self.size = size;
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
        while files.len() < FILES && self.size < BYTES {
            match self.line()? {
                Some((Line::File(file), size)) => {
                    check_file(&file)?;
                    files.push(*file);
                    self.size += size;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::{Approval, Mode, Publish};

    fn file(number: usize, padding: usize) -> Line {
        Line::File(Box::new(CarriedFile {
            path: format!("files/{number}").parse().unwrap(),
            registry: "upstream".parse().unwrap(),
            url: "https://example.com/".parse().unwrap(),
            size: None,
            sha256: None,
            attributes: BTreeMap::from([("padding".to_owned(), "x".repeat(padding).into())]),
            blob: None,
            inspection: None,
            derived: Vec::new(),
            admitted: false,
            verdicts: Vec::new(),
        }))
    }

    fn head() -> [Line; 2] {
        let config = RepositoryConfig {
            name: "tools".parse().unwrap(),
            ecosystem: "toy".parse().unwrap(),
            registries: Vec::new(),
            mode: Mode::Mirror,
            hosted: false,
            approval: Approval::Automatic,
            publish: Publish::Automatic,
            schedule: None,
            dependencies: false,
            max_import: None,
            options: BTreeMap::new(),
        };
        let revision = CarriedRevision {
            artifact: "hammer".parse().unwrap(),
            revision: "1.0".parse().unwrap(),
            status: Status::Scanned,
            history: Vec::new(),
            approvals: Vec::new(),
        };
        let repository = CarriedRepository { config, snapshot_record: None };
        [Line::Repository(Box::new(repository)), Line::Revision(revision)]
    }

    /// What a sender can make a reader hold is bounded by bytes, not only by lines.
    #[test]
    fn groups_of_long_lines_are_small() {
        let mut writer = RecordsWriter::new(Vec::new()).unwrap();
        head().iter().try_for_each(|line| writer.push(line)).unwrap();
        (0..200).try_for_each(|number| writer.push(&file(number, 1 << 20))).unwrap();
        let (bytes, part) = writer.finish().unwrap();
        let mut reader = RecordsReader::new(&bytes[..], &part).unwrap();
        let (mut files, mut groups) = (0, 0);
        while let Some(group) = reader.next().unwrap() {
            assert!(reader.size() <= BYTES + (1 << 20) + 1024, "{} bytes are held", reader.size());
            if let Group::Revision(group) = group {
                groups += 1;
                files += group.1.len();
            }
        }
        assert_eq!(files, 200);
        assert!((40..=67).contains(&groups), "{groups}");
    }

    #[test]
    fn only_repositories_and_revisions_have_lines_without_measure() {
        let mut writer = RecordsWriter::new(Vec::new()).unwrap();
        let error = writer.push(&file(1, SHORT)).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
        let [mut repository, revision] = head();
        if let Line::Repository(repository) = &mut repository {
            repository.config.options.insert("packages".into(), "x".repeat(SHORT).into());
        }
        writer.push(&repository).unwrap();
        writer.push(&revision).unwrap();
        let (bytes, part) = writer.finish().unwrap();
        let mut reader = RecordsReader::new(&bytes[..], &part).unwrap();
        assert!(matches!(reader.next().unwrap(), Some(Group::Repository(_))) && reader.size() > SHORT);
        assert!(matches!(reader.next().unwrap(), Some(Group::Revision(_))));
        assert!(reader.next().unwrap().is_none());
    }
}
