#![expect(clippy::unwrap_used, reason = "tests")]

mod exhaustive;
mod toy;
mod words;
