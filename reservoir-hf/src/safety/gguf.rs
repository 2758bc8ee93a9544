//! GGUF: counts, keys with typed values, tensors, all with bounds; read once, nothing of it kept but hashes.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    io,
};

use super::{input::Input, report::shown, safetensors::Outcome};

const TENSORS: u64 = 1 << 17;
const KEYS: u64 = 1 << 16;
/// Bytes of a key, and of any other string.
const KEY: u64 = u16::MAX as u64;
const STRING: u64 = 64 << 20;
/// Items of an array, and arrays within arrays.
const ITEMS: u64 = 1 << 26;
const NESTING: u32 = 3;
/// Bytes of a tensor's name, and its dimensions.
const NAME: u64 = 64;
const DIMENSIONS: u32 = 4;
const ALIGNMENT: u64 = 32;

/// What is wrong with a file, or why that cannot be said.
enum Refusal {
    Io(io::Error),
    Malformed(String),
    Unknown(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Checked<T> = Result<T, Refusal>;

fn malformed<T>(detail: impl Into<String>) -> Checked<T> {
    Err(Refusal::Malformed(detail.into()))
}

/// What readers render with a template engine: texts, and names of further ones.
pub(super) const CHAT_TEMPLATE: &[u8] = b"tokenizer.chat_template";

/// Checks a file of `size` bytes; where that is not known, all of it is read. `note` is told every key.
pub(super) fn check(
    input: &mut Input<'_>,
    size: Option<u64>,
    note: &mut dyn FnMut(&[u8]),
) -> io::Result<Outcome> {
    let mut reader = Reader { input, state: RandomState::new(), alignment: ALIGNMENT, note };
    match reader.file(size) {
        Ok(()) => Ok(Outcome::Sound),
        Err(Refusal::Malformed(detail)) => Ok(Outcome::Malformed(detail)),
        Err(Refusal::Unknown(reason)) => Ok(Outcome::Unknown(reason)),
        Err(Refusal::Io(error)) => Err(error),
    }
}

struct Reader<'r, 'i> {
    input: &'r mut Input<'i>,
    state: RandomState,
    alignment: u64,
    note: &'r mut dyn FnMut(&[u8]),
}

impl Reader<'_, '_> {
    fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        self.input.array()?.map_or_else(|| malformed("it ends within its header"), Ok)
    }

    fn u32(&mut self) -> Checked<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Checked<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn skip(&mut self, count: u64) -> Checked<()> {
        if self.input.skip(count)? { Ok(()) } else { malformed("it ends within its header") }
    }

    fn file(&mut self, size: Option<u64>) -> Checked<()> {
        self.skip(4)?;
        let version = self.u32()?;
        if !matches!(version, 2 | 3) {
            return Err(Refusal::Unknown(format!("a GGUF file of version {version} cannot be looked at")));
        }
        let (tensors, keys) = (self.u64()?, self.u64()?);
        if tensors > TENSORS {
            return malformed(format!("it says {tensors} tensors, {TENSORS} are the most"));
        }
        if keys > KEYS {
            return malformed(format!("it says {keys} keys, {KEYS} are the most"));
        }
        let mut seen = HashSet::new();
        for _ in 0..keys {
            self.key(&mut seen)?;
        }
        seen.clear();
        let mut places = Vec::new();
        for _ in 0..tensors {
            places.push(self.tensor(&mut seen)?);
        }
        let start = self.input.position().next_multiple_of(self.alignment);
        let size = if let Some(size) = size {
            size
        } else {
            self.input.drain()?;
            self.input.position()
        };
        places.sort_unstable();
        let mut at = 0_u64;
        for (offset, length) in places {
            if offset != at {
                return malformed(format!(
                    "a tensor lies at {offset} and should at {at}: a hole or an overlap"
                ));
            }
            at = offset + length.next_multiple_of(self.alignment);
            if start.checked_add(offset + length).is_none_or(|end| end > size) {
                return malformed(format!("a tensor at {offset} ends behind the end of the file"));
            }
        }
        if size > start.saturating_add(at).saturating_add(self.alignment) {
            return malformed("bytes follow its last tensor");
        }
        Ok(())
    }

    fn text(&mut self, limit: u64, what: &str) -> Checked<Vec<u8>> {
        let length = self.u64()?;
        if length > limit {
            return malformed(format!("{what} has {length} bytes, {limit} are the most"));
        }
        self.input.bytes(length as usize)?.map_or_else(|| malformed("it ends within its header"), Ok)
    }

    fn key(&mut self, seen: &mut HashSet<u64>) -> Checked<()> {
        let key = self.text(KEY, "a key")?;
        if !seen.insert(self.state.hash_one(&key)) {
            return malformed(format!("key `{}` is there twice", shown(&String::from_utf8_lossy(&key))));
        }
        (self.note)(&key);
        let kind = self.u32()?;
        if key == b"general.alignment" {
            if kind != 4 {
                return malformed("`general.alignment` is no 32-bit number");
            }
            let alignment = self.u32()?;
            if !alignment.is_power_of_two() || alignment > 1 << 20 {
                return malformed(format!("the alignment {alignment} is no power of two, or too large"));
            }
            self.alignment = alignment.into();
            return Ok(());
        }
        self.value(kind, 0)
    }

    fn value(&mut self, kind: u32, depth: u32) -> Checked<()> {
        match kind {
            8 => self.string(),
            9 => self.items(depth + 1),
            _ => {
                let width = width(kind)?;
                self.skip(width)
            }
        }
    }

    fn string(&mut self) -> Checked<()> {
        let length = self.u64()?;
        if length > STRING {
            return malformed(format!("a string has {length} bytes, {STRING} are the most"));
        }
        self.skip(length)
    }

    fn items(&mut self, depth: u32) -> Checked<()> {
        if depth > NESTING {
            return malformed(format!("arrays are nested deeper than {NESTING}"));
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        if count > ITEMS {
            return malformed(format!("an array has {count} items, {ITEMS} are the most"));
        }
        if !matches!(kind, 8 | 9) {
            let width = width(kind)?;
            return self.skip(count * width);
        }
        for _ in 0..count {
            self.value(kind, depth)?;
        }
        Ok(())
    }

    /// Where a tensor lies: offset and length.
    fn tensor(&mut self, seen: &mut HashSet<u64>) -> Checked<(u64, u64)> {
        let name = self.text(NAME, "the name of a tensor")?;
        let told = shown(&String::from_utf8_lossy(&name));
        if !seen.insert(self.state.hash_one(&name)) {
            return malformed(format!("tensor `{told}` is there twice"));
        }
        let dimensions = self.u32()?;
        if dimensions > DIMENSIONS {
            return malformed(format!(
                "tensor `{told}` has {dimensions} dimensions, {DIMENSIONS} are the most"
            ));
        }
        let (mut elements, mut row) = (Some(1_u64), 1);
        for index in 0..dimensions {
            let extent = self.u64()?;
            if index == 0 {
                row = extent;
            }
            elements = elements.and_then(|elements| elements.checked_mul(extent));
        }
        let kind = self.u32()?;
        let Some((block, bytes)) = block(kind) else {
            return Err(Refusal::Unknown(format!("tensor `{told}` has the type {kind}, which is not known")));
        };
        let offset = self.u64()?;
        let Some(elements) = elements.filter(|&elements| i64::try_from(elements).is_ok()) else {
            return malformed(format!("tensor `{told}` has more elements than can be counted"));
        };
        if row % block != 0 {
            return malformed(format!("a row of tensor `{told}` is not whole blocks of {block}"));
        }
        if offset % self.alignment != 0 {
            return malformed(format!("tensor `{told}` lies at {offset}, which is not aligned"));
        }
        let length = (elements / block).checked_mul(bytes);
        let end =
            length.and_then(|length| offset.checked_add(length)).filter(|&end| i64::try_from(end).is_ok());
        match (length, end) {
            (Some(length), Some(_)) => Ok((offset, length)),
            _ => malformed(format!("tensor `{told}` ends where no file does")),
        }
    }
}

/// Bytes of a value of fixed width.
fn width(kind: u32) -> Checked<u64> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => malformed(format!("a value has the type {kind}, which there is not")),
    }
}

/// Elements of a block of a tensor type, and its bytes.
fn block(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        24 => (1, 1),
        27 | 28 => (1, 8),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        39 => (32, 17),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        29 => (256, 56),
        34 => (256, 54),
        _ => return None,
    })
}
