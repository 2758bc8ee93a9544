//! A binary package: an ar archive of `debian-binary`, `control.tar` and `data.tar` (deb(5)).

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result,
    archive::{
        ArMember, ArVisitor, Compression, Limits, Member, MemberKind, Take, TarRoot, Visitor, walk_ar,
    },
    ecosystem::{Inspection, PulledFile},
    store::{Blob, Store},
};
use serde_json::Value;

use crate::{
    attribute,
    control::{STANZA_LIMIT, Stanza},
    name::{Kind, split_revision},
};

/// What the control part of a package may be.
pub(super) const CONTROL: Limits = Limits {
    entries: 10_000,
    name: 4096,
    expanded: 16 << 20,
    ratio: 1000,
    member: 16 << 20,
    headers: 4 << 20,
};
/// What the files of a package may be. Those of debugging symbols and of models are large, and compress well.
const DATA: Limits = Limits {
    entries: 1_000_000,
    name: 4096,
    expanded: 64 << 30,
    ratio: 2000,
    member: 64 << 30,
    headers: 128 << 20,
};

/// Walks a package and compares it with its index entry. All of it is decompressed, nothing is kept but its control
/// paragraph, which has the attribute [`CONTROL`](attribute::CONTROL) where no index tells of the package.
pub(super) async fn inspect(file: &PulledFile<'_>) -> Result<Inspection> {
    let what = format!("`{}`", file.path);
    let text = walk(file.store, file.blob, &what).await?;
    let control = Stanza::parse(text.trim_ascii_end())?;
    let (name, version, architecture) =
        (control.required("Package")?, control.required("Version")?, control.required("Architecture")?);
    let differs = |field: &str, found: &str, expected: &str| {
        let detail = format!("its control file says {field} `{found}`, the index `{expected}`");
        Err(Error::malformed(what.clone(), "deb-control", detail))
    };
    if Kind::of(file.artifact)
        .is_none_or(|kind| !matches!(kind, Kind::Binary(known) if known.as_str() == name))
    {
        return differs("Package", name, file.artifact.as_str());
    }
    match split_revision(file.revision) {
        Some((known, _)) if known.as_str() != version => return differs("Version", version, known.as_str()),
        Some((_, known)) if known != architecture => return differs("Architecture", architecture, known),
        Some(_) => {}
        None => return differs("Version", version, file.revision.as_str()),
    }
    Ok(found(&control, file.attributes.contains_key(attribute::STANZAS)))
}

/// Walks all of a package; gives the bytes of its control paragraph.
pub(super) async fn walk(store: &dyn Store, blob: &Blob, what: &str) -> Result<Vec<u8>> {
    let reader = Reader { what: what.to_owned(), stage: Stage::Start, control: Vec::new() };
    let reader = walk_ar(store, blob, what, reader).await?;
    if reader.stage != Stage::Data {
        return Err(Error::malformed(what, "deb-members", "it has no data.tar"));
    }
    Ok(reader.control)
}

/// What a good package says of itself; its paragraph too, where no index has told of it.
pub(super) fn found(control: &Stanza<'_>, is_listed: bool) -> Inspection {
    let mut inspection = Inspection::default();
    if !is_listed {
        inspection.attributes =
            BTreeMap::from([(attribute::CONTROL.to_owned(), Value::from(control.text()))]);
    }
    for field in ["Pre-Depends", "Depends", "Recommends"] {
        inspection.requirements.extend(control.get(field).map(|value| format!("{field}: {value}")));
    }
    inspection
}

/// How far the members were read.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Stage {
    Start,
    Version,
    Control,
    Data,
}

#[derive(Debug)]
struct Reader {
    what: String,
    stage: Stage,
    control: Vec<u8>,
}

impl Reader {
    fn refuse<T>(&self, rule: &'static str, detail: impl Into<String>) -> Result<T> {
        Err(Error::malformed(&*self.what, rule, detail))
    }
}

impl ArVisitor for Reader {
    fn member(&mut self, name: &str, body: &mut ArMember<'_>) -> Result<()> {
        let (stem, compression) = Compression::of_name(name);
        self.stage = match (self.stage, stem) {
            (Stage::Start, "debian-binary") if compression == Compression::None => {
                let version = body.read_whole(64)?;
                if !version.starts_with(b"2.") || !version.ends_with(b"\n") {
                    return self.refuse("deb-version", "it is of another format than 2.0");
                }
                Stage::Version
            }
            (Stage::Version, "control.tar") => {
                let allowed = [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd];
                if !allowed.contains(&compression) {
                    return self
                        .refuse("deb-compression", format!("`{name}` is compressed as no control part is"));
                }
                let visitor = ControlFile::default();
                let visitor = body.walk_tar(compression, TarRoot::Folder, &CONTROL, visitor)?;
                match visitor.bytes {
                    Some(bytes) => self.control = bytes,
                    None => return self.refuse("deb-control", "it has no control file"),
                }
                Stage::Control
            }
            (Stage::Control, "data.tar") if compression != Compression::Lz4 => {
                body.walk_tar(compression, TarRoot::System, &DATA, Nothing)?;
                Stage::Data
            }
            // Signatures of the archive's own tools, which dpkg passes over.
            (stage, _) if name.starts_with('_') && stage != Stage::Start => stage,
            _ => {
                let detail = format!("its member `{}` is not what belongs there", name.escape_debug());
                return self.refuse("deb-members", detail);
            }
        };
        Ok(())
    }
}

/// Keeps `control`.
#[derive(Debug, Default)]
pub(super) struct ControlFile {
    pub(super) bytes: Option<Vec<u8>>,
    reading: Vec<u8>,
}

impl Visitor for ControlFile {
    fn member(&mut self, member: &Member<'_>) -> Result<Take> {
        if member.name != "control" || member.kind != MemberKind::File {
            return Ok(Take::Skip);
        }
        if member.size > STANZA_LIMIT as u64 {
            let limit = format!("{STANZA_LIMIT} bytes");
            return Err(Error::LimitExceeded { what: "a control file".into(), limit });
        }
        Ok(Take::Read)
    }

    fn data(&mut self, chunk: &[u8]) -> Result<()> {
        self.reading.extend_from_slice(chunk);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.bytes = Some(std::mem::take(&mut self.reading));
        Ok(())
    }
}

/// Looks at names only; the walk does.
#[derive(Debug)]
struct Nothing;

impl Visitor for Nothing {
    fn member(&mut self, _member: &Member<'_>) -> Result<Take> {
        Ok(Take::Skip)
    }

    fn data(&mut self, _chunk: &[u8]) -> Result<()> {
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}
