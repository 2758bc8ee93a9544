//! TAR archives that must be read, and those that must be refused by which rule.

#[path = "archive/tar_good.rs"]
mod good;
#[path = "archive/tar_hostile.rs"]
mod hostile;
#[path = "archive/tar_mutated.rs"]
mod mutated;
#[path = "archive/support.rs"]
mod support;
