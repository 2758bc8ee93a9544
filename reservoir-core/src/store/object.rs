//! TODO
/// TODO
#[derive(Debug)]
pub struct ObjectBlobs {}
/// TODO
#[derive(Debug)]
pub struct ObjectStoreOptions {}
