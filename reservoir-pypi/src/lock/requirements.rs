//! `requirements.txt` with hashes, as `pip-compile --generate-hashes` and `uv export` write it.

use reservoir_core::{Result, digest::Sha256Digest, ecosystem::LockFile};

use super::{Detail, PACKAGES, Reader};
use crate::{requirement::PyRequirement, version::Version};

/// Options that say nothing about what is needed.
const HARMLESS: [&str; 11] = [
    "-i",
    "--index-url",
    "--extra-index-url",
    "--no-index",
    "-f",
    "--find-links",
    "--no-binary",
    "--only-binary",
    "--prefer-binary",
    "--require-hashes",
    "--trusted-host",
];

pub(super) fn read(reader: &Reader<'_>, text: &str) -> Result<LockFile> {
    let mut lock = LockFile::default();
    for (number, line) in lines(text) {
        let at = |detail: &str| reader.malformed(format!("line {number}: {detail}"));
        let mut words = line.split_whitespace();
        if line.starts_with('-') {
            let option = words.next().unwrap_or_default().split('=').next().unwrap_or_default();
            if HARMLESS.contains(&option) || option == "--pre" {
                continue;
            }
            return Err(at(&format!("`{option}` leads elsewhere; a lock says everything itself")));
        }
        let (requirement, hashes) = line
            .split_once(" --hash")
            .map_or((line.as_str(), ""), |(text, _)| (text.trim(), &line[text.len()..]));
        let requirement = PyRequirement::parse(requirement)?;
        requirement.refuse_url(reader.name)?;
        let targets: Vec<usize> = reader
            .environments()
            .into_iter()
            .filter(|(_, target)| target.is_none_or(|target| requirement.constraint.may_concern(target)))
            .map(|(place, _)| place)
            .collect();
        let Some(version) = pinned(&requirement) else {
            return Err(at(&format!("`{}` is not held to one version with `==`", requirement.name)));
        };
        let hashes: Vec<Sha256Digest> = hashes
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("--hash=").or(Some(word)))
            .filter_map(|hash| hash.strip_prefix("sha256:")?.to_ascii_lowercase().parse().ok())
            .collect();
        if hashes.is_empty() {
            return Err(at(&format!(
                "`{}` has no `--hash=sha256:…`; `pip-compile --generate-hashes` and `uv export` write them",
                requirement.name
            )));
        }
        if targets.is_empty() {
            continue;
        }
        let detail = Detail { lock: reader.name.to_owned(), files: Vec::new(), hashes, targets };
        lock.packages.push(reader.package(&requirement.name, &version, detail)?);
        if lock.packages.len() > PACKAGES {
            return Err(reader.malformed(format!("has more than {PACKAGES} packages")));
        }
    }
    Ok(lock)
}

/// The version of `==1.0` and `===1.0`.
fn pinned(requirement: &PyRequirement) -> Option<Version> {
    let specifiers = requirement.tail.split(';').next()?.trim();
    let specifiers =
        specifiers.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(specifiers);
    let version = specifiers.trim().strip_prefix("==")?;
    version.strip_prefix('=').unwrap_or(version).trim().parse().ok()
}

/// The lines that say something, joined where they go on, each with the number of its first.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let (line, more) = match line.trim_end().strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let comment = if line.trim_start().starts_with('#') { Some(0) } else { line.find(" #") };
        let line = comment.map_or(line, |at| &line[..at]).trim();
        match found.last_mut().filter(|_| goes_on) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(line);
            }
            None => found.push((index + 1, line.to_owned())),
        }
        goes_on = more;
    }
    found.retain(|(_, line)| !line.trim().is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_and_comments_end() {
        let text = "# by a tool\nalpha==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via demo\n\nbeta==2 # why\n";
        let found = lines(text);
        assert_eq!(
            found,
            [(2, "alpha==1.0 --hash=sha256:aa --hash=sha256:bb".to_owned()), (7, "beta==2".to_owned())]
        );
    }
}
