//! Signed records: every ref move writes one into the store, so that a lost catalog can be rebuilt.
