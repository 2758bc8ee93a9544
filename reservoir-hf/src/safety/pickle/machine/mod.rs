//! One pickle: its operations on a stack, marks and a memo of what is known of values.

mod arguments;
mod imports;
mod operations;
mod outcome;

use std::io;

pub(super) use self::outcome::{End, MEANT, Outcome};
use super::{
    super::{input::Input, report::Rule},
    value::{Memo, Texts, Value},
};

/// Values on the stack.
const STACK: usize = 1 << 21;
/// Marks on it.
const MARKS: usize = 1 << 16;
/// Bytes of a string that could be a name.
const NAME: usize = 256;
/// Imports and findings that are told of one pickle.
const TOLD: usize = 64;

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

impl<'m, 'i> Machine<'m, 'i> {
    /// Of what begins at the input's position. What is `is_declared` is followed past an empty stack.
    pub(super) fn new(input: &'m mut Input<'i>, is_declared: bool) -> Self {
        Self {
            input,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo::default(),
            texts: Texts::new(),
            line: Vec::new(),
            underflow: false,
            outcome: Outcome::new(is_declared),
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
