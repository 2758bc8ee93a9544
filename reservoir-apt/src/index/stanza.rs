//! One stanza as clients read it: upstream's bytes, with where and what the file is said as it is kept here.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use reservoir_core::snapshot::Entry;

/// Appends the stanza of a binary package and the empty line after it.
///
/// Every byte is upstream's, except: `Filename`, `Size` and `SHA256` are those of the entry where they say anything
/// else (an uploaded package has none), other digests are in lower case (apt compares text), and
/// `Phased-Update-Percentage` goes if it is to be stripped.
pub(super) fn write_package(out: &mut String, raw: &str, entry: &Entry, strip_phasing: bool) {
    let (mut filename, mut size, mut sha256) = (false, false, false);
    let mut skipping = false;
    for line in raw.lines() {
        if line.starts_with([' ', '\t']) {
            if !skipping {
                push_line(out, line);
            }
            continue;
        }
        skipping = false;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("Filename") {
            filename = true;
            if !leads_to(value, entry) {
                write_filename(out, entry);
                continue;
            }
            push_line(out, line);
        } else if is("Size") {
            size = true;
            if value != entry.blob.size.to_string() {
                write_size(out, entry);
                continue;
            }
            push_line(out, line);
        } else if is("SHA256") {
            sha256 = true;
            if value != entry.blob.sha256.to_string() {
                write_sha256(out, entry);
                continue;
            }
            push_line(out, line);
        } else if is("MD5sum") || is("SHA1") || is("SHA512") {
            push_line(out, &format!("{name}: {}", value.to_ascii_lowercase()));
        } else if strip_phasing && is("Phased-Update-Percentage") {
            skipping = true;
        } else {
            push_line(out, line);
        }
    }
    if !filename {
        write_filename(out, entry);
    }
    if !size {
        write_size(out, entry);
    }
    if !sha256 {
        write_sha256(out, entry);
    }
    out.push('\n');
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

fn write_filename(out: &mut String, entry: &Entry) {
    let _ = writeln!(out, "Filename: {}", entry.path);
}

fn write_size(out: &mut String, entry: &Entry) {
    let _ = writeln!(out, "Size: {}", entry.blob.size);
}

fn write_sha256(out: &mut String, entry: &Entry) {
    let _ = writeln!(out, "SHA256: {}", entry.blob.sha256);
}
