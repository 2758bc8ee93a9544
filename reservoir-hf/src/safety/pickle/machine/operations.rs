//! Every operation of protocols 0 to 5.

use std::io;

use super::{
    super::{
        super::report::{Rule, Safety},
        value::{Texts, Value},
    },
    End, Machine,
};

/// The value of a step, or the end of the pickle.
macro_rules! need {
    ($step:expr) => {
        match $step? {
            Some(value) => value,
            None => return Ok(Some(End::Truncated)),
        }
    };
}

impl Machine<'_, '_> {
    /// Does one operation; how the pickle ended, if that was its last.
    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    pub(super) fn step(&mut self, operation: u8) -> io::Result<Option<End>> {
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
}
