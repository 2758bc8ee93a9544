//! What the names of wheels and sdists say.
//!
//! Grammar: the [binary distribution format], [PEP 625] for sdists, [PEP 825] for wheel variants.
//!
//! [binary distribution format]: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
//! [PEP 625]: https://peps.python.org/pep-0625/
//! [PEP 825]: https://peps.python.org/pep-0825/

use std::fmt;

use reservoir_core::{Error, Result, path::ContentPath};

use crate::{name::ProjectName, version::Version};

/// The name of a file that installers take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DistFilename {
    /// A wheel.
    Wheel(WheelFilename),
    /// A source distribution.
    Sdist(SdistFilename),
}

/// `name-version(-build)?-python-abi-platform(-variant)?.whl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFilename {
    /// The whole name, as it was.
    pub text: String,
    /// The project.
    pub name: ProjectName,
    /// The version.
    pub version: Version,
    /// The build tag.
    pub build: Option<BuildTag>,
    /// Python tags (`cp311`, `py3`).
    pub python: Vec<String>,
    /// ABI tags (`cp311`, `abi3`, `none`).
    pub abi: Vec<String>,
    /// Platform tags (`manylinux_2_17_x86_64`, `any`).
    pub platform: Vec<String>,
    /// The variant label (PEP 825). No installer takes such a wheel by its file name alone.
    pub variant: Option<String>,
}

/// A build tag, ordered by its number and then by the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildTag(pub u64, pub String);

/// `name-version.tar.gz`, or an older form of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdistFilename {
    /// The whole name, as it was.
    pub text: String,
    /// The project.
    pub name: ProjectName,
    /// The version.
    pub version: Version,
    /// How it is packed.
    pub format: SdistFormat,
}

/// How an sdist is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdistFormat {
    /// `.tar.gz`, the only one that PEP 625 leaves; `.tgz` is the same.
    TarGz,
    /// `.zip`
    Zip,
    /// `.tar.bz2`
    TarBz2,
    /// `.tar.xz`
    TarXz,
}

const SDIST_SUFFIXES: [(&str, SdistFormat); 5] = [
    (".tar.gz", SdistFormat::TarGz),
    (".tgz", SdistFormat::TarGz),
    (".zip", SdistFormat::Zip),
    (".tar.bz2", SdistFormat::TarBz2),
    (".tar.xz", SdistFormat::TarXz),
];

/// Kinds that old pages list and no installer takes any more.
const IGNORED: [&str; 11] =
    [".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg", ".tar.z", ".tar", ".asc", ".sig", ".metadata"];

impl DistFilename {
    /// Parses the name of a file listed for `project`.
    ///
    /// # Errors
    /// [`Error::Malformed`], with the rule `filename-hostile` (characters or length), `filename-kind` (eggs,
    /// installers and whatever else no client takes), `filename-project` (belongs to another project),
    /// `wheel-filename` or `sdist-filename`.
    pub fn parse(text: &str, project: &ProjectName) -> Result<Self> {
        check_characters(text)?;
        if has_suffix(text, ".whl") {
            let wheel = WheelFilename::parse(text)?;
            if wheel.name != *project {
                return Err(refuse(text, "filename-project", format!("does not belong to `{project}`")));
            }
            return Ok(Self::Wheel(wheel));
        }
        SdistFilename::parse(text, Some(project)).map(Self::Sdist)
    }

    /// The whole name, as it was.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Wheel(wheel) => &wheel.text,
            Self::Sdist(sdist) => &sdist.text,
        }
    }

    /// The project.
    #[must_use]
    pub fn name(&self) -> &ProjectName {
        match self {
            Self::Wheel(wheel) => &wheel.name,
            Self::Sdist(sdist) => &sdist.name,
        }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &Version {
        match self {
            Self::Wheel(wheel) => &wheel.version,
            Self::Sdist(sdist) => &sdist.version,
        }
    }

    /// Its path within a repository: `<project>/<filename>`.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "parsing allowed nothing that a path does not")]
    pub fn path(&self) -> ContentPath {
        format!("{}/{}", self.name(), self.as_str())
            .parse()
            .expect("a checked file name under a project name is a content path")
    }
}

