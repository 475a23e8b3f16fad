//! Conformance of files and output for other programs: expositions, alerts, scripts and rendered
//! configuration. The checks use promtool, the OpenMetrics reference parser, shells and a real
//! Prometheus.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod alerts;
mod demo_app;
mod entrypoint;
mod instrumenting;
mod openmetrics;
mod promtool;
mod reference_parser;
mod register;
mod run_script;
