//! Replicas that run in the benchmark and behave like Prometheus.

use crate::server;
use std::{
    io::{self, Write},
    net::SocketAddr,
    time::UNIX_EPOCH,
};

/// The response to a query that counts scrapes.
const EMPTY: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;

/// Starts a replica with these metrics. `respond` writes the responses to queries.
pub(crate) fn start(
    metrics: String,
    respond: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    server::start(move |target, out| match target {
        "/-/ready" => {
            out.write_all(&server::response("text/plain", "Prometheus Server is Ready.\n"))
        }
        "/metrics" => {
            let metrics = format!("{metrics}prometheus_tsdb_head_max_time_seconds {}\n", now());
            out.write_all(&server::response("text/plain; version=0.0.4", &metrics))
        }
        _ => respond(target, out),
    })
}

pub(crate) fn respond_without_samples(_target: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&server::response("application/json", EMPTY))
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}
