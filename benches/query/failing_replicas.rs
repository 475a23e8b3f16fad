//! Queries through the pool while the replica that answers them hangs or is killed.

use crate::{
    figures::{millis, percentile, report_failures},
    load::{Load, Queries, QueryResult},
    pool::PoolProgram,
    prometheus::PrometheusServer,
};
use rustix::process::Signal;
use std::{error::Error, net::SocketAddr, ops::Range, thread, time::Duration};

const CLIENTS: usize = 4;
/// How long the load runs before and after a replica is stopped.
const UNDISTURBED: Duration = Duration::from_secs(4);
const STOPPED: Duration = Duration::from_secs(5);
/// When the latency is measured again, after the replica has continued.
const RECOVERED: Range<Duration> = Duration::from_secs(2)..Duration::from_secs(4);
const KILLS: usize = 20;
/// Minimum number of queries per kill.
const QUERIES: usize = 1000;

pub(crate) fn measure_stopped(
    pool: &PoolProgram,
    servers: &[PrometheusServer],
) -> Result<(), Box<dyn Error>> {
    let answering = pool.answering_replica()?;
    let replica = servers.iter().find(|it| it.address == answering).ok_or("unknown replica")?;
    let load = Load::start(pool.address, CLIENTS, Queries::Different);
    thread::sleep(UNDISTURBED);
    let stopped = load.elapsed();
    replica.signal(Signal::STOP)?;
    thread::sleep(STOPPED);
    replica.signal(Signal::CONT)?;
    let continued = load.elapsed();
    thread::sleep(RECOVERED.end);
    let queries = load.finish()?;

    println!("a replica is stopped with SIGSTOP for {} s, {CLIENTS} clients", STOPPED.as_secs());
    let failed = report_failures("SIGSTOP", &queries);
    println!("  {failed} of {} queries failed, slowest {:.0} ms", queries.len(), slowest(&queries));
    let p50 = |period: Range<Duration>| {
        percentile(queries.iter().filter(|it| period.contains(&it.sent)), 0.5)
    };
    let (before, during) = (p50(Duration::ZERO..stopped), p50(stopped..continued));
    let recovered = p50(continued + RECOVERED.start..continued + RECOVERED.end);
    println!(
        "  p50 {before:.2} ms before, {during:.2} ms during (× {:.2}), {recovered:.2} ms in the seconds {} to {} after SIGCONT (× {:.2})",
        during / before,
        RECOVERED.start.as_secs(),
        RECOVERED.end.as_secs(),
        recovered / before
    );
    Ok(())
}

pub(crate) fn measure_killed(
    pool: &PoolProgram,
    servers: &mut [PrometheusServer],
) -> Result<(), Box<dyn Error>> {
    let mut queries = Vec::new();
    let mut fewest = usize::MAX;
    for _ in 0..KILLS {
        let answering = pool.answering_replica()?;
        let results = kill_once(pool.address, find(servers, answering)?)?;
        fewest = fewest.min(results.len());
        queries.extend(results);
    }
    println!(
        "the answering replica is killed with SIGKILL and restarted {KILLS} times, {CLIENTS} clients"
    );
    let failed = report_failures("SIGKILL", &queries);
    println!(
        "  {failed} of {} queries failed (at least {fewest} per kill), slowest {:.0} ms",
        queries.len(),
        slowest(&queries)
    );
    Ok(())
}

fn find(
    servers: &mut [PrometheusServer],
    address: SocketAddr,
) -> Result<&mut PrometheusServer, Box<dyn Error>> {
    Ok(servers.iter_mut().find(|it| it.address == address).ok_or("unknown replica")?)
}

/// The load continues until the replica is ready again.
fn kill_once(
    pool: SocketAddr,
    replica: &mut PrometheusServer,
) -> Result<Vec<QueryResult>, Box<dyn Error>> {
    let load = Load::start(pool, CLIENTS, Queries::Different);
    let wait_for = |count: usize| {
        while load.queries() < count {
            thread::sleep(Duration::from_millis(1));
        }
    };
    wait_for(QUERIES / 4);
    replica.kill();
    replica.restart();
    replica.wait_until_ready()?;
    wait_for(QUERIES);
    load.finish()
}

fn slowest(queries: &[QueryResult]) -> f64 {
    millis(queries.iter().map(|it| it.latency).max().unwrap_or_default())
}
