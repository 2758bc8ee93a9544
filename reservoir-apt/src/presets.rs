//! Layouts of archives that are mirrored often: `preset = "ubuntu-24.04"`.
//!
//! A preset says which suites, components and architectures a repository has, where its configuration does not say so
//! itself. The operator says where the archive is and whose signature counts: a preset has no address, and it has no
//! fingerprints, because none of these vendors' keyrings is a package of the archive that this was written against,
//! so that no test could recompute them. Give the registry `keyring = "…"`, or run where apt trusts the vendor.
//!
//! A preset is one repository. A DGX system reads several: the Ubuntu archive (`ubuntu-22.04` below DGX OS 6,
//! `ubuntu-24.04` below DGX OS 7), the vendor's base archive (`dgx-os-6`, `dgx-os-7`), and flat archives for CUDA and
//! networking (`suites = ["/"]`). They are different archives that call their suites alike, so each is a repository.

use reservoir_core::{Error, Result};

use crate::name::{Architecture, Component, Suite};

/// A layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// As it is written.
    pub name: &'static str,
    suites: &'static [&'static str],
    components: &'static [&'static str],
    architectures: &'static [&'static str],
}

/// Every layout.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "ubuntu-22.04",
        suites: &["jammy", "jammy-updates", "jammy-security"],
        components: &["main", "restricted", "universe", "multiverse"],
        architectures: &["amd64"],
    },
    Preset {
        name: "ubuntu-24.04",
        suites: &["noble", "noble-updates", "noble-security"],
        components: &["main", "restricted", "universe", "multiverse"],
        architectures: &["amd64"],
    },
    // The base archive has one address for each architecture (`…/jammy/x86_64/`, `…/noble/arm64/`).
    Preset {
        name: "dgx-os-6",
        suites: &["jammy", "jammy-updates"],
        components: &["common", "dgx"],
        architectures: &["amd64"],
    },
    Preset {
        name: "dgx-os-7",
        suites: &["noble", "noble-updates"],
        components: &["common", "dgx"],
        architectures: &["amd64"],
    },
];

impl Preset {
    /// The layout of this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] that lists those there are.
    pub fn named(name: &str) -> Result<Self> {
        PRESETS.iter().find(|preset| preset.name == name).copied().ok_or_else(|| {
            let known: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
            Error::invalid("preset", format!("`{name}` is none; there are {}", known.join(", ")))
        })
    }

    /// Its suites.
    #[must_use]
    pub fn suites(&self) -> Vec<Suite> {
        parsed(self.suites)
    }

    /// Its components.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        parsed(self.components)
    }

    /// Its architectures.
    #[must_use]
    pub fn architectures(&self) -> Vec<Architecture> {
        parsed(self.architectures)
    }
}

fn parsed<T: std::str::FromStr>(words: &[&str]) -> Vec<T> {
    // A test parses all of them.
    words.iter().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn every_word_of_every_preset_is_one() {
        for preset in PRESETS {
            assert_eq!(preset.suites().len(), preset.suites.len(), "{}", preset.name);
            assert_eq!(preset.components().len(), preset.components.len(), "{}", preset.name);
            assert_eq!(preset.architectures().len(), preset.architectures.len(), "{}", preset.name);
        }
    }

    #[test]
    fn a_preset_fills_in_what_is_not_said() {
        let of = |options: serde_json::Value| {
            let config = serde_json::json!({ "name": "r", "ecosystem": "apt", "options": options });
            Options::of(&serde_json::from_value(config).unwrap())
        };
        let options =
            of(serde_json::json!({ "preset": "ubuntu-24.04", "architectures": ["arm64"] })).unwrap();
        let words = |suites: &[Suite]| suites.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(words(&options.suites), ["noble", "noble-updates", "noble-security"]);
        assert_eq!(options.components.len(), 4);
        assert_eq!(options.architectures[0].as_str(), "arm64");
        let error = of(serde_json::json!({ "preset": "ubuntu-25" })).unwrap_err();
        assert!(error.to_string().contains("ubuntu-24.04"), "{error}");
    }
}