impl fmt::Display for DistFilename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl WheelFilename {
    /// Parses the name of a wheel.
    ///
    /// # Errors
    /// [`Error::Malformed`], with the rule `filename-hostile` or `wheel-filename`.
    pub fn parse(text: &str) -> Result<Self> {
        check_characters(text)?;
        let bad = |detail: &str| refuse(text, "wheel-filename", detail);
        let stem = strip_suffix(text, ".whl").ok_or_else(|| bad("does not end in `.whl`"))?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (build, tags, variant) = match parts[..] {
            [_, _, a, b, c] => (None, [a, b, c], None),
            [_, _, build, a, b, c] if starts_with_digit(build) => (Some(build), [a, b, c], None),
            [_, _, a, b, c, variant] => (None, [a, b, c], Some(variant)),
            [_, _, build, a, b, c, variant] if starts_with_digit(build) => {
                (Some(build), [a, b, c], Some(variant))
            }
            _ => return Err(bad("is not name-version(-build)-python-abi-platform")),
        };
        if parts[0].contains("__") {
            return Err(bad("has an empty part in its name"));
        }
        let name = parts[0].parse().map_err(|_| bad("begins with something that is no project name"))?;
        let version = parts[1]
            .parse()
            // Tools of before PEP 440 escaped `-` as `_`.
            .or_else(|_| parts[1].replace('_', "-").parse())
            .map_err(|_| bad("has a version that PEP 440 does not know"))?;
        let build = build.map(BuildTag::parse).transpose().map_err(bad)?;
        let [python, abi, platform] = tags.map(tag_set);
        let (python, abi, platform) = (python.map_err(bad)?, abi.map_err(bad)?, platform.map_err(bad)?);
        let variant = match variant {
            Some(label) if label.is_empty() || label.len() > 16 => {
                return Err(bad("has a variant label that PEP 825 does not allow"));
            }
            label => label.map(str::to_owned),
        };
        Ok(Self { text: text.to_owned(), name, version, build, python, abi, platform, variant })
    }
}

impl BuildTag {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        let number = number.parse().map_err(|_| "has a build number that is too large")?;
        Ok(Self(number, rest.to_owned()))
    }
}

impl SdistFilename {
    /// Parses the name of an sdist. Where a name has several dashes, `project` says which of them ends the
    /// name; without it the last one does, as in PEP 625.
    ///
    /// # Errors
    /// [`Error::Malformed`], with the rule `filename-hostile`, `filename-kind`, `filename-project` or
    /// `sdist-filename`.
    pub fn parse(text: &str, project: Option<&ProjectName>) -> Result<Self> {
        check_characters(text)?;
        let Some((stem, format)) = SDIST_SUFFIXES
            .iter()
            .find_map(|(suffix, format)| strip_suffix(text, suffix).map(|stem| (stem, *format)))
        else {
            let kind = IGNORED.iter().find(|suffix| has_suffix(text, suffix));
            return Err(match kind {
                Some(kind) => refuse(text, "filename-kind", format!("`{kind}` files are not mirrored")),
                None => refuse(text, "filename-kind", "is neither a wheel nor an sdist"),
            });
        };
        let bad = |detail: &str| refuse(text, "sdist-filename", detail);
        let done = |name, version| Ok(Self { text: text.to_owned(), name, version, format });
        let Some(project) = project else {
            let (name, version) = stem.rsplit_once('-').ok_or_else(|| bad("has no version"))?;
            let name = name.parse().map_err(|_| bad("begins with something that is no project name"))?;
            let version = version.parse().map_err(|_| bad("has a version that PEP 440 does not know"))?;
            return done(name, version);
        };
        let mut mine = false;
        for (at, _) in stem.match_indices('-') {
            if project.is_spelled(&stem[..at]) {
                mine = true;
                if let Ok(version) = stem[at + 1..].parse() {
                    return done(project.clone(), version);
                }
            }
        }
        if mine {
            return Err(bad("has a version that PEP 440 does not know"));
        }
        Err(refuse(text, "filename-project", format!("does not belong to `{project}`")))
    }
}

/// What no file name of a distribution needs, and what other programs may trip over.
fn check_characters(text: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+!".contains(&byte);
    if text.is_empty() || text.len() > 255 {
        return Err(refuse(text, "filename-hostile", "is empty or over 255 bytes long"));
    }
    if !text.bytes().all(allowed) || !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(refuse(
            text,
            "filename-hostile",
            "has characters other than ASCII letters, digits and `._-+!`, or begins with one of those",
        ));
    }
    Ok(())
}

fn refuse(text: &str, rule: &'static str, detail: impl Into<String>) -> Error {
    let shown: String = text.chars().take(120).collect();
    Error::malformed(format!("file name {shown:?}"), rule, detail)
}

fn starts_with_digit(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

/// A compressed set of tags, taken apart.
fn tag_set(text: &str) -> Result<Vec<String>, &'static str> {
    let is_tag =
        |tag: &str| !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !text.split('.').all(is_tag) {
        return Err("has an empty or unreadable tag");
    }
    Ok(text.split('.').map(str::to_ascii_lowercase).collect())
}

fn has_suffix(text: &str, suffix: &str) -> bool {
    strip_suffix(text, suffix).is_some()
}

/// `text` without `suffix`, case ignored; `None` when nothing would be left.
fn strip_suffix<'t>(text: &'t str, suffix: &str) -> Option<&'t str> {
    let at = text.len().checked_sub(suffix.len())?;
    let tail = text.get(at..)?;
    (at > 0 && tail.eq_ignore_ascii_case(suffix)).then(|| &text[..at])
}
