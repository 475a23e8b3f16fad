//! What other programs read or run: expositions, alerts, scripts and rendered configuration, checked
//! with promtool, the reference parser of OpenMetrics, real shells and a real Prometheus.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod alerts;
mod entrypoint;
mod openmetrics;
mod promtool;
mod reference_parser;
mod register;
