//! Which wheels an interpreter takes, and which of them it likes best.
//!
//! The order is that of `packaging.tags`, which pip uses: the exact ABI first, then `abi3`, then `none`, then
//! `abi3` of older minors, then pure Python; platforms from the newest to the oldest.

use crate::{
    filename::WheelFilename,
    target::{Platform, Target},
};

/// The tags that one target takes, best first.
#[derive(Debug, Clone)]
pub struct Tags {
    /// Python and ABI tags, and whether they go with the target's platforms or with `any`.
    groups: Vec<(String, String, Reach)>,
    platforms: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Platforms,
    Any,
}

impl Tags {
    /// The tags of a target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        Self { groups: groups(target), platforms: platforms(&target.platform) }
    }

    /// How far down the list the best tag of this wheel stands; 0 is best. `None` when there is none, and
    /// for variant wheels (PEP 825), which installers take only through their variants file.
    #[must_use]
    pub fn rank(&self, wheel: &WheelFilename) -> Option<usize> {
        if wheel.variant.is_some() {
            return None;
        }
        let platform = |tag: &str| self.platforms.iter().position(|known| known == tag);
        let platform = wheel.platform.iter().filter_map(|tag| platform(tag)).min();
        let any = wheel.platform.iter().any(|tag| tag == "any").then_some(0);
        self.groups.iter().enumerate().find_map(|(index, (python, abi, reach))| {
            if !wheel.python.contains(python) || !wheel.abi.contains(abi) {
                return None;
            }
            let within = match reach {
                Reach::Platforms => platform?,
                Reach::Any => any?,
            };
            Some(index * self.platforms.len().max(1) + within)
        })
    }

    /// Every tag, best first, as `packaging.tags` lists them.
    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        let any = std::slice::from_ref(&ANY);
        self.groups.iter().flat_map(move |(python, abi, reach)| {
            let platforms: Box<dyn Iterator<Item = &str>> = match reach {
                Reach::Platforms => Box::new(self.platforms.iter().map(String::as_str)),
                Reach::Any => Box::new(any.iter().copied()),
            };
            platforms.map(move |platform| format!("{python}-{abi}-{platform}"))
        })
    }
}

const ANY: &str = "any";

fn groups(target: &Target) -> Vec<(String, String, Reach)> {
    let (major, minor) = (target.python.major, target.python.minor);
    let interpreter = format!("cp{major}{minor}");
    let none = || "none".to_owned();
    let mut groups = Vec::new();
    let mut add = |python: String, abi: String, reach| groups.push((python, abi, reach));
    if target.python.free_threaded {
        add(interpreter.clone(), format!("{interpreter}t"), Reach::Platforms);
    } else {
        // Before 3.8 the ABI had a letter for the memory allocator.
        let suffix = if (major, minor) < (3, 8) { "m" } else { "" };
        add(interpreter.clone(), format!("{interpreter}{suffix}"), Reach::Platforms);
        add(interpreter.clone(), "abi3".to_owned(), Reach::Platforms);
    }
    add(interpreter.clone(), none(), Reach::Platforms);
    if !target.python.free_threaded {
        for older in (2..minor).rev() {
            add(format!("cp{major}{older}"), "abi3".to_owned(), Reach::Platforms);
        }
    }
    let range = || {
        [format!("py{major}{minor}"), format!("py{major}")]
            .into_iter()
            .chain((0..minor).rev().map(move |older| format!("py{major}{older}")))
    };
    for python in range() {
        add(python, none(), Reach::Platforms);
    }
    add(interpreter, none(), Reach::Any);
    for python in range() {
        add(python, none(), Reach::Any);
    }
    groups
}

fn platforms(platform: &Platform) -> Vec<String> {
    match platform {
        Platform::Manylinux { minor, arch } => {
            let mut tags = Vec::new();
            let oldest = if matches!(arch.as_str(), "x86_64" | "i686") { 5 } else { 17 };
            for minor in (oldest..=*minor).rev() {
                tags.push(format!("manylinux_2_{minor}_{arch}"));
                // PEP 600: the old names are aliases.
                let legacy = match minor {
                    17 => "manylinux2014",
                    12 => "manylinux2010",
                    5 => "manylinux1",
                    _ => continue,
                };
                tags.push(format!("{legacy}_{arch}"));
            }
            tags.push(format!("linux_{arch}"));
            tags
        }
        Platform::Musllinux { minor, arch } => (0..=*minor)
            .rev()
            .map(|minor| format!("musllinux_1_{minor}_{arch}"))
            .chain([format!("linux_{arch}")])
            .collect(),
        Platform::Linux { arch } => vec![format!("linux_{arch}")],
        Platform::Macos { major, minor, arch } => macos(*major, *minor, arch),
        Platform::Windows { tag } => vec![tag.clone()],
        Platform::Any => Vec::new(),
    }
}

fn macos(major: u32, minor: u32, arch: &str) -> Vec<String> {
    let intel = arch == "x86_64";
    let mut tags = Vec::new();
    let formats = |major: u32, minor: u32, tags: &mut Vec<String>| {
        let mut add = |format: &str| tags.push(format!("macosx_{major}_{minor}_{format}"));
        if intel {
            if (major, minor) < (10, 4) {
                return;
            }
            for format in ["x86_64", "intel", "fat64", "fat32", "universal2", "universal"] {
                add(format);
            }
        } else {
            add(arch);
            add("universal2");
        }
    };
    if major == 10 {
        for minor in (0..=minor).rev() {
            formats(10, minor, &mut tags);
        }
        return tags;
    }
    for major in (11..=major).rev() {
        formats(major, 0, &mut tags);
    }
    for minor in (4..=16).rev() {
        if intel {
            formats(10, minor, &mut tags);
        } else {
            tags.push(format!("macosx_10_{minor}_universal2"));
        }
    }
    tags
}
