//! ZIP archives that must be read, and those that must be refused by which rule.

#[path = "archive/zip_good.rs"]
mod good;
#[path = "archive/zip_hostile.rs"]
mod hostile;
#[path = "archive/zip_mutated.rs"]
mod mutated;
#[path = "archive/support.rs"]
mod support;
