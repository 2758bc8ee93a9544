//! What one pickle did, and how sure that makes us that it is one.

use super::super::super::report::{Rule, Safety};

/// Operations after which a declared pickle that breaks was meant as one.
pub(in super::super) const MEANT: u64 = 64;
/// How a pickle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum End {
    /// By its STOP.
    Stop,
    /// With the input.
    Truncated,
    /// Where Python gives up too.
    Invalid,
    /// Where we give up.
    Deep,
}

/// What one pickle does when it is loaded.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(in super::super) struct Outcome {
    pub(in super::super) is_declared: bool,
    pub(in super::super) end: End,
    pub(in super::super) operations: u64,
    pub(in super::super) imports: Vec<(Safety, String, String)>,
    pub(in super::super) found: Vec<(Rule, String)>,
    pub(super) has_imported: bool,
    pub(super) has_called: bool,
    /// An import that no text file begins with by chance.
    pub(super) has_telling_import: bool,
    pub(super) ends_input: bool,
}

impl Outcome {
    pub(super) fn new(is_declared: bool) -> Self {
        Self {
            is_declared,
            end: End::Truncated,
            operations: 0,
            imports: Vec::new(),
            found: Vec::new(),
            has_imported: false,
            has_called: false,
            has_telling_import: false,
            ends_input: false,
        }
    }

    /// Whether anything was imported, called or found.
    pub(in super::super) fn did_something(&self) -> bool {
        self.has_imported || self.has_called || !self.found.is_empty()
    }

    /// Whether these bytes are a pickle and no text or tensor that looks like one for a few bytes.
    pub(in super::super) fn is_telling(&self, is_declared: bool) -> bool {
        if !self.did_something() {
            return false;
        }
        // The first bytes of a tensor declare a pickle once in some ten thousand times; then it breaks at once.
        let is_meant =
            is_declared && (self.end == End::Stop || self.has_imported || self.operations >= MEANT);
        let sure = is_meant || self.has_called || self.has_telling_import;
        match self.end {
            End::Stop => sure || self.has_imported || self.ends_input,
            // Two lines of text may be an import and nothing after it.
            End::Truncated => sure || self.has_imported && self.operations > 1,
            End::Deep => true,
            End::Invalid => sure,
        }
    }
}
