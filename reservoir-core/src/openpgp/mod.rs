//! OpenPGP: our own signing key.
