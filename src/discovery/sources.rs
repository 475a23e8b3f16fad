//! The sources of routes, one module each.

pub(super) mod file;
pub(super) mod gorouter;
pub(super) mod nats;
pub(super) mod tsuru;
