//! The home directory: one place for settings, keys, catalog and store.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reservoir_apt::Apt;
use reservoir_core::{
    Engine, Error, Result,
    bundle::StreamKey,
    catalog::{Catalog, CatalogOptions},
    openpgp::{Signer, SigningKey},
    snapshot::InstanceKey,
    store::{self, ObjectStoreOptions},
};
use reservoir_hf::{Hf, safety::ModelFiles};
use reservoir_pypi::Pypi;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::durable;

/// The format of the home directory that this program writes.
const FORMAT: Version = Version::new(1, 0, 0);

/// Seconds for which verified bytes may be remembered: the longest that the store's contract allows.
const REMEMBER_LIMIT: u64 = 60;

/// What clients are told who may not write here.
const WRITE_REFUSAL: &str =
    "this server takes uploads only with `serve --allow-anonymous-writes`, on the loopback";

/// `reservoir.toml`: what differs between hosts. Repositories are in the catalog, by `apply`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The format of the home.
    pub(crate) format: Version,
    /// The catalog's address; relative SQLite paths are relative to the home.
    pub(crate) catalog: String,
    /// The store's address; relative paths are relative to the home.
    pub(crate) store: String,
    /// For how many seconds (60 at most) bytes that were verified against their digest need not be verified again
    /// while their file is unchanged. Absent: every read verifies every byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remember_verified_seconds: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: FORMAT,
            catalog: "sqlite:catalog.sqlite".into(),
            store: "store".into(),
            remember_verified_seconds: None,
        }
    }
}

/// An initialised home.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    settings: Settings,
}

impl Home {
    /// The folder to use: as given, else the user's data folder.
    pub(crate) fn folder(given: Option<PathBuf>) -> Result<PathBuf> {
        let folder = given.or_else(|| {
            let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
            data.or_else(home).map(|data| data.join("reservoir"))
        });
        let folder = folder
            .ok_or_else(|| Error::invalid("--home", "is needed: neither RESERVOIR_HOME nor HOME is set"))?;
        std::path::absolute(&folder).map_err(Error::io(format!("resolve `{}`", folder.display())))
    }

    /// Makes a home, or opens the one that is there. The flag says whether it is new.
    pub(crate) async fn init(folder: PathBuf, settings: Settings) -> Result<(Self, bool)> {
        if folder.join("reservoir.toml").exists() {
            return Ok((Self::open(folder)?, false));
        }
        let keys = folder.join("keys");
        std::fs::create_dir_all(&keys).map_err(Error::io(format!("create `{}`", keys.display())))?;
        durable::restrict(&keys).map_err(Error::io(format!("restrict `{}`", keys.display())))?;
        let home = Self { folder, settings };
        if !home.instance_key().exists() {
            InstanceKey::generate()?.save(home.instance_key())?;
        }
        if !home.signing_key().exists() {
            SigningKey::generate("Reservoir")?.save(home.signing_key())?;
        }
        home.engine().await?;
        let text =
            toml::to_string(&home.settings).map_err(|error| Error::invalid("settings", error.to_string()))?;
        let file = home.folder.join("reservoir.toml");
        // Written last: a home without it is not initialised.
        let temporary = home.folder.join("reservoir.toml.new");
        durable::write(&temporary, text.as_bytes())
            .and_then(|()| std::fs::rename(&temporary, &file))
            .and_then(|()| durable::sync(&home.folder))
            .map_err(Error::io(format!("write `{}`", file.display())))?;
        Ok((home, true))
    }

