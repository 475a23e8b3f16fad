//! Makes Prometheus metrics a service of the platform.

pub mod config;
pub mod domain;
pub mod exposition;
pub mod merge_files;
