//! ZIP: walked from its first byte to its last, as nothing else sees every member.
//!
//! PyTorch and Python go by the central directory, PyTorch without looking at CRC and flags; others go from
//! header to header. The walk reads every member by its local header, whatever the flags say, and then demands
//! that the directory lists the same members at the same places and nothing else. What was looked at is then
//! what every reader gets; an archive for which that does not hold is a finding.

mod central;
mod stored;

use std::io::{self, BufRead, Read};

use self::{central::Known, stored::UntilDescriptor};
use super::{
    compressed::Codec,
    input::{Input, le16, le32, le64},
    keras,
    look::{Place, Scan},
    report::Rule,
};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END64: &[u8] = b"PK\x06\x06";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
const LOCAL_SIZE: usize = 30;

const ENCRYPTED: u16 = 1;
const DEFERRED: u16 = 1 << 3;
/// Stands in a 32-bit field for a number that is in the ZIP64 extra field.
const WIDE: u64 = u32::MAX as u64;

/// Why an archive is read in more than one way; the walk ends there.
type Ambiguity = String;

pub(super) fn walk(scan: &mut Scan, input: &mut Input<'_>, place: &Place) -> io::Result<()> {
    let mut walk = Walk { scan: &mut *scan, input, place, known: Vec::new(), is_script: false };
    let outcome = walk.run()?;
    if let Err(ambiguity) = outcome {
        scan.report.find(Rule::ZipAmbiguous, &place.shown(), ambiguity);
    }
    Ok(())
}

struct Walk<'w, 'i> {
    scan: &'w mut Scan,
    input: &'w mut Input<'i>,
    place: &'w Place,
    known: Vec<Known>,
    is_script: bool,
}

/// A local header.
struct Local {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    /// Bytes as stored and as they are; unknown when they follow the data.
    sizes: Option<(u64, u64)>,
}

impl Walk<'_, '_> {
    fn run(&mut self) -> io::Result<Result<(), Ambiguity>> {
        loop {
            let signature = self.input.peek(4)?;
            if signature == LOCAL {
                if let Err(ambiguity) = self.member()? {
                    return Ok(Err(ambiguity));
                }
            } else if signature == CENTRAL || signature == END || signature == END64 {
                break;
            } else {
                let at = self.input.position();
                return Ok(Err(format!("has bytes from {at} on that belong to no member")));
            }
        }
        central::check(self.input, &self.known)
    }

    fn member(&mut self) -> io::Result<Result<(), Ambiguity>> {
        self.scan.count_member()?;
        let offset = self.input.position();
        let Some(local) = self.local()? else {
            return Ok(Err(format!("has a broken header at byte {offset}")));
        };
        let name = String::from_utf8_lossy(&local.name).into_owned();
        let inner = self.place.member(&name);
        self.note_script(&name, &inner);
        if local.flags & ENCRYPTED != 0 {
            // PyTorch reads the bytes as they are; others ask for the password.
            self.scan.report.incomplete(&inner.shown(), "the member is encrypted");
        }
        let start = self.input.position();
        let size = match self.data(&local, &inner, &name)? {
            Ok(size) => size,
            Err(ambiguity) => return Ok(Err(ambiguity)),
        };
        let stored = self.input.position() - start;
        if let Some((expected, _)) = local.sizes
            && expected != stored
        {
            return Ok(Err(format!("has a member of {stored} bytes that says {expected}, at byte {offset}")));
        }
        let sizes = match (size, local.sizes) {
            (Some(size), Some((_, told))) if size != told => {
                return Ok(Err(format!(
                    "has a member that expands to {size} bytes and says {told}, at {offset}"
                )));
            }
            (Some(size), _) => (stored, size),
            (None, told) => told.unwrap_or((stored, stored)),
        };
        if local.flags & DEFERRED != 0 && !self.descriptor(sizes)? {
            return Ok(Err(format!("has a member without the descriptor it promises, at byte {offset}")));
        }
        self.known.push(Known::new(offset, &local.name, local.method, sizes));
        Ok(Ok(()))
    }

    fn local(&mut self) -> io::Result<Option<Local>> {
        let Some(fixed) = self.input.array::<LOCAL_SIZE>()? else { return Ok(None) };
        let Some(name) = self.input.bytes(le16(&fixed, 26).into())? else { return Ok(None) };
        let Some(extra) = self.input.bytes(le16(&fixed, 28).into())? else { return Ok(None) };
        let flags = le16(&fixed, 6);
        let (mut stored, mut size) = (u64::from(le32(&fixed, 18)), u64::from(le32(&fixed, 22)));
        if stored == WIDE || size == WIDE {
            let field = central::zip64(&extra).unwrap_or_default();
            if field.len() >= 16 {
                (size, stored) = (le64(field, 0), le64(field, 8));
            }
        }
        let is_told = flags & DEFERRED == 0 || stored != 0 && stored != WIDE;
        let sizes = is_told.then_some((stored, size));
        Ok(Some(Local { name, flags, method: le16(&fixed, 8), sizes }))
    }

