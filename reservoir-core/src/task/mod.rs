//! Durable, engine-owned units of work: each has a row in the journal, a lease, a heartbeat, and can be
//! cancelled from another process.

mod context;
mod progress;

pub(crate) use self::context::{LEASE, PIN};
pub use self::{
    context::{TaskContext, TaskHandle},
    progress::{Progress, TaskEvent},
};
