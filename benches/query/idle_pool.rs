//! CPU time of a pool that gets no queries.

use crate::{pool::PoolProgram, replica};
use std::{
    error::Error,
    fmt::Write,
    thread,
    time::{Duration, Instant},
};

const REPLICAS: usize = 10;
/// Size of the metrics of each replica, bytes.
const METRICS: usize = 100_000;
const DURATION: Duration = Duration::from_secs(30);

/// `metrics` are those of a real server.
pub(crate) fn measure(metrics: &str) -> Result<(), Box<dyn Error>> {
    let metrics = extend(metrics)?;
    let replicas: Vec<_> = (0..REPLICAS)
        .map(|_| replica::start(metrics.clone(), replica::respond_without_samples))
        .collect();
    let pool = PoolProgram::start(&replicas)?;
    let (start, cpu) = (Instant::now(), pool.cpu_s()?);
    thread::sleep(DURATION);
    let share = (pool.cpu_s()? - cpu) / start.elapsed().as_secs_f64();
    println!("idle pool of {REPLICAS} replicas with {} kB of metrics each", metrics.len() / 1000);
    println!("  {:.2} % of a core over {} s", share * 100.0, DURATION.as_secs());
    Ok(())
}

/// Adds series of handlers, as a server with more work has. The replicas report the time of their
/// newest sample themselves.
fn extend(metrics: &str) -> Result<String, Box<dyn Error>> {
    let mut extended = String::new();
    let is_constant = |line: &&str| !line.starts_with("prometheus_tsdb_head_max_time");
    for line in metrics.lines().filter(is_constant) {
        writeln!(extended, "{line}")?;
    }
    let mut handler = 0;
    while extended.len() < METRICS {
        writeln!(
            extended,
            "prometheus_http_request_duration_seconds_bucket{{handler=\"/bench/{handler}\",le=\"0.1\"}} 1"
        )?;
        handler += 1;
    }
    Ok(extended)
}