    /// Opens an initialised home.
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        let file = folder.join("reservoir.toml");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::invalid(
                    format!("home `{}`", folder.display()),
                    "is not initialised; run `reservoir init`, or name another with --home",
                ));
            }
            Err(error) => return Err(Error::io(format!("read `{}`", file.display()))(error)),
        };
        let settings: Settings = toml::from_str(&text)
            .map_err(|error| Error::invalid(format!("`{}`", file.display()), error.to_string()))?;
        if settings.format.major > FORMAT.major {
            return Err(Error::TooNew {
                what: format!("home `{}`", folder.display()),
                found: settings.format.to_string(),
                known: FORMAT.to_string(),
            });
        }
        if settings.remember_verified_seconds.is_some_and(|seconds| seconds > REMEMBER_LIMIT) {
            let detail = format!("`remember_verified_seconds` is {REMEMBER_LIMIT} at most");
            return Err(Error::invalid(format!("`{}`", file.display()), detail));
        }
        Ok(Self { folder, settings })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    fn instance_key(&self) -> PathBuf {
        self.folder.join("keys/instance.key")
    }

    fn signing_key(&self) -> PathBuf {
        self.folder.join("keys/signing.asc")
    }

    /// The key that signs bundles; made when it is first needed, as homes of the first release have none.
    pub(crate) fn bundle_key(&self) -> Result<StreamKey> {
        let path = self.bundle_key_file();
        match StreamKey::load(&path) {
            Err(Error::NotFound { .. }) => match StreamKey::generate()?.save(&path) {
                // Another process was first.
                Ok(()) | Err(Error::Conflict { .. }) => StreamKey::load(&path),
                Err(error) => Err(error),
            },
            loaded => loaded,
        }
    }

    fn bundle_key_file(&self) -> PathBuf {
        self.folder.join("keys/bundle.key")
    }

    /// Puts a new key in the place of the one that signs bundles. The old one is kept under its name; the public key
    /// file and its signature by the old key lie beside, to be carried to those who trust the old one. All of it is
    /// durable before `Ok`; killed before the new key is in place, the old one signs, and another try goes on.
    pub(crate) fn replace_bundle_key(
        &self,
        new: &StreamKey,
        old: &StreamKey,
        public: &str,
        signature: &str,
    ) -> Result<()> {
        let (keys, path) = (self.folder.join("keys"), self.bundle_key_file());
        let failed = || Error::io(format!("replace `{}`", path.display()));
        let kept = keys.join(format!("bundle-{}.key", old.public().name()));
        let temporary = keys.join(format!("bundle-{}.new", new.public().name()));
        new.save(&temporary)?;
        let name = new.public().name();
        durable::write(&keys.join(format!("bundle-{name}.pub")), public.as_bytes()).map_err(failed())?;
        durable::write(&keys.join(format!("bundle-{name}.pub.minisig")), signature.as_bytes())
            .map_err(failed())?;
        match std::fs::hard_link(&path, &kept) {
            // Kept already by a replacement that was interrupted here.
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists
                    && StreamKey::load(&kept)?.public() == old.public() => {}
            linked => linked.map_err(failed())?,
        }
        durable::sync(&keys).map_err(failed())?;
        std::fs::rename(&temporary, &path).and_then(|()| durable::sync(&keys)).map_err(failed())
    }

    /// The files that `backup` copies beside the catalog: the settings and everything in `keys/`, where those that are
    /// being replaced lie too.
    pub(crate) fn key_files(&self) -> Result<Vec<PathBuf>> {
        let keys = self.folder.join("keys");
        let failed = || Error::io(format!("list `{}`", keys.display()));
        let mut files = vec![self.folder.join("reservoir.toml")];
        for entry in std::fs::read_dir(&keys).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            // Unfinished ones are made again.
            let unfinished = entry.path().extension().is_some_and(|extension| extension == "new");
            if entry.file_type().map_err(failed())?.is_file() && !unfinished {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    /// Builds the engine with every ecosystem this binary has.
    pub(crate) async fn engine(&self) -> Result<Engine> {
        let scratch = self.folder.join("scratch");
        let options = ObjectStoreOptions {
            scratch: scratch.clone(),
            remember_verified: self.settings.remember_verified_seconds.map(Duration::from_secs),
            ..ObjectStoreOptions::default()
        };
        let store = store::open(&self.locate(&self.settings.store), options).await?;
        let catalog = Catalog::open(&self.catalog_url(), CatalogOptions::default()).await?;
        Engine::builder()
            .catalog(catalog)
            .store(Arc::new(store) as Arc<dyn store::Store>)
            .ecosystem(Pypi)
            .ecosystem(Hf)
            .ecosystem(Apt)
            .scanner(ModelFiles::default())
            .key(InstanceKey::load(self.instance_key())?)
            .signer(self.signer()?)
            .bundle_key(self.bundle_key()?)
            .scratch(scratch)
            .write_refusal(WRITE_REFUSAL)
            .build()
    }

    /// `signing.asc` first, then every `signing-NAME.asc`: while a key is being replaced, both sign.
    fn signer(&self) -> Result<Signer> {
        let folder = self.folder.join("keys");
        let failed = || Error::io(format!("list `{}`", folder.display()));
        let mut others = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.strip_suffix(".asc").is_some_and(|name| name.starts_with("signing-")) {
                others.push(path);
            }
        }
        others.sort();
        let files = std::iter::once(self.signing_key()).chain(others);
        Signer::new(files.map(SigningKey::load).collect::<Result<_>>()?)
    }

    fn catalog_url(&self) -> String {
        match self.settings.catalog.strip_prefix("sqlite:") {
            Some(path) => format!("sqlite:{}", self.folder.join(path).display()),
            None => self.settings.catalog.clone(),
        }
    }

    fn locate(&self, address: &str) -> String {
        if address.contains("://") {
            address.to_owned()
        } else {
            self.folder.join(address).display().to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_being_replaced_are_backed_up() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { folder: folder.path().to_owned(), settings: Settings::default() };
        let keys = folder.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::create_dir(keys.join("folder")).unwrap();
        let kept = ["bundle-a.key", "bundle-a.pub", "bundle-a.pub.minisig", "bundle.key", "instance.key"];
        let kept = kept.into_iter().chain(["signing-b.asc", "signing.asc"]);
        for name in kept.clone().chain(["bundle-c.new"]) {
            std::fs::write(keys.join(name), name).unwrap();
        }
        std::fs::write(folder.path().join("reservoir.toml"), "").unwrap();
        let files = home.key_files().unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, kept.chain(["reservoir.toml"]).collect::<Vec<_>>());
    }
}
