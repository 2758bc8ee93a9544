//! Strict readers that refuse ambiguity.
