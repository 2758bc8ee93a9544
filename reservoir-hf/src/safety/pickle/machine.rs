//! One pickle: every operation of protocols 0 to 5 on a stack, marks and a memo of what is known of values.

use std::io;

use super::{
    super::{
        input::Input,
        report::{Rule, Safety, shown},
    },
    value::{Memo, Texts, Value, global},
};

/// Operations after which a declared pickle that breaks was meant as one.
pub(super) const MEANT: u64 = 64;
/// Values on the stack.
const STACK: usize = 1 << 21;
/// Marks on it.
const MARKS: usize = 1 << 16;
/// Bytes of a string that could be a name.
const NAME: usize = 256;
/// Imports and findings that are told of one pickle.
const TOLD: usize = 64;

/// How a pickle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By its STOP.
    Stop,
    /// With the input.
    Truncated,
    /// Where Python gives up too.
    Invalid,
    /// Where we give up.
    Deep,
}

/// What one pickle does when it is loaded.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Outcome {
    pub(super) is_declared: bool,
    pub(super) end: End,
    pub(super) operations: u64,
    pub(super) imports: Vec<(Safety, String, String)>,
    pub(super) found: Vec<(Rule, String)>,
    has_imported: bool,
    has_called: bool,
    /// An import that no text file begins with by chance.
    has_telling_import: bool,
    ends_input: bool,
}

impl Outcome {
    /// Whether anything was imported, called or found.
    pub(super) fn did_something(&self) -> bool {
        self.has_imported || self.has_called || !self.found.is_empty()
    }

    /// Whether these bytes are a pickle and no text or tensor that looks like one for a few bytes.
    pub(super) fn is_telling(&self, is_declared: bool) -> bool {
        if !self.did_something() {
            return false;
        }
        // The first bytes of a tensor declare a pickle once in some ten thousand times; then it breaks at once.
        let is_meant =
            is_declared && (self.end == End::Stop || self.has_imported || self.operations >= MEANT);
        let sure = is_meant || self.has_called || self.has_telling_import;
        match self.end {
            End::Stop => sure || self.has_imported || self.ends_input,
            // Two lines of text may be an import and nothing after it.
            End::Truncated => sure || self.has_imported && self.operations > 1,
            End::Deep => true,
            End::Invalid => sure,
        }
    }
}

/// The interpreter of one pickle.
pub(super) struct Machine<'m, 'i> {
    input: &'m mut Input<'i>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Memo,
    texts: Texts,
    line: Vec<u8>,
    underflow: bool,
    outcome: Outcome,
}

/// `None` ends the pickle: the input is at its end.
type Step<T> = io::Result<Option<T>>;

/// The value of a step, or the end of the pickle.
macro_rules! need {
    ($step:expr) => {
        match $step? {
            Some(value) => value,
            None => return Ok(Some(End::Truncated)),
        }
    };
}

impl<'m, 'i> Machine<'m, 'i> {
    /// Of what begins at the input's position. What is `is_declared` is followed past an empty stack.
    pub(super) fn new(input: &'m mut Input<'i>, is_declared: bool) -> Self {
        let outcome = Outcome {
            is_declared,
            end: End::Truncated,
            operations: 0,
            imports: Vec::new(),
            found: Vec::new(),
            has_imported: false,
            has_called: false,
            has_telling_import: false,
            ends_input: false,
        };
        Self {
            input,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo::default(),
            texts: Texts::new(),
            line: Vec::new(),
            underflow: false,
            outcome,
        }
    }

    /// Follows it to its end, and behind its last operation. What it did before the input failed is told too.
    pub(super) fn run(mut self) -> (Outcome, io::Result<()>) {
        let followed = self.follow();
        let failed = match followed {
            Ok(end) => {
                self.outcome.end = end;
                self.input.is_at_end().map(|ended| self.outcome.ends_input = ended)
            }
            Err(error) => Err(error),
        };
        (self.outcome, failed)
    }

