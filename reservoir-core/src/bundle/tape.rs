//! A bundle as one stream: a plain tar of its files in the order in which they are made, so that `tar -x` gives the
//! folder. There is one spelling of each header, and nothing else is read. Behind the last member come two blocks of zeros,
//! and then nothing but zeros, as `tar` and `dd` fill up what they write in larger blocks.

use std::io::Read;

use crate::error::{Error, Result};

/// Bytes of a tar block.
pub(super) const BLOCK: u64 = 512;

/// Zeros behind the end of a stream at most.
const FILLED: u64 = 1 << 20;

/// The header of one member.
pub(super) fn header(name: &str, size: u64) -> Result<[u8; 512]> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).map_err(Error::io(format!("name `{name}` in a stream")))?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Bytes behind a member that fill its last block.
pub(super) fn padding(size: u64) -> usize {
    ((BLOCK - size % BLOCK) % BLOCK) as usize
}

/// Reads members one after the other.
pub(super) struct TapeReader<R: Read> {
    input: R,
}

impl<R: Read> TapeReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input }
    }

    /// The name and size of the next member; `None` at the end of the stream.
    pub(super) fn next(&mut self) -> Result<Option<(String, u64)>> {
        let malformed = |detail: &str| Error::malformed("the stream", "bundle-stream", detail);
        let mut block = [0; BLOCK as usize];
        self.input.read_exact(&mut block).map_err(cut_short)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let found = tar::Header::from_byte_slice(&block);
        let path = found.path_bytes();
        let name = std::str::from_utf8(&path).map_err(|_| malformed("a name is not UTF-8"))?.to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with('.') {
            return Err(malformed("a name is none that a bundle has"));
        }
        let size = found.size().map_err(|error| malformed(&error.to_string()))?;
        if header(&name, size)? != block {
            return Err(malformed("it was not written by a reservoir"));
        }
        Ok(Some((name, size)))
    }

    /// The bytes of the member; all of them are to be read.
    pub(super) fn member(&mut self, size: u64) -> std::io::Take<&mut R> {
        (&mut self.input).take(size)
    }

    /// Behind the first block of the end.
    fn rest(&mut self) -> Result<()> {
        if is_filled(&mut self.input)? {
            return Ok(());
        }
        Err(Error::malformed("the stream", "bundle-stream", "something stands behind its end"))
    }

    /// Behind a member of `size` bytes.
    pub(super) fn end(&mut self, size: u64) -> Result<()> {
        let mut rest = [0; BLOCK as usize];
        let rest = &mut rest[..padding(size)];
        self.input.read_exact(rest).map_err(cut_short)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Error::malformed(
                "the stream",
                "bundle-stream",
                "something is hidden behind a member",
            ));
        }
        Ok(())
    }
}

/// Whether a second block of zeros is left, and nothing but zeros behind it.
fn is_filled(input: &mut impl Read) -> Result<bool> {
    let mut block = [0; BLOCK as usize];
    input.read_exact(&mut block).map_err(cut_short)?;
    let mut rest = Vec::new();
    input.take(FILLED + 1).read_to_end(&mut rest).map_err(cut_short)?;
    Ok(rest.len() as u64 <= FILLED && block.iter().chain(&rest).all(|byte| *byte == 0))
}

/// A stream that ends early is a bundle that was cut; other failures are the system's.
pub(super) fn cut_short(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return Error::malformed("the bundle", "bundle-truncated", "it ends before its end");
    }
    Error::io("read the bundle")(error)
}

/// A bundle read from a stream, in the order in which it was written.
pub(crate) struct Tape {
    members: TapeReader<Box<dyn Read + Send>>,
}

impl Tape {
    pub(crate) fn new(input: Box<dyn Read + Send>) -> Self {
        Self { members: TapeReader::new(input) }
    }

    fn expect(&mut self, name: &str) -> Result<u64> {
        match self.members.next()? {
            Some((found, size)) if found == name => Ok(size),
            Some((found, _)) => {
                let detail = format!("`{found}` stands where `{name}` should");
                Err(Error::malformed("the stream", "bundle-stream", detail))
            }
            None => {
                Err(Error::malformed("the stream", "bundle-truncated", format!("it ends before `{name}`")))
            }
        }
    }

    /// A small file.
    pub(crate) fn small(&mut self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let size = self.expect(name)?;
        if size > limit as u64 {
            return Err(Error::malformed(name, "bundle-file", format!("it is over {limit} bytes")));
        }
        let mut bytes = Vec::new();
        self.members.member(size).read_to_end(&mut bytes).map_err(cut_short)?;
        if bytes.len() as u64 != size {
            return Err(Error::malformed("the stream", "bundle-truncated", format!("`{name}` is cut short")));
        }
        self.members.end(size)?;
        Ok(bytes)
    }

    /// One of the compressed files.
    pub(crate) fn part(&mut self, name: &'static str, stage: &mut super::Stage) -> Result<()> {
        let size = self.expect(name)?;
        let mut member = self.members.member(size);
        stage.take_part(name, &mut member)?;
        if member.limit() > 0 {
            return Err(Error::malformed(
                "the stream",
                "bundle-stream",
                format!("`{name}` is longer than it says"),
            ));
        }
        self.members.end(size)
    }

    /// Reads over the next volume.
    pub(crate) fn pass_volume(
        &mut self,
        index: u32,
        stage: &super::Stage,
        watch: &dyn super::Watch,
    ) -> Result<()> {
        let (name, size, _, _) = self.begin_volume(index, stage)?;
        let mut member = self.members.member(size - super::volume::HEAD);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = member.read(&mut buffer).map_err(cut_short)?;
            if read == 0 {
                break;
            }
            watch.bytes(read as u64)?;
        }
        if member.limit() > 0 {
            return Err(Error::malformed("the stream", "bundle-truncated", format!("`{name}` is cut short")));
        }
        self.members.end(size)
    }

    /// What the next volume is, with its bytes and its head, behind which the stream stands then.
    fn begin_volume(
        &mut self,
        index: u32,
        stage: &super::Stage,
    ) -> Result<(String, u64, super::VolumeHead, [u8; super::volume::HEAD as usize])> {
        let name = super::volume::file_name(index);
        let size = self.expect(&name)?;
        if size != super::volume::HEAD + stage.header().volumes.size(index) {
            return Err(Error::malformed(name, "bundle-volume", "it has another size than the header says"));
        }
        let (head, raw) = super::source::read_head(&name, &mut self.members.member(super::volume::HEAD))?;
        if head.index != index {
            return Err(Error::malformed(name, "bundle-volume", "it is another volume"));
        }
        stage.check_head(&name, &head)?;
        Ok((name, size, head, raw))
    }

    /// The next volume.
    pub(crate) fn volume(
        &mut self,
        index: u32,
        stage: &mut super::Stage,
        watch: &dyn super::Watch,
    ) -> Result<()> {
        let (_, size, head, raw) = self.begin_volume(index, stage)?;
        let mut member = self.members.member(size - super::volume::HEAD);
        stage.take_volume((&head, &raw), super::Input::Stream(&mut member), watch)?;
        self.members.end(size)
    }

    /// The end of the stream; waits for it to be closed.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.members.next()? {
            None => self.members.rest(),
            Some((name, _)) => Err(Error::malformed(
                "the stream",
                "bundle-stream",
                format!("`{name}` stands behind its end"),
            )),
        }
    }
}