    /// Looks at the data of a member; the inner number is what it expands to, where that is known.
    fn data(
        &mut self,
        local: &Local,
        inner: &Place,
        name: &str,
    ) -> io::Result<Result<Option<u64>, Ambiguity>> {
        let raw = local.method == 0 || local.flags & ENCRYPTED != 0;
        match local.sizes {
            Some((stored, _)) => {
                let mut data = self.input.take_reader(stored);
                let expanded = if raw {
                    look(self.scan, &mut data, inner, name, Some(stored));
                    Ok(None)
                } else {
                    expand(self.scan, &mut Input::new(&mut data), local.method, inner, name)
                };
                let expanded = match expanded {
                    Ok(expanded) => expanded,
                    Err(error) => {
                        self.scan.report.incomplete(&inner.shown(), error.to_string());
                        None
                    }
                };
                io::copy(&mut data, &mut io::sink())?;
                if data.limit() > 0 {
                    return Ok(Err("ends within a member, it may be cut short".into()));
                }
                Ok(Ok(expanded))
            }
            None if raw || !matches!(local.method, 8 | 12) => {
                let mut data = UntilDescriptor::new(self.input);
                look(self.scan, &mut data, inner, name, None);
                if !raw {
                    let reason = format!("the method {} cannot be followed without its length", local.method);
                    self.scan.report.incomplete(&inner.shown(), reason);
                }
                io::copy(&mut data, &mut io::sink())?;
                if !data.is_complete() {
                    return Ok(Err("has a member whose end is not told".into()));
                }
                Ok(Ok(None))
            }
            // The compressed data tells its end.
            None => match expand(self.scan, self.input, local.method, inner, name) {
                Ok(expanded) => Ok(Ok(expanded)),
                Err(error) => Ok(Err(format!("has a member that cannot be followed to its end: {error}"))),
            },
        }
    }

    /// Sizes behind the data, with or without a signature, of 32 or 64 bits. The CRC is nobody's business here.
    fn descriptor(&mut self, (stored, size): (u64, u64)) -> io::Result<bool> {
        let shown = self.input.peek(24)?;
        let signature = if shown.starts_with(DESCRIPTOR) { 4 } else { 0 };
        let at = signature + 4;
        let narrow = shown.len() >= at + 8
            && u64::from(le32(shown, at)) == stored & WIDE
            && u64::from(le32(shown, at + 4)) == size & WIDE;
        let wide = shown.len() >= at + 16 && le64(shown, at) == stored && le64(shown, at + 8) == size;
        // Zeros fit both: then the wide one must be followed by what may follow.
        let follows = |bytes: Option<&[u8]>| bytes.is_some_and(|next| next.starts_with(b"PK"));
        let count = match (narrow, wide) {
            (true, true) if !follows(shown.get(at + 8..)) => at + 16,
            (true, _) => at + 8,
            (false, true) => at + 16,
            (false, false) => return Ok(false),
        };
        self.input.consume(count);
        Ok(true)
    }

    /// TorchScript keeps its code in a folder of that name.
    fn note_script(&mut self, name: &str, inner: &Place) {
        let is_python =
            name.as_bytes().ends_with(b".py") && name.split('/').rev().skip(1).any(|part| part == "code");
        if is_python && !self.is_script {
            self.is_script = true;
            self.scan.report.find(Rule::TorchscriptCode, &inner.shown(), "is TorchScript code");
        }
    }
}

/// Looks at the bytes of a member. What goes wrong inside is a reason, and the walk goes on.
fn look(scan: &mut Scan, data: &mut dyn Read, inner: &Place, name: &str, size: Option<u64>) {
    let mut input = Input::new(data);
    let looked = if keras::is_config(name) {
        keras::config(scan, &mut input, inner)
    } else {
        scan.look(&mut input, inner, size)
    };
    if let Err(error) = looked {
        scan.report.incomplete(&inner.shown(), error.to_string());
    }
}

/// Looks at what a member expands to; `None` when there is no way to expand it.
fn expand(
    scan: &mut Scan,
    input: &mut Input<'_>,
    method: u16,
    inner: &Place,
    name: &str,
) -> io::Result<Option<u64>> {
    let budget = scan.budget.clone();
    let decoder: Box<dyn Read + '_> = match method {
        8 => Box::new(flate2::bufread::DeflateDecoder::new(&mut *input as &mut dyn BufRead)),
        12 => Box::new(bzip2::bufread::BzDecoder::new(&mut *input as &mut dyn BufRead)),
        _ => {
            let Some(codec) = Codec::of_zip(method) else {
                let reason = format!("the compression method {method} is not known");
                scan.report.incomplete(&inner.shown(), reason);
                return Ok(None);
            };
            codec.open(input)?
        }
    };
    let mut data = Counted { inner: budget.meter(decoder), count: 0, failed: None };
    look(scan, &mut data, inner, name, None);
    io::copy(&mut data, &mut io::sink())?;
    match data.failed {
        Some(error) => Err(io::Error::other(error)),
        None => Ok(Some(data.count)),
    }
}

/// Counts what is read, and remembers a failure: whoever looks may have made a reason of it and gone on.
struct Counted<R> {
    inner: R,
    count: u64,
    failed: Option<String>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        match self.inner.read(buffer) {
            Ok(count) => {
                self.count += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failed = Some(error.to_string());
                Err(error)
            }
        }
    }
}
