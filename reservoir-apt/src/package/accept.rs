//! Taking a package that somebody uploads: what it is, said by its own control file.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result,
    archive::{ArMember, ArVisitor, Compression, TarRoot, walk_ar},
    ecosystem::{Accepted, Received},
};

use super::deb::{self, CONTROL, ControlFile};
use crate::{
    control::Stanza,
    name::{Architecture, PackageName, Version, revision},
    options::Options,
};

/// Reads the package, and gives it its place in the pool of the repository's first component.
///
/// # Errors
/// [`Error::Malformed`] for what is no package, [`Error::Invalid`] for names that are none.
pub(crate) async fn accept(file: &Received<'_>) -> Result<Accepted> {
    let what = format!("`{}`", file.name);
    // What is wrong with the rest of it is for inspection to say, which is asked where nothing is known.
    let whole = deb::walk(file.store, file.blob, &what).await.ok();
    let is_whole = whole.is_some();
    let control = if let Some(control) = whole {
        control
    } else {
        let reader = walk_ar(file.store, file.blob, &what, Reader::default()).await?;
        let no_control = || Error::malformed(&*what, "deb-members", "it has no control.tar");
        reader.control.ok_or_else(no_control)?
    };
    let control = Stanza::parse(control.trim_ascii_end())?;
    let name: PackageName = control.required("Package")?.parse()?;
    let version: Version = control.required("Version")?.parse()?;
    let architecture: Architecture = control.required("Architecture")?.parse()?;
    let options = Options::of(file.repository)?;
    if !options.wants_architecture(architecture.as_str()) {
        let detail = format!(
            "`{name}` is for `{architecture}`, which the repository does not have among its `architectures`"
        );
        return Err(Error::invalid(what, detail));
    }
    let component = options.components.first().map_or("main", AsRef::as_ref);
    let source = control.get("Source").and_then(|source| source.split([' ', '(']).next()).unwrap_or_default();
    let source: PackageName = if source.is_empty() { name.clone() } else { source.parse()? };
    let folder = format!("pool/{component}/{}/{source}", prefix(source.as_str()));
    // As archives call it: the epoch is not part of file names.
    let plain = version.as_str().split_once(':').map_or(version.as_str(), |(_, version)| version);
    Ok(Accepted {
        artifact: name.as_str().parse()?,
        revision: revision(&version, architecture.as_str()),
        path: format!("{folder}/{name}_{plain}_{architecture}.deb").parse()?,
        attributes: BTreeMap::new(),
        inspection: is_whole.then(|| deb::found(&control, false)),
    })
}

/// `h` of `hello`, `libx` of `libx11`.
fn prefix(source: &str) -> &str {
    let length = if source.starts_with("lib") { 4 } else { 1 };
    source.get(..length.min(source.len())).unwrap_or(source)
}

/// Keeps the control file.
#[derive(Debug, Default)]
struct Reader {
    control: Option<Vec<u8>>,
}

impl ArVisitor for Reader {
    fn member(&mut self, name: &str, body: &mut ArMember<'_>) -> Result<()> {
        let (stem, compression) = Compression::of_name(name);
        if stem == "control.tar" && self.control.is_none() {
            let visitor = body.walk_tar(compression, TarRoot::Folder, &CONTROL, ControlFile::default())?;
            self.control = visitor.bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_cut_as_archives_cut_them() {
        for (source, cut) in [("hello", "h"), ("libx11", "libx"), ("lib", "lib"), ("x", "x")] {
            assert_eq!(prefix(source), cut);
        }
    }
}
