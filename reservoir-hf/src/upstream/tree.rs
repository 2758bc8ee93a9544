//! Everything that a commit lists, page by page.

use std::collections::HashSet;

use reservoir_core::{Error, Result, digest::Sha256Digest, fetch::DisplayUrl};
use serde::Deserialize;
use url::Url;

use super::api::{Hub, next_page, parse};
use crate::{
    name::{BadPath, ObjectId, check_path},
    record::{ITEM_LIMIT, Item, Lfs},
};

/// Pages of one commit.
const PAGE_LIMIT: usize = 10_000;

/// A file or folder as the Hub lists it.
#[derive(Deserialize)]
struct Listed {
    r#type: String,
    path: String,
    oid: ObjectId,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    lfs: Option<ListedLfs>,
}

#[derive(Deserialize)]
struct ListedLfs {
    oid: Sha256Digest,
    size: u64,
    #[serde(rename = "pointerSize")]
    pointer_size: u64,
}

/// What a commit lists, sorted by path, and the files of it that cannot be kept, with the reason.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) items: Vec<Item>,
    pub(super) skipped: Vec<String>,
}

impl Tree {
    /// Whether a listed file can be kept.
    pub(super) fn is_kept(item: &Item) -> bool {
        item.is_file() && check_path(&item.path).is_ok()
    }
}

impl Hub<'_> {
    /// Reads the whole tree of a commit; `None` when the Hub does not know it.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a path that git cannot have, a pointer that is not the commit's, a link to
    /// elsewhere; [`Error::LimitExceeded`] for a list without end. One such entry condemns the whole list.
    pub(super) async fn tree(&self, commit: ObjectId) -> Result<Option<Tree>> {
        let mut url = self.api(&["tree", &commit.to_string()])?;
        url.set_query(Some("recursive=true&expand=false"));
        let mut tree = Tree { items: Vec::new(), skipped: Vec::new() };
        let mut read: HashSet<Url> = HashSet::new();
        for _ in 0..PAGE_LIMIT {
            let Some(page) = self.page(&url).await? else {
                if tree.items.is_empty() {
                    return Ok(None);
                }
                let detail = "the list breaks off";
                return Err(Error::malformed(DisplayUrl(&url).to_string(), "hub-tree", detail));
            };
            for listed in parse::<Vec<Listed>>(&page)? {
                tree.items.extend(item(listed)?);
            }
            if tree.items.len() > ITEM_LIMIT {
                break;
            }
            match next_page(&page.headers, &url)? {
                Some(next) => {
                    read.insert(std::mem::replace(&mut url, next));
                    if read.contains(&url) {
                        let detail = "`Link` leads back to a page that was read";
                        return Err(Error::malformed(DisplayUrl(&url).to_string(), "hub-link", detail));
                    }
                }
                None => return tree.finish().map(Some),
            }
        }
        let what = format!("the tree of `{}@{commit}`", self.repo);
        Err(Error::LimitExceeded { what, limit: format!("{ITEM_LIMIT} entries or {PAGE_LIMIT} pages") })
    }
}

impl Tree {
    fn finish(mut self) -> Result<Self> {
        self.items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = self.items.windows(2).find(|pair| pair[0].path == pair[1].path) {
            let detail = "is listed twice";
            return Err(Error::malformed(shown(&pair[0].path), "hub-tree", detail));
        }
        // Clients on other systems could not keep both; the catalog refuses the second of a pair.
        let mut folded: HashSet<String> = HashSet::new();
        for item in self.items.iter().filter(|item| item.is_file()) {
            if let Err(BadPath::Unsupported(reason)) = check_path(&item.path) {
                self.skipped.push(format!("{}: {reason}", shown(&item.path)));
            } else if !folded.insert(item.path.to_lowercase()) {
                self.skipped.push(format!("{}: differs from another path by case only", shown(&item.path)));
            }
        }
        Ok(self)
    }
}

fn item(listed: Listed) -> Result<Option<Item>> {
    if let Err(BadPath::Hostile(rule)) = check_path(&listed.path) {
        return Err(Error::malformed(shown(&listed.path), "hub-path", rule));
    }
    let refuse = |detail: &str| Err(Error::malformed(shown(&listed.path), "hub-tree", detail));
    match listed.r#type.as_str() {
        "file" => {}
        "directory" => {
            return Ok(Some(Item { path: listed.path, oid: listed.oid, size: None, lfs: None }));
        }
        _ => return refuse("is neither file nor directory"),
    }
    if listed.lfs.as_ref().is_some_and(|lfs| lfs.size != listed.size) {
        return refuse("has two sizes");
    }
    if i64::try_from(listed.size).is_err() {
        return refuse("has a size beyond all disks");
    }
    let lfs = listed.lfs.map(|lfs| Lfs { sha256: lfs.oid, pointer_size: lfs.pointer_size });
    let item = Item { path: listed.path, oid: listed.oid, size: Some(listed.size), lfs };
    item.check_pointer()?;
    Ok(Some(item))
}

fn shown(path: &str) -> String {
    let short: String = path.chars().take(120).collect();
    format!("{short:?}")
}
