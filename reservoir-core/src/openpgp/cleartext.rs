//! The cleartext signature framework (RFC 9580, section 7), as strictly as apt reads it and in linear time.
//!
//! The message is the whole file: nothing before it, nothing but line ends after it. Other readers skip what stands
//! around a message, or stop at a second one; a file on which they could disagree is refused.

use memchr::memchr;

use crate::error::{Error, Result};

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
pub(super) const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
pub(super) const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";
/// Lines that tell how the text was hashed.
const HASH_LINES: usize = 16;

/// A message taken apart; nothing of it is verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cleartext<'a> {
    /// The text that the signatures are over: dashes unescaped, white space at the ends of lines removed, lines
    /// ended by one newline, the last line by none.
    pub(super) text: Vec<u8>,
    /// The armored signatures, their header and tail lines included.
    pub(super) armor: &'a [u8],
}

/// Takes a message apart.
///
/// # Errors
/// [`Error::Malformed`] with the rules `clearsign-frame`, `clearsign-header`, `clearsign-dash`,
/// `clearsign-character`, `clearsign-trailing`.
pub(super) fn split<'a>(what: &str, message: &'a [u8]) -> Result<Cleartext<'a>> {
    let refuse = |rule, detail: &str| Err(Error::malformed(what, rule, detail));
    let mut lines = Lines { bytes: message, next: 0 };
    if lines.next().map(|line| line.1) != Some(BEGIN) {
        return refuse("clearsign-frame", "it does not begin with a signed message");
    }
    let mut hashes = 0;
    loop {
        match lines.next() {
            Some((_, b"")) => break,
            Some((_, line)) if is_hash_header(line) && hashes < HASH_LINES => hashes += 1,
            Some(_) => return refuse("clearsign-header", "it has a header other than `Hash`"),
            None => return refuse("clearsign-frame", "it ends within its headers"),
        }
    }
    if hashes == 0 {
        return refuse("clearsign-header", "it has no `Hash` header");
    }
    let mut text: Vec<u8> = Vec::with_capacity(message.len());
    let armor_start = loop {
        let Some((start, line)) = lines.next() else {
            return refuse("clearsign-frame", "it ends without a signature");
        };
        if line == BEGIN_SIGNATURE {
            break start;
        }
        let line = match line {
            [b'-', b' ', rest @ ..] => rest,
            [b'-', ..] => {
                return refuse("clearsign-dash", "a line of its text begins with an unescaped dash");
            }
            line => line,
        };
        if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return refuse("clearsign-character", "its text has a control character");
        }
        text.extend_from_slice(line);
        text.push(b'\n');
    };
    // The line end before the signature belongs to the frame.
    text.pop();
    let armor_end = end_of_armor(what, &mut lines)?;
    Ok(Cleartext { text, armor: &message[armor_start..armor_end] })
}

/// Checks that `bytes` are one armored block of signatures and nothing else.
pub(super) fn check_armor(what: &str, bytes: &[u8]) -> Result<()> {
    let mut lines = Lines { bytes, next: 0 };
    if lines.next().map(|line| line.1) != Some(BEGIN_SIGNATURE) {
        let detail = "it does not begin with an armored signature; binary ones are not supported, as in apt";
        return Err(Error::malformed(what, "signature-frame", detail));
    }
    end_of_armor(what, &mut lines).map(drop)
}

/// Reads up to the end of the file; where the armor ends.
fn end_of_armor(what: &str, lines: &mut Lines<'_>) -> Result<usize> {
    loop {
        match lines.next() {
            Some((_, END_SIGNATURE)) => break,
            Some((_, line)) if line.starts_with(b"-----") => {
                return Err(Error::malformed(what, "signature-frame", "its signature holds another block"));
            }
            Some(_) => {}
            None => return Err(Error::malformed(what, "signature-frame", "its signature has no end")),
        }
    }
    let end = lines.next.min(lines.bytes.len());
    if lines.any(|(_, line)| !line.is_empty()) {
        return Err(Error::malformed(what, "clearsign-trailing", "bytes follow its signature"));
    }
    Ok(end)
}

/// `Hash: SHA256`, or several names with commas.
fn is_hash_header(line: &[u8]) -> bool {
    let Some(names) = line.strip_prefix(b"Hash: ") else { return false };
    names.split(|byte| *byte == b',').all(|name| {
        let name = name.trim_ascii();
        !name.is_empty()
            && name.len() <= 20
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    })
}

/// Lines with their offsets, without white space at their ends: it is not part of what is signed.
struct Lines<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next;
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr(b'\n', rest).unwrap_or(rest.len());
        self.next = start + length + 1;
        let mut line = &rest[..length];
        while let [head @ .., b' ' | b'\t' | b'\r'] = line {
            line = head;
        }
        Some((start, line))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: a \n- -dash\n\
                        -----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n";

    fn rule(message: &str) -> &'static str {
        match split("m", message.as_bytes()) {
            Err(Error::Malformed { rule, .. }) => rule,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_text_is_what_is_signed() {
        for message in [GOOD.to_owned(), GOOD.replace('\n', "\r\n"), format!("{GOOD}\n\n")] {
            let message = split("m", message.as_bytes()).unwrap();
            assert_eq!(message.text, b"Origin: a\n-dash");
            assert!(message.armor.starts_with(BEGIN_SIGNATURE));
        }
    }

    #[test]
    fn ambiguous_frames_are_refused() {
        for (message, expected) in [
            (format!("junk\n{GOOD}"), "clearsign-frame"),
            (format!("\n{GOOD}"), "clearsign-frame"),
            (format!("{GOOD}junk\n"), "clearsign-trailing"),
            (format!("{GOOD}{GOOD}"), "clearsign-trailing"),
            (GOOD.replace("Hash: SHA512\n", ""), "clearsign-header"),
            (GOOD.replace("Hash: SHA512\n", "Hash: SHA512\nComment: x\n"), "clearsign-header"),
            (GOOD.replace("Hash: SHA512\n", "Hash: SHA512\n Origin: b\n"), "clearsign-header"),
            (GOOD.replace("Origin", "Ori\0gin"), "clearsign-character"),
            (GOOD.replace("- -dash", "-dash"), "clearsign-dash"),
            (GOOD.replace("- -dash", "-----BEGIN PGP SIGNED MESSAGE-----"), "clearsign-dash"),
            (GOOD.replace("AAAA", "-----BEGIN PGP SIGNATURE-----"), "signature-frame"),
            (GOOD.replace("-----END PGP SIGNATURE-----\n", ""), "signature-frame"),
            (GOOD.split_once("-----BEGIN PGP SIGNATURE").unwrap().0.to_owned(), "clearsign-frame"),
            (String::new(), "clearsign-frame"),
        ] {
            assert_eq!(rule(&message), expected, "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_or_refused(
            mut bytes in proptest::sample::select(vec![GOOD.as_bytes().to_vec()]),
            edits in proptest::collection::vec((0_usize..200, any::<u8>()), 0..4),
        ) {
            for (at, byte) in edits {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Ok(message) = split("m", &bytes) {
                prop_assert!(message.armor.starts_with(BEGIN_SIGNATURE));
                prop_assert!(!message.text.contains(&0));
            }
        }
    }
}
