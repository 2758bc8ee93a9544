//! What a walk shows to its caller.

use crate::error::Result;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberKind<'a> {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (TAR only); it stays within the archive.
    Symlink {
        /// As written, relative to the folder of the link.
        target: &'a str,
    },
    /// A second name of a file that came before (TAR only).
    Hardlink {
        /// The name of that file.
        target: &'a str,
    },
}

/// One member of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member<'a> {
    /// Its clean relative path: no `.` or `..`, no slash at either end.
    pub name: &'a str,
    /// What it is.
    pub kind: MemberKind<'a>,
    /// Bytes, decompressed.
    pub size: u64,
    /// Unix permissions, the lower twelve bits; `None` where the archive states none.
    pub mode: Option<u32>,
}

/// Whether the visitor wants the bytes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// No. They are checked all the same.
    Skip,
    /// Yes.
    Read,
}

/// Sees each member once, in the order of the archive, on a thread that may block.
///
/// An error ends the walk and is returned from it.
pub trait Visitor: Send + 'static {
    /// A member begins.
    fn member(&mut self, member: &Member<'_>) -> Result<Take>;

    /// The next bytes of the member last answered with [`Take::Read`].
    fn data(&mut self, chunk: &[u8]) -> Result<()>;

    /// That member is complete and its checksum holds. Not called for skipped members.
    fn end(&mut self) -> Result<()>;
}
