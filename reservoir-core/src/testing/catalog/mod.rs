//! What a [`Catalog`](crate::catalog::Catalog) must do on every engine. Each function takes the address of an
//! empty database of its own.

mod audit;
mod configuration;
mod discovery;
mod files;
mod fixture;
mod internal;
mod leases;
mod migrations;
mod offers;
mod overlay;
mod pins;
mod scale;
mod snapshots;
mod tasks;

pub use self::{
    audit::*, configuration::*, discovery::*, files::*, fixture::Fixture, internal::*, leases::*,
    migrations::*, offers::*, overlay::*, pins::*, scale::*, snapshots::*, tasks::*,
};
