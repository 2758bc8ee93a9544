//! One stanza as clients read it: upstream's bytes, with where and what the file is said as it is kept here.

use std::fmt::Write as _;

use memchr::memchr;
use percent_encoding::percent_decode_str;
use reservoir_core::snapshot::Entry;

/// Appends the stanza of a binary package and the empty line after it.
///
/// Every byte is upstream's, except: `Filename`, `Size` and `SHA256` are those of the entry where they say anything
/// else (an uploaded package has none), other digests are in lower case (apt compares text), and
/// `Phased-Update-Percentage` goes if it is to be stripped. What an uploaded package says of its own digests goes: nobody
/// compared it with anything, and apt believes the strongest.
pub(super) fn write_package(out: &mut String, raw: &str, entry: &Entry, rules: Rules) {
    let sha256 = entry.blob.sha256.to_string();
    let mut said = Said::default();
    // Nearly all of a stanza is copied as it is, in one piece.
    let (mut copied, mut at) = (0, 0);
    while at < raw.len() {
        let end = memchr(b'\n', &raw.as_bytes()[at..]).map_or(raw.len(), |length| at + length);
        let next = (end + 1).min(raw.len());
        if let Some(line) = replaced(&raw[at..end], entry, &sha256, rules, &mut said) {
            out.push_str(&raw[copied..at]);
            match line {
                Replaced::By(line) => push_line(out, &line),
                Replaced::Gone => {}
            }
            at = after_continuation(raw, next);
            copied = at;
            continue;
        }
        at = next;
    }
    out.push_str(&raw[copied..]);
    if !raw.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    if !said.filename {
        let _ = writeln!(out, "Filename: {}", entry.path);
    }
    if !said.size {
        let _ = writeln!(out, "Size: {}", entry.blob.size);
    }
    if !said.sha256 {
        let _ = writeln!(out, "SHA256: {sha256}");
    }
    out.push('\n');
}

/// What goes from stanzas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) strip_phasing: bool,
    /// Whether it is a control paragraph that somebody uploaded.
    pub(super) is_upload: bool,
}

/// The fields that every stanza must have, as far as they were seen.
#[derive(Default)]
struct Said {
    filename: bool,
    size: bool,
    sha256: bool,
}

/// What stands for a line of upstream and its continuation lines.
enum Replaced {
    By(String),
    Gone,
}

/// `None` for a line that stays as it is.
fn replaced(line: &str, entry: &Entry, sha256: &str, rules: Rules, said: &mut Said) -> Option<Replaced> {
    // The first letters of the names below; a continuation line begins with white space.
    let first = line.as_bytes().first().map(u8::to_ascii_lowercase);
    if !matches!(first, Some(b'c' | b'f' | b'm' | b'p' | b's')) {
        return None;
    }
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.trim();
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    if is("Filename") {
        said.filename = true;
        return (!leads_to(value, entry)).then(|| Replaced::By(format!("Filename: {}", entry.path)));
    }
    if is("Size") {
        said.size = true;
        let size = entry.blob.size.to_string();
        return (value != size).then(|| Replaced::By(format!("Size: {size}")));
    }
    if is("SHA256") {
        said.sha256 = true;
        return (value != sha256).then(|| Replaced::By(format!("SHA256: {sha256}")));
    }
    if rules.is_upload && ["MD5sum", "SHA1", "SHA512", "Checksum-FileSize"].into_iter().any(is) {
        return Some(Replaced::Gone);
    }
    if is("MD5sum") || is("SHA1") || is("SHA512") {
        let is_folded = !value.bytes().any(|byte| byte.is_ascii_uppercase());
        return (!is_folded).then(|| Replaced::By(format!("{name}: {}", value.to_ascii_lowercase())));
    }
    (rules.strip_phasing && is("Phased-Update-Percentage")).then_some(Replaced::Gone)
}

/// The first line from `at` on that belongs to another field.
fn after_continuation(raw: &str, mut at: usize) -> usize {
    while raw[at..].starts_with([' ', '\t']) {
        at = memchr(b'\n', &raw.as_bytes()[at..]).map_or(raw.len(), |length| at + length + 1);
    }
    at
}

/// Appends a stanza of upstream and the empty line after it.
pub(super) fn write_as_it_is(out: &mut String, raw: &str) {
    push_line(out, raw);
    out.push('\n');
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Whether what clients make of a `Filename` is the path of the entry.
fn leads_to(filename: &str, entry: &Entry) -> bool {
    let relative = filename.strip_prefix("./").unwrap_or(filename);
    relative == entry.path.as_str()
        || percent_decode_str(relative).decode_utf8().is_ok_and(|decoded| decoded == entry.path.as_str())
}
