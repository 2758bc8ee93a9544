//! Arguments of operations: numbers, bytes, strings and lines.

use std::io;

use super::{super::value::Value, Machine, NAME, Step};

impl Machine<'_, '_> {
    pub(super) fn number(&mut self, bytes: u64) -> io::Result<()> {
        // At the end of the input the next step ends the pickle.
        self.input.skip(bytes)?;
        self.stack.push(Value::Data);
        Ok(())
    }

    pub(super) fn bytes(&mut self, length: u64) -> Step<()> {
        if !self.input.skip(length)? {
            return Ok(None);
        }
        self.stack.push(Value::Data);
        Ok(Some(()))
    }

    pub(super) fn string(&mut self, length: u64) -> Step<()> {
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
    pub(super) fn line(&mut self) -> Step<()> {
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
}
