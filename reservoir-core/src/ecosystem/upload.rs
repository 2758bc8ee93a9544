//! What somebody puts into a hosted repository.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{Inspection, RepositoryConfig};
use crate::{
    name::{ArtifactName, RevisionName},
    path::ContentPath,
    store::{Blob, Store},
};

/// A file on this machine that is to go into a hosted repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What whoever brought it calls it: a file name, for formats that read anything out of it, and for messages.
    pub name: String,
    /// Where its bytes are. They are copied; the file stays.
    pub path: PathBuf,
}

/// A file whose bytes are in the store, before anything is believed of it.
#[derive(Debug)]
pub struct Received<'a> {
    /// For which repository.
    pub repository: &'a RepositoryConfig,
    /// What whoever brought it calls it.
    pub name: &'a str,
    /// Its bytes.
    pub blob: &'a Blob,
    /// Where to read them, verified.
    pub store: &'a dyn Store,
}

/// What a format says a received file is. From here on it goes the way of every file: inspection, scanners, policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The artifact it belongs to.
    pub artifact: ArtifactName,
    /// The revision it belongs to.
    pub revision: RevisionName,
    /// Its path within the repository.
    pub path: ContentPath,
    /// Facts that inspection does not find again.
    pub attributes: BTreeMap<String, Value>,
    /// What [`inspect`](super::Ecosystem::inspect) would say of it, where all of that was looked at to identify it;
    /// otherwise it is asked.
    pub inspection: Option<Inspection>,
}

impl Accepted {
    /// The attribute that says, as `true`, that a file was uploaded and its name is therefore internal. It goes with
    /// the file to wherever its snapshot is promoted or carried, and is set by formats whose repositories may be
    /// [`hosted`](RepositoryConfig::hosted) beside registries.
    pub const INTERNAL: &str = "internal";
}
