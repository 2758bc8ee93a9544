//! Durable, engine-owned units of work.
