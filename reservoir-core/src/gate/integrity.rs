//! The scanner that is always there: digests, identity and the strict archive check, as the format's
//! inspection found them.
