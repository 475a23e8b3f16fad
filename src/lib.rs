//! Makes Prometheus metrics a service of the platform.

pub mod config;
pub mod discovery;
pub mod domain;
