//! What the interpreter knows of the values on the stack: only what decides whether something runs.

use std::collections::HashMap;

use super::{super::report::Safety, names};

/// Constant strings that are remembered; later ones are no constants any more.
const TEXTS: usize = 8192;
/// Memo entries that are remembered; what comes later is unknown when it is fetched.
const MEMO: usize = 1 << 18;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Numbers, bytes, containers, long or odd strings; also everything unknown. Never a name, never callable.
    Data,
    /// A constant string that could be a name, by its number in [`Texts`].
    Text(u32),
    /// Something imported.
    Global { safety: Safety, is_encode: bool },
    /// What a call of something imported made.
    Object,
    /// The arguments with which `_codecs.encode` makes bytes of text.
    EncodeArguments,
    /// A tuple by which PyTorch names a storage.
    StorageId,
}

/// Constant strings, each kept once.
#[derive(Debug)]
pub(super) struct Texts {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

impl Texts {
    /// The strings that [`Value::EncodeArguments`] and [`Value::StorageId`] are made of.
    const KNOWN: [&str; 3] = ["storage", "latin1", "latin-1"];

    pub(super) fn new() -> Self {
        let mut texts = Self { numbers: HashMap::new(), texts: Vec::new() };
        for known in Self::KNOWN {
            texts.value(known.as_bytes());
        }
        texts
    }

    /// The value of a string of these bytes.
    pub(super) fn value(&mut self, bytes: &[u8]) -> Value {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if bytes.is_empty() || !bytes.iter().all(is_name) {
            return Value::Data;
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return Value::Data };
        if let Some(&number) = self.numbers.get(text) {
            return Value::Text(number);
        }
        if self.texts.len() >= TEXTS {
            return Value::Data;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        Value::Text(number)
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match value {
            Value::Text(number) => self.texts.get(number as usize).map(AsRef::as_ref),
            _ => None,
        }
    }

    /// The value of a tuple that begins with `first` and has `last` as its last of `count` items.
    pub(super) fn tuple(first: Value, last: Value, count: usize) -> Value {
        match (first, last) {
            (Value::Text(0), _) if count >= 5 => Value::StorageId,
            (_, Value::Text(1 | 2)) if count == 2 => Value::EncodeArguments,
            _ => Value::Data,
        }
    }
}

/// The value of an import.
pub(super) fn global(module: &str, name: &str) -> Value {
    Value::Global { safety: names::classify(module, name), is_encode: module == "_codecs" }
}

/// The memo. What is only data is not kept: a fetch of it gives data again.
#[derive(Debug, Default)]
pub(super) struct Memo {
    kept: HashMap<u32, Value>,
    /// How often the next free number was used.
    next: u32,
    has_numbered: bool,
    has_unnumbered: bool,
}

impl Memo {
    pub(super) fn put(&mut self, number: u32, value: Value) {
        self.has_numbered = true;
        self.set(number, value);
    }

    /// Puts under the next free number, which is known only while every put is of this kind.
    pub(super) fn put_next(&mut self, value: Value) {
        self.has_unnumbered = true;
        self.set(self.next, value);
        self.next = self.next.saturating_add(1);
    }

    fn set(&mut self, number: u32, value: Value) {
        if value == Value::Data {
            self.kept.remove(&number);
        } else if self.kept.len() < MEMO || self.kept.contains_key(&number) {
            self.kept.insert(number, value);
        } else {
            self.kept.remove(&number);
        }
    }

    pub(super) fn get(&self, number: u32) -> Value {
        // Python counts entries where both kinds of put are mixed; no pickler does that.
        if self.has_numbered && self.has_unnumbered {
            return Value::Data;
        }
        self.kept.get(&number).copied().unwrap_or(Value::Data)
    }
}
