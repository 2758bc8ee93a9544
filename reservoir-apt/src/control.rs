//! Stanzas of Debian control files, read as apt reads them or not at all.
//!
//! apt takes the last of duplicate fields, compares field names without case and takes a line of white space for
//! a continuation; other parsers do not. Where two readers could see different packages, a stanza is refused:
//! duplicate names, lines without a colon, lines of white space, comments, control characters, anything that is
//! not UTF-8, more than [`STANZA_LIMIT`] bytes.
//!
//! [`Stanzas`] cuts a stream into stanzas without ever holding more than one; [`Stanza::parse`] finds the fields.
//! The bytes of a stanza are kept as upstream wrote them: whoever needs it again re-emits those.

use std::io::{self, Read};

use memchr::{memchr, memmem};
use reservoir_core::{Error, Result};

/// Most bytes of one stanza.
pub const STANZA_LIMIT: usize = 1 << 20;
/// Most fields of one stanza.
const FIELD_LIMIT: usize = 512;
const PIECE: usize = 128 << 10;

/// One stanza, checked.
#[derive(Debug, Clone)]
pub struct Stanza<'a> {
    text: &'a str,
    /// Start and end of the name, start and end of the value with its continuation lines.
    fields: Vec<[u32; 4]>,
}

impl<'a> Stanza<'a> {
    /// Reads one stanza, without the empty line after it.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rules `control-size`, `control-encoding`, `control-character`,
    /// `control-blank-line`, `control-comment`, `control-line`, `control-field-name`, `control-duplicate`,
    /// `control-fields`, `control-empty`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        Self::parse_within(bytes, STANZA_LIMIT)
    }

    /// As [`parse`](Self::parse), for documents that may be longer, up to 4 GiB.
    pub(crate) fn parse_within(bytes: &'a [u8], limit: usize) -> Result<Self> {
        let refuse = |rule, detail: String| Err(Error::malformed("stanza", rule, detail));
        if bytes.len() > limit {
            return refuse("control-size", format!("has over {limit} bytes"));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return refuse("control-encoding", "is not UTF-8".into());
        };
        // Counted, not searched: the compiler makes this fast.
        let strange =
            |byte: &u8| usize::from((*byte < b' ' && !matches!(byte, b'\n' | b'\t')) || *byte == 0x7f);
        if bytes.iter().map(strange).sum::<usize>() > 0 {
            return refuse("control-character", "has a control character".into());
        }
        let mut fields: Vec<[u32; 4]> = Vec::with_capacity(24);
        let mut start = 0;
        while start < bytes.len() {
            let end = memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length);
            let line = &bytes[start..end];
            match line.first() {
                None => return refuse("control-blank-line", "has an empty line in it".into()),
                Some(b' ' | b'\t') => {
                    if line.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                        return refuse("control-blank-line", "has a line of white space".into());
                    }
                    let Some(field) = fields.last_mut() else {
                        return refuse("control-line", "begins with a continuation line".into());
                    };
                    field[3] = end as u32;
                }
                Some(b'#') => return refuse("control-comment", "has a comment".into()),
                Some(_) => {
                    let Some(colon) = memchr(b':', line) else {
                        return refuse(
                            "control-line",
                            format!("has a line without a colon: {}", shown(line)),
                        );
                    };
                    let name = &line[..colon];
                    if colon == 0 || !name.iter().all(u8::is_ascii_graphic) || name[0] == b'-' {
                        return refuse("control-field-name", format!("has a field named {}", shown(name)));
                    }
                    let twin = |field: &[u32; 4]| {
                        bytes[field[0] as usize..field[1] as usize].eq_ignore_ascii_case(name)
                    };
                    if fields.iter().any(twin) {
                        return refuse("control-duplicate", format!("has the field {} twice", shown(name)));
                    }
                    if fields.len() == FIELD_LIMIT {
                        return refuse("control-fields", format!("has over {FIELD_LIMIT} fields"));
                    }
                    let at = |offset: usize| (start + offset) as u32;
                    fields.push([at(0), at(colon), at(colon + 1), end as u32]);
                }
            }
            start = end + 1;
        }
        if fields.is_empty() {
            return refuse("control-empty", "has no field".into());
        }
        Ok(Self { text, fields })
    }

    /// The stanza as it was written.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// A field's value without white space around it, in any spelling of the name. Continuation lines are as they
    /// were written, each with its own first space.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// A field that must be there and not be empty, on one line.
    ///
    /// # Errors
    /// [`Error::Malformed`] (`control-missing-field`, `control-multiline`).
    pub fn required(&self, name: &str) -> Result<&'a str> {
        match self.get(name) {
            Some(value) if value.contains('\n') => {
                Err(Error::malformed("stanza", "control-multiline", format!("`{name}` has several lines")))
            }
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Error::malformed("stanza", "control-missing-field", format!("has no `{name}`"))),
        }
    }

    /// All fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = self.text;
        self.fields.iter().map(move |&[name, colon, value, end]| {
            let part = |start: u32, end: u32| &text[start as usize..end as usize];
            (part(name, colon), part(value, end).trim_matches(&[' ', '\t', '\n'][..]))
        })
    }

    /// Where the value of a field lies in [`text`](Self::text), white space around it included; for those who
    /// replace one value and keep every other byte.
    #[must_use]
    pub fn value_range(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let text = self.text;
        let found = self
            .fields
            .iter()
            .find(|&&[start, end, ..]| text[start as usize..end as usize].eq_ignore_ascii_case(name));
        found.map(|&[_, _, start, end]| start as usize..end as usize)
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    format!("`{}`", text.escape_debug())
}

