//! Reading one pulled file: is it what git has under that path, and what does it say of the repository?

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result, blocking,
    ecosystem::{Inspection, PulledFile},
    store::Blob,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    attribute,
    card::{Card, HEAD_LIMIT},
    git,
    layout::{self, Place},
    name::{ObjectId, RepoId, RepoKind},
    needs,
    record::{Item, Lfs, Reader},
    safety,
};

/// Bytes of a JSON file that is read for what it needs elsewhere.
const JSON_LIMIT: u64 = 4 << 20;
/// Names that mean a device on Windows, with any ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com1", "lpt1"];

/// Reads a pulled file, or the record of a commit.
///
/// # Errors
/// [`Error::Integrity`] when the bytes are not those of the commit, [`Error::Malformed`] for a path, attribute or
/// record that breaks the rules.
pub(crate) async fn inspect(file: &PulledFile<'_>) -> Result<Inspection> {
    let repo: RepoId = file.artifact.as_str().parse()?;
    let commit: ObjectId = file.revision.as_str().parse()?;
    match layout::place(file.path, &repo, commit)? {
        Place::Record => record(file, &repo, commit).await,
        Place::File(path) => {
            verify(file, path).await?;
            let mut inspection = read(file, &repo, path).await?;
            inspection.labels.extend(safety::labels(file).await?);
            if path.split('/').any(is_device) {
                inspection.labels.push("windows-device-name".to_owned());
            }
            Ok(inspection)
        }
    }
}

async fn record(file: &PulledFile<'_>, repo: &RepoId, commit: ObjectId) -> Result<Inspection> {
    let bytes = file.store.read(file.blob, 0..file.blob.size).await?;
    let mut reader = Reader::new(bytes, 0);
    let header = reader.header(repo, commit).await?;
    let mut files = 0;
    let mut made_here = header.git.is_some().then(Vec::new);
    while let Some(item) = reader.item().await? {
        item.check_pointer()?;
        files += u64::from(item.is_file());
        if let Some(items) = &mut made_here {
            items.push(item);
        }
    }
    if let (Some(items), Some(git)) = (made_here, &header.git) {
        git::check_commit(commit, git, &items)?;
    }
    if files != header.files {
        let detail = format!("{} files are announced, {files} are listed", header.files);
        return Err(Error::malformed(format!("`{}`", file.path), "commit-record", detail));
    }
    Ok(Inspection::default())
}

/// Checks the bytes against the commit: by the blob's id, or by digest and pointer where git has a pointer.
async fn verify(file: &PulledFile<'_>, path: &str) -> Result<()> {
    let refuse = |detail: &str| Error::malformed(format!("`{}`", file.path), "hub-attributes", detail);
    let oid = file.attributes.get(attribute::OID).and_then(Value::as_str);
    let oid: ObjectId = oid.ok_or_else(|| refuse("its git id is not known"))?.parse()?;
    let lfs = match file.attributes.get(attribute::LFS) {
        None => None,
        Some(value) => Some(Lfs::deserialize(value).map_err(|_| refuse("its LFS entry cannot be read"))?),
    };
    let differs = |expected: String, actual: String| {
        Err(Error::Integrity { what: format!("file `{}`", file.path), expected, actual })
    };
    match lfs {
        Some(lfs) if lfs.sha256 != file.blob.sha256 => {
            differs(lfs.sha256.to_string(), file.blob.sha256.to_string())
        }
        Some(_) => {
            let size = Some(file.blob.size);
            Item { path: path.to_owned(), oid, size, lfs }.check_pointer()
        }
        None => {
            let bytes = file.store.read(file.blob, 0..file.blob.size).await?;
            match git::blob_id_of_stream(bytes, file.blob.size).await? {
                actual if actual == oid => Ok(()),
                actual => differs(oid.to_string(), actual.to_string()),
            }
        }
    }
}

/// What the files that describe a repository say.
async fn read(file: &PulledFile<'_>, repo: &RepoId, path: &str) -> Result<Inspection> {
    let mut found = Inspection::default();
    if path == "README.md" {
        let head = head(file, HEAD_LIMIT as u64).await?;
        let card = blocking::run(move || Ok(Card::parse(&head))).await?;
        if let Some(card) = card {
            found.attributes = card_facts(&card);
            if repo.kind() == RepoKind::Model {
                let lacks_tokenizer =
                    file.attributes.get(attribute::LACKS_TOKENIZER) == Some(&Value::Bool(true));
                found.requirements = needs::of_card(&card, lacks_tokenizer, repo);
            }
            found.attributes.insert(attribute::CARD.to_owned(), card.to_text().into());
        }
        return Ok(found);
    }
    if !needs::is_config(path) || repo.kind() != RepoKind::Model || file.blob.size > JSON_LIMIT {
        return Ok(found);
    }
    let Ok(Value::Object(config)) = serde_json::from_slice::<Value>(&head(file, JSON_LIMIT).await?) else {
        return Ok(found);
    };
    if config.get("auto_map").is_some_and(Value::is_object) {
        found.labels.push("auto_map".to_owned());
    }
    found.requirements = needs::of_config(path, &config, repo);
    if path == "config.json" {
        let kept = ["architectures", "model_type"].into_iter().filter_map(|key| {
            let value = config.get(key).filter(|value| value.to_string().len() <= 4096)?;
            is_plain(value).then(|| (key.to_owned(), value.clone()))
        });
        let kept: serde_json::Map<String, Value> = kept.collect();
        if !kept.is_empty() {
            found.attributes.insert(attribute::CONFIG.to_owned(), Value::Object(kept));
        }
    }
    Ok(found)
}

/// What a person wants to see of a card, in few words.
fn card_facts(card: &Card) -> BTreeMap<String, Value> {
    let keys = ["license", "pipeline_tag", "library_name", "base_model", "datasets", "tags"];
    let known = keys.into_iter().filter_map(|key| {
        let list = card.list(key);
        let short: Vec<&str> = list.into_iter().filter(|text| text.len() <= 256).take(50).collect();
        (!short.is_empty()).then(|| (key.to_owned(), short.into()))
    });
    known.collect()
}

/// Texts and lists of texts.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(list) => list.iter().all(Value::is_string),
        _ => false,
    }
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    DEVICES.contains(&stem.as_str())
}

/// The first bytes of a file.
async fn head(file: &PulledFile<'_>, limit: u64) -> Result<Vec<u8>> {
    let Blob { size, .. } = *file.blob;
    let mut stream = file.store.read(file.blob, 0..size.min(limit)).await?;
    let mut bytes = Vec::with_capacity(size.min(limit) as usize);
    while let Some(piece) = stream.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