    fn follow(&mut self) -> io::Result<End> {
        loop {
            let Some(operation) = self.input.byte()? else { return Ok(End::Truncated) };
            if let Some(end) = self.step(operation)? {
                return Ok(end);
            }
            if std::mem::take(&mut self.underflow) {
                if !self.outcome.is_declared {
                    return Ok(End::Invalid);
                }
                // Python gives up here. To go on finds more, never less.
                if self.outcome.did_something() {
                    self.find(Rule::PickleBroken, "takes from an empty stack");
                }
            }
            self.outcome.operations += 1;
            if self.stack.len() > STACK || self.marks.len() > MARKS {
                return Ok(End::Deep);
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    fn step(&mut self, operation: u8) -> io::Result<Option<End>> {
        match operation {
            b'.' => {
                self.pop();
                return Ok(Some(if self.underflow { End::Invalid } else { End::Stop }));
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop();
                }
            }
            b'2' => {
                let top = self.pop();
                self.stack.extend([top, top]);
            }
            b'N' | b')' | b']' | b'}' | 0x88 | 0x89 | 0x8f => self.stack.push(Value::Data),
            b'I' | b'L' | b'F' => {
                need!(self.line());
                let text = self.line.strip_suffix(b"L").unwrap_or(&self.line).trim_ascii();
                let is_number = text.iter().all(|byte| {
                    byte.is_ascii_digit()
                        || matches!(byte, b'+' | b'-' | b'_' | b'.' | b'e' | b'E' | b'n' | b'a')
                        || operation != b'I' && matches!(byte, b'i' | b'f' | b'x' | b'N' | b'I')
                });
                if text.is_empty() || !is_number {
                    self.underflow = true;
                }
                self.stack.push(Value::Data);
            }
            b'J' => self.number(4)?,
            b'K' => self.number(1)?,
            b'M' => self.number(2)?,
            b'G' => self.number(8)?,
            b'S' => {
                need!(self.line());
                let line = self.line.trim_ascii_end();
                let value = match line {
                    [quote @ (b'\'' | b'"'), text @ .., last] if quote == last => self.texts.value(text),
                    _ => {
                        self.underflow = true;
                        Value::Data
                    }
                };
                self.stack.push(value);
            }
            b'V' => {
                need!(self.line());
                let value = self.texts.value(&self.line);
                self.stack.push(value);
            }
            b'T' | b'X' => {
                let length = u32::from_le_bytes(need!(self.input.array()));
                need!(self.string(length.into()));
            }
            b'U' | 0x8c => {
                let [length] = need!(self.input.array());
                need!(self.string(length.into()));
            }
            0x8d => {
                let length = u64::from_le_bytes(need!(self.input.array()));
                need!(self.string(length));
            }
            b'B' => {
                let length = u32::from_le_bytes(need!(self.input.array()));
                need!(self.bytes(length.into()));
            }
            b'C' | 0x8a => {
                let [length] = need!(self.input.array());
                need!(self.bytes(length.into()));
            }
            0x8b => {
                let Ok(length) = u32::try_from(i32::from_le_bytes(need!(self.input.array()))) else {
                    return Ok(Some(End::Invalid));
                };
                need!(self.bytes(length.into()));
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(need!(self.input.array()));
                need!(self.bytes(length));
            }
            b'a' => drop(self.pop()),
            b's' => {
                self.pop();
                self.pop();
            }
            b'1' | b'e' | b'u' | 0x90 => self.pop_mark(),
            b'l' | b'd' | 0x91 => {
                self.pop_mark();
                self.stack.push(Value::Data);
            }
            b't' => {
                let height = self.marks.last().copied().unwrap_or_default();
                let items = self.stack.get(height..).unwrap_or_default();
                let value = match items {
                    [first, .., last] => Texts::tuple(*first, *last, items.len()),
                    _ => Value::Data,
                };
                self.pop_mark();
                self.stack.push(value);
            }
            0x85..=0x87 => {
                let last = self.pop();
                let value = if operation == 0x86 {
                    let first = self.pop();
                    Texts::tuple(first, last, 2)
                } else {
                    for _ in 0x85..operation {
                        self.pop();
                    }
                    Value::Data
                };
                self.stack.push(value);
            }
            b'p' | b'g' => {
                need!(self.line());
                let number = std::str::from_utf8(&self.line).ok().and_then(|line| line.trim().parse().ok());
                match number {
                    Some(number) if operation == b'p' => self.put(number),
                    Some(number) => self.stack.push(self.memo.get(number)),
                    None => {
                        self.underflow = true;
                        self.stack.push(Value::Data);
                    }
                }
            }
            b'q' => {
                let [number] = need!(self.input.array());
                self.put(number.into());
            }
            b'r' => {
                let number = u32::from_le_bytes(need!(self.input.array()));
                self.put(number);
            }
            0x94 => {
                let top = self.top();
                self.memo.put_next(top);
            }
            b'h' => {
                let [number] = need!(self.input.array());
                self.stack.push(self.memo.get(number.into()));
            }
            b'j' => {
                let number = u32::from_le_bytes(need!(self.input.array()));
                self.stack.push(self.memo.get(number));
            }
            b'c' | b'i' => {
                let Some(value) = need!(self.global_line()) else { return Ok(Some(End::Invalid)) };
                if operation == b'i' {
                    self.pop_mark();
                    self.call(value, Value::Data);
                } else {
                    self.stack.push(value);
                }
            }
            0x93 => {
                let (name, module) = (self.pop(), self.pop());
                let value = self.import(module, name);
                self.stack.push(value);
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop(), self.pop());
                self.call(callee, arguments);
            }
            0x92 => {
                self.pop();
                let (arguments, callee) = (self.pop(), self.pop());
                self.call(callee, arguments);
            }
            b'o' => {
                let height = self.marks.last().copied().unwrap_or_default();
                let callee = self.stack.get(height).copied().unwrap_or(Value::Data);
                self.pop_mark();
                self.call(callee, Value::Data);
            }
            b'b' => {
                self.pop();
                if self.top() != Value::Object {
                    self.find(Rule::PickleBuild, "sets the state of what is no allowed object");
                }
            }
            b'P' => {
                need!(self.line());
                self.find(Rule::PickleOpcode, "has a persistent id in words");
                self.stack.push(Value::Data);
            }
            b'Q' => {
                let id = self.pop();
                if id == Value::StorageId {
                    self.outcome.has_imported = true;
                } else {
                    self.find(Rule::PickleOpcode, "has a persistent id that names no tensor storage");
                }
                self.stack.push(Value::Object);
            }
            0x82..=0x84 => {
                need!(self.bytes([1, 2, 4][usize::from(operation - 0x82)]));
                self.find(Rule::PickleOpcode, "takes something out of the extension registry");
                self.stack.pop();
                self.stack.push(Value::Global { safety: Safety::Suspicious, is_encode: false });
            }
            0x97 => {
                self.find(Rule::PickleOpcode, "takes a buffer from outside");
                self.stack.push(Value::Data);
            }
            0x98 => {
                let top = self.top();
                if top != Value::Data {
                    self.find(Rule::PickleOpcode, "makes a buffer of what is none");
                }
            }
            0x80 => {
                let [protocol] = need!(self.input.array());
                if protocol > 5 {
                    return Ok(Some(End::Invalid));
                }
            }
            0x95 => {
                need!(self.input.array::<8>());
            }
            _ => return Ok(Some(End::Invalid)),
        }
        Ok(None)
    }

    /// Values below the last mark are out of reach, as in Python.
    fn pop(&mut self) -> Value {
        let fence = self.marks.last().copied().unwrap_or_default();
        if self.stack.len() > fence
            && let Some(value) = self.stack.pop()
        {
            return value;
        }
        self.underflow = true;
        Value::Data
    }

    fn top(&mut self) -> Value {
        let fence = self.marks.last().copied().unwrap_or_default();
        match self.stack.last() {
            Some(&value) if self.stack.len() > fence => value,
            _ => {
                self.underflow = true;
                Value::Data
            }
        }
    }

    fn pop_mark(&mut self) {
        match self.marks.pop() {
            Some(height) => self.stack.truncate(height),
            None => self.underflow = true,
        }
    }

    fn put(&mut self, number: u32) {
        let top = self.top();
        self.memo.put(number, top);
    }

    fn number(&mut self, bytes: u64) -> io::Result<()> {
        // At the end of the input the next step ends the pickle.
        self.input.skip(bytes)?;
        self.stack.push(Value::Data);
        Ok(())
    }

    fn bytes(&mut self, length: u64) -> Step<()> {
        if !self.input.skip(length)? {
            return Ok(None);
        }
        self.stack.push(Value::Data);
        Ok(Some(()))
    }

    fn string(&mut self, length: u64) -> Step<()> {
        if length > NAME as u64 {
            return self.bytes(length);
        }
        let length = length as usize;
        let shown = self.input.peek(length)?;
        if shown.len() < length {
            return Ok(None);
        }
        let value = self.texts.value(shown);
        self.input.consume(length);
        self.stack.push(value);
        Ok(Some(()))
    }

    /// Reads a line into `self.line`; of a long one only the first bytes are kept, with a NUL that makes it no name.
    fn line(&mut self) -> Step<()> {
        self.line.clear();
        loop {
            let shown = self.input.available()?;
            if shown.is_empty() {
                return Ok(None);
            }
            let end = memchr::memchr(b'\n', shown);
            let part = &shown[..end.unwrap_or(shown.len())];
            let room = (NAME + 1).saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(&part[..room]);
            if room < part.len() && self.line.last() != Some(&0) {
                self.line.push(0);
            }
            let count = part.len() + usize::from(end.is_some());
            self.input.consume(count);
            if end.is_some() {
                return Ok(Some(()));
            }
        }
    }

    /// Two lines, module and name. The inner `None`: what is not declared a pickle is none after all.
    fn global_line(&mut self) -> Step<Option<Value>> {
        if self.line()?.is_none() {
            return Ok(None);
        }
        let module = std::mem::take(&mut self.line);
        if self.line()?.is_none() {
            return Ok(None);
        }
        let name = std::mem::take(&mut self.line);
        match (identifier(&module), identifier(&name)) {
            (Some(module), Some(name)) => Ok(Some(Some(self.imported(module, name)))),
            _ if self.outcome.is_declared => {
                let text = [module, vec![b' '], name].concat();
                let text = shown(&String::from_utf8_lossy(&text));
                self.find(Rule::PickleComputedName, &format!("imports `{text}`, which is no name"));
                self.outcome.has_imported = true;
                Ok(Some(Some(Value::Global { safety: Safety::Suspicious, is_encode: false })))
            }
            _ => Ok(Some(None)),
        }
    }

    /// An import by two values from the stack.
    fn import(&mut self, module: Value, name: Value) -> Value {
        if let (Some(module), Some(name)) = (self.texts.text(module), self.texts.text(name)) {
            let (module, name) = (module.to_owned(), name.to_owned());
            return self.imported(&module, &name);
        }
        self.outcome.has_imported |= !self.underflow;
        self.find(Rule::PickleComputedName, "imports by a name that is no constant");
        Value::Global { safety: Safety::Suspicious, is_encode: false }
    }

    fn imported(&mut self, module: &str, name: &str) -> Value {
        let value = global(module, name);
        let Value::Global { safety, .. } = value else { return value };
        self.outcome.has_imported = true;
        let known = |(_, known, known_name): &(_, String, String)| known == module && known_name == name;
        if self.outcome.imports.len() < TOLD && !self.outcome.imports.iter().any(known) {
            self.outcome.imports.push((safety, module.to_owned(), name.to_owned()));
        }
        let rule = match safety {
            Safety::Innocuous => return value,
            Safety::Dangerous => Rule::PickleDangerousImport,
            Safety::Suspicious => Rule::PickleUnknownImport,
        };
        self.outcome.has_telling_import |= safety == Safety::Dangerous || module.contains('.');
        self.find(rule, &format!("imports `{}.{}`", shown(module), shown(name)));
        value
    }

    fn call(&mut self, callee: Value, arguments: Value) {
        match callee {
            Value::Global { is_encode: true, .. } if arguments != Value::EncodeArguments => {
                self.find(Rule::PickleComputedName, "encodes by something else than latin-1");
                self.outcome.has_called = true;
            }
            Value::Global { .. } => self.outcome.has_called = true,
            _ => {
                self.find(Rule::PickleComputedName, "calls what it did not import by name");
                // Text that looks like an operation does not count as a call.
                self.outcome.has_called |= self.outcome.has_imported && !self.underflow;
            }
        }
        self.stack.push(Value::Object);
    }

    fn find(&mut self, rule: Rule, detail: &str) {
        // Python gives up at an empty stack, before it does anything.
        if self.underflow && rule != Rule::PickleBroken {
            return;
        }
        let found = &mut self.outcome.found;
        if found.len() < TOLD && !found.iter().any(|(known, text)| *known == rule && text == detail) {
            found.push((rule, detail.to_owned()));
        }
    }
}

/// A dotted name of identifiers, as Python has them.
fn identifier(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    let is_part = |part: &str| {
        part.chars().enumerate().all(|(at, c)| c == '_' || c.is_alphabetic() || at > 0 && c.is_alphanumeric())
            && !part.is_empty()
    };
    (text.len() <= NAME && text.split('.').all(is_part)).then_some(text)
}
