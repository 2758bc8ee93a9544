//! TODO
/// What a backend was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capability {
    /// Whether `presign` works.
    pub presign: bool,
    /// Whether the blobs are files of this machine.
    pub local: bool,
}
