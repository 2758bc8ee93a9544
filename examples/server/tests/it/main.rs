//! The program as its users meet it: the real binary, in a home of its own, against real clients.
//!
//! One program, so that it is linked once; each file is a subject. Run one with
//! `scripts/dev cargo nextest run -p reservoir-server -E 'test(pip::)'`.

#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

mod apply;
mod apt;
mod apt_cache;
mod apt_cases;
mod apt_clients;
mod apt_options;
mod apt_presets;
mod apt_real;
mod apt_states;
mod backends;
mod bundle;
mod bundle_all;
mod bundle_apt;
mod bundle_backends;
mod bundle_disk;
mod bundle_hub;
mod cache;
mod cache_arriving;
mod cache_away;
mod crash;
mod full_disk;
mod hosted;
mod hostile;
mod hub;
mod hub_cache;
mod hub_cases;
mod hub_hosted;
mod hub_models;
mod hub_rust;
mod lifecycle;
mod lock;
mod mirrors;
mod others;
mod output;
mod pages;
mod peer;
mod pip;
mod real_index;
mod schemas;
mod selection;
mod server;
mod solve;
mod solve_real;
mod support;
mod upstream;
mod uv;
