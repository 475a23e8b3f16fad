//! Makes Prometheus metrics a service of the platform.

pub mod broker;
pub mod config;
pub mod demo_app;
pub mod discovery;
pub mod domain;
pub mod telemetry;
pub mod http;
pub mod store;
pub mod exposition;
