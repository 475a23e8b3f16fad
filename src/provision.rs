//! Carries out what `broker` decided about Prometheus instances.

pub mod config_file;
