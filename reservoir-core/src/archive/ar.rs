//! ar, as Debian packages use it: a flat row of members with short plain names.
//!
//! The format has several ways to write long names and to lie about sizes; here there is one of each. Names are 16
//! bytes of printable ASCII, sizes decimal digits, the members end where the file ends.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, Read as _},
};

use super::{
    Compression, Limits, TarRoot, Visitor,
    bridge::{self, Feed, Source},
    tar,
};
use crate::{
    error::{Error, Result},
    store::{Blob, Store, StoreExt as _},
};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// Members of one archive.
const MEMBERS: usize = 64;

/// Sees each member once, in the order of the archive, on a thread that may block.
///
/// An error ends the walk and is returned from it.
pub trait ArVisitor: Send + 'static {
    /// A member and its bytes; what is left unread of them is passed over.
    fn member(&mut self, name: &str, body: &mut ArMember<'_>) -> Result<()>;
}

/// The bytes of one member.
#[derive(Debug)]
pub struct ArMember<'a> {
    what: String,
    source: &'a mut Source,
    size: u64,
    left: u64,
}

/// Walks all members of the ar archive `blob`; `what` names it in errors. The visitor comes back when the whole
/// archive was found good. Dropping the future stops the walk at the next chunk.
pub async fn walk_ar<V: ArVisitor>(store: &dyn Store, blob: &Blob, what: &str, visitor: V) -> Result<V> {
    let stream = store.read_all(blob).await?;
    let (what, size) = (what.to_owned(), blob.size);
    bridge::read_blocking(stream, move |source| walk(&what, source, size, visitor)).await
}

fn walk<V: ArVisitor>(what: &str, mut source: Source, size: u64, mut visitor: V) -> Result<V> {
    let refuse = |rule, detail: String| Err(Error::malformed(what, rule, detail));
    let mut magic = [0; MAGIC.len()];
    if source.read_up_to(&mut magic)? < magic.len() || magic != *MAGIC {
        return refuse("ar-magic", "it is no ar archive".into());
    }
    let mut names = BTreeSet::new();
    loop {
        let mut header = [0; HEADER];
        match source.read_up_to(&mut header)? {
            0 => return Ok(visitor),
            HEADER => {}
            _ => return refuse("ar-truncated", "it ends within a header".into()),
        }
        let (name, length) = parse(what, &header)?;
        if length > size.saturating_sub(source.position()) {
            return refuse("ar-size", format!("member `{name}` has {length} bytes, more than the archive"));
        }
        if names.len() == MEMBERS {
            return Err(Error::LimitExceeded { what: what.to_owned(), limit: format!("{MEMBERS} members") });
        }
        let mut body =
            ArMember { what: format!("`{name}` of {what}"), source: &mut source, size: length, left: length };
        visitor.member(&name, &mut body)?;
        body.pass()?;
        if !names.insert(name.clone()) {
            return refuse("ar-duplicate", format!("member `{name}` is there twice"));
        }
        if length % 2 == 1 {
            let mut padding = [0];
            if source.read_up_to(&mut padding)? == 1 && padding != *b"\n" {
                return refuse("ar-padding", format!("member `{name}` is not padded by a newline"));
            }
        }
    }
}

/// Name and size of a header.
fn parse(what: &str, header: &[u8; HEADER]) -> Result<(String, u64)> {
    let refuse = |rule, detail: &str| Err(Error::malformed(what, rule, detail));
    if header[58..] != *b"`\n" {
        return refuse("ar-header", "a header does not end as headers do");
    }
    // Some writers put a slash behind the name.
    let name = header[..16].trim_ascii_end();
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte);
    if name.is_empty() || !name.iter().all(plain) {
        return refuse("ar-name", "a member has no plain name of 16 bytes at most");
    }
    // Time, owner, group, mode.
    for field in [&header[16..28], &header[28..34], &header[34..40], &header[40..48]] {
        if !field.trim_ascii_end().iter().all(u8::is_ascii_digit) {
            return refuse("ar-header", "a header has a field that is no number");
        }
    }
    let digits = header[48..58].trim_ascii_end();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return refuse("ar-size", "a header has a size that is no number");
    }
    // Ten digits fit.
    let size = digits.iter().fold(0, |size, digit| size * 10 + u64::from(digit - b'0'));
    Ok((String::from_utf8_lossy(name).into_owned(), size))
}

impl ArMember<'_> {
    /// Bytes of the member.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the member into memory.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when it has more than `limit` bytes.
    pub fn read_whole(&mut self, limit: u64) -> Result<Vec<u8>> {
        if self.left > limit {
            return Err(Error::LimitExceeded { what: self.what.clone(), limit: format!("{limit} bytes") });
        }
        let mut bytes = vec![0; self.left as usize];
        match self.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(self.broken()),
        }
    }

    /// Walks the member as a TAR; as `walk_tar` does.
    pub fn walk_tar<V: Visitor>(
        &mut self,
        compression: Compression,
        root: TarRoot,
        limits: &Limits,
        visitor: V,
    ) -> Result<V> {
        let (what, size) = (self.what.clone(), self.left);
        tar::read(&what, compression, Box::new(&mut *self), size, root, limits, visitor)
    }

    /// Passes over what is left.
    fn pass(&mut self) -> Result<()> {
        while self.left > 0 {
            let count = match self.fill_buf() {
                Ok([]) | Err(_) => return Err(self.broken()),
                Ok(bytes) => bytes.len(),
            };
            self.consume(count);
        }
        Ok(())
    }

    fn broken(&mut self) -> Error {
        let truncated = || Error::malformed(&*self.what, "ar-truncated", "the archive ends within it");
        self.source.take_failure().unwrap_or_else(truncated)
    }
}

impl io::Read for ArMember<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl io::BufRead for ArMember<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.source.fill_buf()?;
        let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(&bytes[..count])
    }

    fn consume(&mut self, count: usize) {
        self.left -= count as u64;
        self.source.consume(count);
    }
}

impl Feed for &mut ArMember<'_> {
    fn take_failure(&mut self) -> Option<Error> {
        self.source.take_failure()
    }
}
