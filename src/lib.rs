//! Makes Prometheus metrics a service of the platform.

pub mod config;
pub mod demo_app;
pub mod domain;
pub mod telemetry;
