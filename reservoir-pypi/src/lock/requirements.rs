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
            if ["-e", "--editable"].contains(&option) {
                let what = line[option.len()..].trim_start_matches('=').trim();
                if !is_local(what) {
                    lock.missing.push(elsewhere(reader, what));
                }
                continue;
            }
            return Err(at(&format!("`{option}` leads elsewhere; a lock says everything itself")));
        }
        let (requirement, hashes) = line
            .split_once(" --hash")
            .map_or((line.as_str(), ""), |(text, _)| (text.trim(), &line[text.len()..]));
        // The project itself, and what lies beside it.
        if is_local(requirement) {
            continue;
        }
        let requirement = PyRequirement::parse(requirement)?;
        let targets: Vec<usize> = reader
            .environments()
            .into_iter()
            .filter(|(_, target)| target.is_none_or(|target| requirement.constraint.may_concern(target)))
            .map(|(place, _)| place)
            .collect();
        if requirement.url.is_some() {
            if !targets.is_empty() {
                lock.missing.push(elsewhere(reader, requirement.name.as_str()));
            }
            continue;
        }
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

/// Whether a line names a folder or a file of the project that was locked.
fn is_local(text: &str) -> bool {
    let path = text.split([';', '[']).next().unwrap_or_default().trim();
    path == "." || path.starts_with("./") || path.starts_with("../") || path.starts_with('/')
}

/// Why something of the lock is missing. An address is not repeated: it may carry a password.
fn elsewhere(reader: &Reader<'_>, what: &str) -> String {
    let what = what.split_once("://").map_or(what, |(scheme, _)| scheme);
    format!("`{what}` ({}): it comes from an address of its own and not from an index", reader.name)
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
