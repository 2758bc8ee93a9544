//! What a repository is mirrored for: an interpreter on a platform.

use std::{fmt, str::FromStr};

use pep440_rs::VersionSpecifiers;
use reservoir_core::Error;
use serde::{Deserialize, Deserializer};

/// An interpreter on a platform, as in `targets = [{ python = "3.11", platform = "manylinux_2_28_x86_64" }]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The interpreter.
    pub python: Python,
    /// The platform; `any` (the default) takes pure-Python wheels only.
    #[serde(default)]
    pub platform: Platform,
}

/// A minor version of `CPython`: `3.11`, or `3.13t` for its free-threaded build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Python {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
    /// Built without the global interpreter lock (PEP 703).
    pub free_threaded: bool,
}

/// The newest platform that a target offers; wheels for older ones of its kind fit too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Platform {
    /// glibc 2.`minor` (PEP 600); `manylinux1`, `manylinux2010` and `manylinux2014` are aliases.
    Manylinux {
        /// glibc is 2.`minor`.
        minor: u32,
        /// `x86_64`, `aarch64`…
        arch: String,
    },
    /// musl 1.`minor` (PEP 656).
    Musllinux {
        /// musl is 1.`minor`.
        minor: u32,
        /// `x86_64`, `aarch64`…
        arch: String,
    },
    /// Linux without a promise about its C library: wheels built for one machine.
    Linux {
        /// `x86_64`, `aarch64`…
        arch: String,
    },
    /// macOS.
    Macos {
        /// The major version.
        major: u32,
        /// The minor version.
        minor: u32,
        /// `arm64` or `x86_64`.
        arch: String,
    },
    /// Windows.
    Windows {
        /// `win_amd64`, `win_arm64` or `win32`.
        tag: String,
    },
    /// No platform at all: pure Python; markers about the platform are taken to hold.
    #[default]
    Any,
}

impl Python {
    /// Whether some patch release of this minor version satisfies the specifiers. Patch releases are not
    /// part of a target, so `>=3.11.4` fits `3.11`.
    #[must_use]
    pub fn may_satisfy(self, specifiers: &VersionSpecifiers) -> bool {
        self.patches(specifiers.iter().map(pep440_rs::VersionSpecifier::version))
            .any(|version| specifiers.contains(&version))
    }

    /// Patch releases worth trying against bounds: the first, a late one, and those around each bound.
    pub(crate) fn patches<'v>(
        self,
        bounds: impl Iterator<Item = &'v pep440_rs::Version>,
    ) -> impl Iterator<Item = pep440_rs::Version> {
        let minor = [u64::from(self.major), u64::from(self.minor)];
        let mut patches = vec![0, 999];
        for bound in bounds {
            if let [major, at, patch, ..] = *bound.release()
                && [major, at] == minor
            {
                patches.extend([patch.saturating_sub(1), patch, patch.saturating_add(1)]);
            }
        }
        patches.into_iter().map(move |patch| pep440_rs::Version::new([minor[0], minor[1], patch]))
    }
}

impl FromStr for Python {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (digits, free_threaded) = match text.strip_suffix('t') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let parsed = digits
            .split_once('.')
            .and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
            .filter(|(major, minor)| *major == 3 && *minor >= 2);
        match parsed {
            Some((_, minor)) if free_threaded && minor < 13 => {
                Err(Error::invalid(format!("python `{text}`"), "free-threaded builds begin with `3.13t`"))
            }
            Some((major, minor)) => Ok(Self { major, minor, free_threaded }),
            None => Err(Error::invalid(
                format!("python {:?}", text.chars().take(40).collect::<String>()),
                "write a minor version of CPython 3, such as `3.11`, or `3.13t` for the free-threaded build",
            )),
        }
    }
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.major, self.minor, if self.free_threaded { "t" } else { "" })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.python, self.platform)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manylinux { minor, arch } => write!(f, "manylinux_2_{minor}_{arch}"),
            Self::Musllinux { minor, arch } => write!(f, "musllinux_1_{minor}_{arch}"),
            Self::Linux { arch } => write!(f, "linux_{arch}"),
            Self::Macos { major, minor, arch } => write!(f, "macosx_{major}_{minor}_{arch}"),
            Self::Windows { tag } => f.write_str(tag),
            Self::Any => f.write_str("any"),
        }
    }
}

/// A decimal number without sign, at most two digits: lists of tags count down from here.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse_platform(text).ok_or_else(|| {
            Error::invalid(
                format!("platform {:?}", text.chars().take(60).collect::<String>()),
                "write a wheel's platform tag: `manylinux_2_28_x86_64`, `musllinux_1_2_aarch64`, \
                 `macosx_11_0_arm64`, `win_amd64`, `linux_x86_64` or `any`",
            )
        })
    }
}

fn parse_platform(text: &str) -> Option<Platform> {
    let is_arch = |arch: &str| {
        !arch.is_empty()
            && arch.len() <= 32
            && arch.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let arch = |arch: &str| is_arch(arch).then(|| arch.to_owned());
    if text == "any" {
        return Some(Platform::Any);
    }
    if matches!(text, "win_amd64" | "win_arm64" | "win32") {
        return Some(Platform::Windows { tag: text.to_owned() });
    }
    for (prefix, minor) in [("manylinux1_", 5), ("manylinux2010_", 12), ("manylinux2014_", 17)] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return Some(Platform::Manylinux { minor, arch: arch(rest)? });
        }
    }
    if let Some(rest) = text.strip_prefix("manylinux_2_") {
        let (minor, rest) = rest.split_once('_')?;
        return Some(Platform::Manylinux { minor: number(minor)?, arch: arch(rest)? });
    }
    if let Some(rest) = text.strip_prefix("musllinux_1_") {
        let (minor, rest) = rest.split_once('_')?;
        return Some(Platform::Musllinux { minor: number(minor)?, arch: arch(rest)? });
    }
    if let Some(rest) = text.strip_prefix("macosx_") {
        let (major, rest) = rest.split_once('_')?;
        let (minor, rest) = rest.split_once('_')?;
        let (major, minor) = (number(major).filter(|major| *major >= 10)?, number(minor)?);
        let arch = Some(rest).filter(|arch| matches!(*arch, "arm64" | "x86_64"))?;
        return Some(Platform::Macos { major, minor, arch: arch.to_owned() });
    }
    text.strip_prefix("linux_").and_then(arch).map(|arch| Platform::Linux { arch })
}

impl<'de> Deserialize<'de> for Python {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
