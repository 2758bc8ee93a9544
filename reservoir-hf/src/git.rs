//! The ids that git gives to bytes.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use reservoir_core::{Error, Result, digest::Sha256Digest, store::ByteStream};
use sha1::{Digest as _, Sha1};

use crate::{name::ObjectId, record::Item};

/// The id of a blob with these bytes.
#[must_use]
pub fn blob_id(bytes: &[u8]) -> ObjectId {
    object_id("blob", bytes)
}

/// The id of an object of any kind, from its content.
#[must_use]
pub fn object_id(kind: &str, content: &[u8]) -> ObjectId {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", content.len()));
    hash.update(content);
    ObjectId::from_bytes(hash.finalize().into())
}

/// The id of a blob that is read piece by piece.
///
/// # Errors
/// Those of the stream.
pub async fn blob_id_of_stream(mut bytes: ByteStream, size: u64) -> Result<ObjectId> {
    let mut hash = Sha1::new();
    hash.update(format!("blob {size}\0"));
    while let Some(piece) = bytes.try_next().await? {
        hash.update(&piece);
    }
    Ok(ObjectId::from_bytes(hash.finalize().into()))
}

/// The text that stands in git's tree for a file kept by LFS.
#[must_use]
pub fn lfs_pointer(sha256: &Sha256Digest, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// Folders within folders that a commit may have.
const DEPTH: usize = 64;

/// A folder while its tree is made.
#[derive(Default)]
struct Folder<'p> {
    files: BTreeMap<&'p str, ObjectId>,
    folders: BTreeMap<&'p str, Folder<'p>>,
}

/// The folders that files stand in, with the ids of their trees, sorted by path, and the id of the whole. Every file
/// has the mode of a plain one.
///
/// # Errors
/// [`Error::Malformed`] (`git-tree`) when a path is file and folder at once, or too deep.
pub fn trees<'p>(
    files: impl Iterator<Item = (&'p str, ObjectId)>,
) -> Result<(ObjectId, Vec<(String, ObjectId)>)> {
    let mut root = Folder::default();
    for (path, oid) in files {
        let refuse = |detail: &str| Error::malformed(format!("`{path}`"), "git-tree", detail);
        let mut folder = &mut root;
        let mut parts = path.split('/').peekable();
        let mut depth = 0;
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                if folder.folders.contains_key(part) || folder.files.insert(part, oid).is_some() {
                    return Err(refuse("is there already, or is a folder"));
                }
                break;
            }
            depth += 1;
            if folder.files.contains_key(part) || depth > DEPTH {
                return Err(refuse("stands in a file, or too deep"));
            }
            folder = folder.folders.entry(part).or_default();
        }
    }
    let mut found = Vec::new();
    let id = root.id("", &mut found);
    found.sort_unstable();
    Ok((id, found))
}

impl Folder<'_> {
    /// The id of its tree; those of all below it go to `found`.
    fn id(&self, path: &str, found: &mut Vec<(String, ObjectId)>) -> ObjectId {
        // Git compares the names of folders as if they ended with a slash.
        let mut entries: Vec<(Vec<u8>, &str, ObjectId)> =
            self.files.iter().map(|(name, oid)| (name.as_bytes().to_vec(), "100644", *oid)).collect();
        for (name, folder) in &self.folders {
            let inner = if path.is_empty() { (*name).to_owned() } else { format!("{path}/{name}") };
            let oid = folder.id(&inner, found);
            found.push((inner, oid));
            entries.push((format!("{name}/").into_bytes(), "40000", oid));
        }
        entries.sort_unstable();
        let mut content = Vec::new();
        for (name, mode, oid) in entries {
            content.extend_from_slice(mode.as_bytes());
            content.push(b' ');
            content.extend_from_slice(name.strip_suffix(b"/").unwrap_or(&name));
            content.push(0);
            content.extend_from_slice(oid.as_bytes());
        }
        object_id("tree", &content)
    }
}

/// A commit as git has it, and its id.
#[must_use]
pub fn commit(
    tree: ObjectId,
    parent: Option<ObjectId>,
    author: &str,
    seconds: i64,
    message: &str,
) -> (ObjectId, String) {
    let plain = |c: &char| !c.is_control() && !matches!(c, '<' | '>');
    let author: String = author.chars().filter(plain).collect();
    let parent = parent.map(|parent| format!("parent {parent}\n")).unwrap_or_default();
    let who = format!("{author} <{author}@localhost> {seconds} +0000");
    let message: String = message.chars().filter(|c| *c != '\0').collect();
    let text = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\n{}\n", message.trim_end());
    (object_id("commit", text.as_bytes()), text)
}

/// Checks that a commit has this id, and that its tree is what is listed.
///
/// # Errors
/// [`Error::Malformed`] (`git-commit`).
pub(crate) fn check_commit(commit: ObjectId, text: &str, items: &[Item]) -> Result<()> {
    let refuse = |detail: &str| Err(Error::malformed(format!("commit `{commit}`"), "git-commit", detail));
    if object_id("commit", text.as_bytes()) != commit {
        return refuse("its text has another id");
    }
    let files = items.iter().filter(|item| item.is_file());
    let (tree, folders) = trees(files.map(|item| (item.path.as_str(), item.oid)))?;
    if !text.starts_with(&format!("tree {tree}\n")) {
        return refuse("its tree is not what is listed");
    }
    let listed = items.iter().filter(|item| !item.is_file()).map(|item| (&item.path, item.oid));
    if !listed.eq(folders.iter().map(|(path, oid)| (path, *oid))) {
        return refuse("its folders are not what is listed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_gits() {
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(blob_id(b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(blob_id(b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }
}
