//! The engine on universes that are small enough to see through.

mod exhaustive;
mod toy;
mod words;
