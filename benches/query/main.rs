//! Benchmark of the query proxy: queries through a pool of the complete program, over real sockets,
//! beside the same queries without the proxy. It asserts nothing about time. Queries that fail are
//! printed as errors.
//!
//! It needs `prometheus` in the PATH, and is skipped otherwise.
//!
//! ```sh
//! cargo bench --bench query
//! ```

mod client;
mod copier;
mod failing_replicas;
mod figures;
mod idle_pool;
mod latency;
mod load;
mod long_response;
mod pool;
#[path = "../program/mod.rs"]
mod program;
mod prometheus;
mod replica;
#[path = "../server/mod.rs"]
mod server;

use pool::PoolProgram;
use prometheus::PrometheusServer;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    if !prometheus::is_installed() {
        println!("skipped: prometheus is not installed");
        return Ok(());
    }
    println!("machine: {}", program::machine());
    let mut servers = PrometheusServer::start_two()?;
    let addresses = servers.iter().map(|server| server.address).collect::<Vec<_>>();
    let pool = PoolProgram::start(&addresses)?;
    latency::measure(&pool)?;
    failing_replicas::measure_stopped(&pool, &servers)?;
    failing_replicas::measure_killed(&pool, &mut servers)?;
    drop(pool);
    let metrics = client::get(addresses[0], "/metrics", "")?;
    drop(servers);
    long_response::measure()?;
    idle_pool::measure(&metrics)
}
