//! Makes Prometheus metrics a service of the platform.

pub mod broker;
pub mod config;
pub mod domain;
pub mod http;
pub mod store;
