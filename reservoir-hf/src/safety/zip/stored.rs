//! A member that is not compressed and whose length only follows it, as PyTorch writes all of them.

use std::io::{self, Read};

use memchr::memmem;

use super::{
    super::input::{Input, le32, le64},
    DESCRIPTOR, WIDE,
};

/// The longest descriptor: signature, CRC, two sizes of 64 bits.
const LONGEST: usize = 24;
/// Bytes looked through at once.
const WINDOW: usize = 64 << 10;

/// The bytes up to a descriptor that tells exactly how many they are. Data that forges one ends the member
/// early, and is then found to be listed otherwise.
pub(super) struct UntilDescriptor<'s, 'i> {
    input: &'s mut Input<'i>,
    count: u64,
    is_complete: bool,
}

impl<'s, 'i> UntilDescriptor<'s, 'i> {
    pub(super) fn new(input: &'s mut Input<'i>) -> Self {
        Self { input, count: 0, is_complete: false }
    }

    /// Whether the descriptor was found. It is not consumed.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }
}

/// Whether a descriptor of `count` bytes, as they are and as stored, begins here.
fn tells(bytes: &[u8], count: u64) -> bool {
    let narrow =
        bytes.len() >= 16 && [8, 12].iter().all(|&at| u64::from(le32(bytes, at)) == count) && count < WIDE;
    narrow || bytes.len() >= LONGEST && [8, 16].iter().all(|&at| le64(bytes, at) == count)
}

impl Read for UntilDescriptor<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_complete || buffer.is_empty() {
            return Ok(0);
        }
        let shown = self.input.peek(WINDOW)?;
        let ended = shown.len() < WINDOW;
        let mut clear = if ended { shown.len() } else { shown.len() - (LONGEST - 1) };
        for at in memmem::find_iter(&shown[..clear.saturating_add(3).min(shown.len())], DESCRIPTOR) {
            if tells(&shown[at..], self.count + at as u64) {
                if at == 0 {
                    self.is_complete = true;
                    return Ok(0);
                }
                clear = at;
                break;
            }
        }
        let count = clear.min(buffer.len());
        buffer[..count].copy_from_slice(&shown[..count]);
        self.input.consume(count);
        self.count += count as u64;
        Ok(count)
    }
}
