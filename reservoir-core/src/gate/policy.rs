//! From verdicts to a decision.
