//! Which names members may have, alone and together.

use std::collections::{HashMap, hash_map::Entry};

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::Limits;
use crate::error::{Error, Result};

/// A component of a name: what file systems hold (`NAME_MAX`).
const COMPONENT: usize = 255;

/// The kind of archive, for the names of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Zip,
    Tar,
    /// A TAR that is unpacked over the root of a system.
    System,
}

impl Format {
    /// The rule that a broken name is refused by.
    fn rule(self, zip: &'static str, tar: &'static str) -> &'static str {
        match self {
            Self::Zip => zip,
            Self::Tar | Self::System => tar,
        }
    }
}

/// Checks that `name` is a clean relative path. A slash at its end is the caller's to remove.
pub(super) fn check(format: Format, what: &str, name: &str, limit: usize) -> Result<()> {
    let refuse = |zip, tar, detail: &str| {
        Err(Error::malformed(what, format.rule(zip, tar), format!("member name {} {detail}", shown(name))))
    };
    if name.is_empty() {
        return refuse("zip-name-empty", "tar-name-empty", "is empty");
    }
    if name.len() > limit {
        return refuse("zip-name-long", "tar-name-long", "is too long");
    }
    if name.chars().any(is_control) {
        let detail = "has a control, format, private or unassigned character";
        return refuse("zip-name-control", "tar-name-control", detail);
    }
    if name.contains('\\') && format != Format::System {
        return refuse("zip-name-backslash", "tar-name-backslash", "has a backslash");
    }
    let drive = format != Format::System
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && name[1..].starts_with(':');
    if name.starts_with('/') || drive {
        return refuse("zip-name-absolute", "tar-name-absolute", "is absolute");
    }
    for part in name.split('/') {
        match part {
            "" => return refuse("zip-name-component", "tar-name-component", "has an empty component"),
            "." => return refuse("zip-name-component", "tar-name-component", "has a `.` component"),
            ".." => return refuse("zip-name-parent", "tar-name-parent", "has a `..` component"),
            _ if part.len() > COMPONENT => {
                return refuse("zip-name-long", "tar-name-long", "has a component over 255 bytes");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The class `\p{C}` of Unicode, which uv refuses.
pub(super) fn is_control(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Other
}

/// A name as it may appear in a message.
pub(super) fn shown(name: &str) -> String {
    let head: String = name.chars().take(120).collect();
    format!("`{}`", head.escape_debug())
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A directory that only the names below it imply.
    Implied,
    Link,
}

#[derive(Debug)]
struct Known {
    kind: Kind,
    /// The name itself, where its key differs.
    name: Option<Box<str>>,
}

/// All names met so far. It finds those that cannot stand beside each other on a client's disk.
#[derive(Debug)]
pub(super) struct Names {
    format: Format,
    what: String,
    known: HashMap<Box<str>, Known>,
    budget: u64,
    limit: u64,
}

impl Names {
    pub(super) fn new(format: Format, what: &str, limits: &Limits) -> Self {
        let known = HashMap::new();
        Self { format, what: what.to_owned(), known, budget: limits.headers, limit: limits.headers }
    }

    /// Adds a name that [`check`] found clean.
    pub(super) fn add(&mut self, name: &str, kind: Kind) -> Result<()> {
        let key = self.key(name);
        self.parents(name, &key)?;
        self.spend(name, &key)?;
        let other = (key != name).then(|| Box::from(name));
        match self.known.entry(key.into_boxed_str()) {
            Entry::Vacant(slot) => {
                slot.insert(Known { kind, name: other });
                Ok(())
            }
            Entry::Occupied(mut slot) => match (slot.get().kind, kind) {
                (Kind::Implied, Kind::Directory) => {
                    slot.insert(Known { kind, name: other });
                    Ok(())
                }
                // Archivers write a folder again when they are told to add to it.
                (Kind::Directory, Kind::Directory) if self.format != Format::Zip => Ok(()),
                (Kind::Implied, _) => {
                    let rule = self.format.rule("zip-file-as-folder", "tar-file-as-folder");
                    Err(Error::malformed(&*self.what, rule, format!("{} is a folder, too", shown(name))))
                }
                _ => {
                    let known = slot.get().name.as_deref().unwrap_or(slot.key());
                    let (rule, detail) = if known == name {
                        let rule = self.format.rule("zip-duplicate-entry", "tar-duplicate-entry");
                        (rule, format!("{} is there twice", shown(name)))
                    } else {
                        let detail =
                            format!("{} and {} are one file on some disks", shown(known), shown(name));
                        (self.format.rule("zip-name-collision", "tar-name-collision"), detail)
                    };
                    Err(Error::malformed(&*self.what, rule, detail))
                }
            },
        }
    }

    /// Whether a regular file of exactly that name came before.
    pub(super) fn is_file(&self, name: &str) -> bool {
        self.known.get(self.key(name).as_str()).is_some_and(|known| {
            known.kind == Kind::File && known.name.as_deref().is_none_or(|known| known == name)
        })
    }

    /// Every folder above must be one. Upwards, as the first that is known has known parents.
    fn parents(&mut self, name: &str, key: &str) -> Result<()> {
        let mut rest = key;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            match self.known.get(parent).map(|known| known.kind) {
                Some(Kind::Directory | Kind::Implied) => break,
                Some(Kind::File) => {
                    let rule = self.format.rule("zip-file-as-folder", "tar-file-as-folder");
                    let detail = format!("{} lies below a file", shown(name));
                    return Err(Error::malformed(&*self.what, rule, detail));
                }
                Some(Kind::Link) => {
                    let detail = format!("{} lies below a link", shown(name));
                    return Err(Error::malformed(&*self.what, "tar-through-link", detail));
                }
                None => {
                    self.spend("", parent)?;
                    self.known.insert(parent.into(), Known { kind: Kind::Implied, name: None });
                }
            }
            rest = parent;
        }
        Ok(())
    }

    /// ZIP is what Windows and macOS unpack, too; a TAR is built on one machine and read as it is.
    fn key(&self, name: &str) -> String {
        match self.format {
            Format::Tar | Format::System => name.to_owned(),
            Format::Zip => {
                let composed: String = name.nfc().collect();
                let parts = composed.split('/').map(|part| part.trim_end_matches(['.', ' ']).to_lowercase());
                // Lower case of a composed letter may be decomposed.
                parts.collect::<Vec<_>>().join("/").nfc().collect()
            }
        }
    }

    fn spend(&mut self, name: &str, key: &str) -> Result<()> {
        /// What the map needs beside the text itself.
        const OVERHEAD: u64 = 64;
        let bytes = OVERHEAD + key.len() as u64 + if key == name { 0 } else { name.len() as u64 };
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| Error::LimitExceeded {
            what: format!("the member names of {}", self.what),
            limit: format!("{} bytes in memory", self.limit),
        })?;
        Ok(())
    }
}
