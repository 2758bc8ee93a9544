//! Protocol buffers, read field by field from a stream: nothing is kept but what is asked for.

use std::io;

use super::input::Input;

/// A message: the bytes of the input up to a place.
pub(super) struct Message<'m, 'i> {
    input: &'m mut Input<'i>,
    end: u64,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A number of variable length.
    Number(u64),
    /// So many bytes: a text, a message, packed numbers. They are skipped unless they are read.
    Bytes(u64),
    /// A number of fixed width; it was skipped.
    Fixed,
}

impl<'m, 'i> Message<'m, 'i> {
    /// The whole of an input of `size` bytes.
    pub(super) fn new(input: &'m mut Input<'i>, size: u64) -> Self {
        let end = input.position().saturating_add(size);
        Self { input, end }
    }

    /// The next field and its number; `None` at the end of the message.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no message; what the input gives.
    pub(super) fn field(&mut self) -> io::Result<Option<(u64, Field)>> {
        let at = self.input.position();
        if at >= self.end {
            return if at == self.end { Ok(None) } else { Err(broken()) };
        }
        let tag = self.number()?;
        let field = match tag & 7 {
            0 => Field::Number(self.number()?),
            1 => self.skip(8).map(|()| Field::Fixed)?,
            2 => {
                let length = self.number()?;
                if self.input.position().checked_add(length).is_none_or(|end| end > self.end) {
                    return Err(broken());
                }
                Field::Bytes(length)
            }
            5 => self.skip(4).map(|()| Field::Fixed)?,
            // Groups are no part of any format that is read here.
            _ => return Err(broken()),
        };
        Ok(Some((tag >> 3, field)))
    }

    /// The bytes of a field as a message of their own.
    pub(super) fn inner(&mut self, length: u64) -> Message<'_, 'i> {
        Message { end: self.input.position().saturating_add(length), input: self.input }
    }

    /// The bytes of a field, if they are `limit` at most; longer ones are skipped.
    pub(super) fn bytes(&mut self, length: u64, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if length > limit {
            return self.skip(length).map(|()| None);
        }
        self.input.bytes(length as usize)?.map_or_else(|| Err(broken()), |bytes| Ok(Some(bytes)))
    }

    /// Passes over what nobody wants.
    pub(super) fn pass(&mut self, field: Field) -> io::Result<()> {
        match field {
            Field::Bytes(length) => self.skip(length),
            Field::Number(_) | Field::Fixed => Ok(()),
        }
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        if self.input.skip(count)? { Ok(()) } else { Err(broken()) }
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0_u64;
        for place in 0..10 {
            let Some(byte) = self.input.byte()? else { return Err(broken()) };
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(broken())
    }
}

/// Not what it should be.
pub(super) fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is no message of protocol buffers")
}