/// The next piece of a stream of stanzas.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The bytes of one stanza, without the newline at its end.
    Stanza(&'a [u8]),
    /// A stanza over [`STANZA_LIMIT`]; it was skipped.
    Oversized,
}

/// Cuts a stream into stanzas at empty lines. Holds one stanza at most.
#[derive(Debug)]
pub struct Stanzas<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    /// How far from `start` no end of a stanza was found.
    searched: usize,
}

impl<R: Read> Stanzas<R> {
    /// From a reader; it is read in large pieces.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; 2 * PIECE], start: 0, end: 0, ended: false, searched: 0 }
    }

    /// The reader, for what it may know of a failure.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The next stanza; `None` at the end.
    ///
    /// # Errors
    /// The reader's own.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        let mut skipping = false;
        loop {
            // Newlines between stanzas.
            if self.searched == 0 && !skipping {
                while self.start < self.end && self.buffer[self.start] == b'\n' {
                    self.start += 1;
                }
            }
            let from = self.start + self.searched;
            let found = memmem::find(&self.buffer[from..self.end], b"\n\n").map(|offset| from + offset);
            if found.is_none() && !self.ended {
                if self.end - self.start > STANZA_LIMIT {
                    // Everything but a newline at the end, which may be half of the next boundary.
                    skipping = true;
                    self.start = self.end - 1;
                }
                self.searched = (self.end - self.start).saturating_sub(1);
                self.fill()?;
                continue;
            }
            let mut stop = found.unwrap_or(self.end);
            let start = std::mem::replace(&mut self.start, stop);
            self.searched = 0;
            if found.is_none() {
                while stop > start && self.buffer[stop - 1] == b'\n' {
                    stop -= 1;
                }
            }
            if skipping {
                return Ok(Some(Piece::Oversized));
            }
            return match stop - start {
                0 => Ok(None),
                length if length > STANZA_LIMIT => Ok(Some(Piece::Oversized)),
                _ => Ok(Some(Piece::Stanza(&self.buffer[start..stop]))),
            };
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < PIECE {
            self.buffer.resize(self.end + PIECE, 0);
        }
        while self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whitespace-separated words, as `Architectures` and `Components` list them.
pub fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split_ascii_whitespace()
}
