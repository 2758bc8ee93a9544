//! Debian-style package archives for Reservoir (Ubuntu, DGX OS, Debian): a mirror that apt installs from,
//! unchanged, with all signatures on.
