//! TODO
/// TODO
pub fn open() {}
