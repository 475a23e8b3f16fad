//! Latency of a small query: to a replica, through a byte copier, and through the pool.

use crate::{
    copier,
    figures::{percentile, report_failures, spread},
    load::{Load, Queries, QueryResult},
    pool::PoolProgram,
};
use std::{error::Error, net::SocketAddr, thread, time::Duration};

const CLIENTS: [usize; 3] = [1, 4, 16];
const ROUNDS: usize = 7;
/// Duration of the load of one kind in a round.
const LOAD: Duration = Duration::from_secs(1);
/// Queries at the start of a load open connections and are not counted.
const WARM_UP: Duration = Duration::from_millis(100);

/// A way to the replica, and the latencies of its rounds.
struct Path {
    name: &'static str,
    address: SocketAddr,
    queries: Queries,
    rounds: Vec<Latencies>,
}

struct Latencies {
    p50: f64,
    p99: f64,
}

pub(crate) fn measure(pool: &PoolProgram) -> Result<(), Box<dyn Error>> {
    let replica = pool.answering_replica()?;
    let copier = copier::start(replica)?;
    println!(
        "instant query `up`, ms, and × direct: medians of {ROUNDS} rounds (lowest to highest)"
    );
    for clients in CLIENTS {
        let mut paths = [
            Path::new("direct", replica, Queries::Identical),
            Path::new("byte copier", copier, Queries::Identical),
            Path::new("pool, identical queries", pool.address, Queries::Identical),
            Path::new("pool, different queries", pool.address, Queries::Different),
        ];
        for _ in 0..ROUNDS {
            for path in &mut paths {
                path.measure_round(clients)?;
            }
        }
        let [direct, others @ ..] = &paths;
        println!("  {clients} at once");
        direct.print(None);
        others.iter().for_each(|it| it.print(Some(direct)));
    }
    Ok(())
}

impl Path {
    fn new(name: &'static str, address: SocketAddr, queries: Queries) -> Self {
        Self { name, address, queries, rounds: Vec::new() }
    }

    fn measure_round(&mut self, clients: usize) -> Result<(), Box<dyn Error>> {
        let load = Load::start(self.address, clients, self.queries);
        thread::sleep(LOAD);
        let queries = load.finish()?;
        report_failures(self.name, &queries);
        let counted: Vec<_> = queries.iter().filter(|it| it.sent >= WARM_UP).collect();
        self.rounds.push(Latencies::of(&counted));
        Ok(())
    }

    fn print(&self, direct: Option<&Self>) {
        let column = |percentile: fn(&Latencies) -> f64| {
            let times = spread(self.rounds.iter().map(percentile));
            let ratios = direct.map_or_else(String::new, |direct| {
                let rounds = self.rounds.iter().zip(&direct.rounds);
                let ratios = rounds.map(|(own, direct)| percentile(own) / percentile(direct));
                format!("× {}", spread(ratios))
            });
            format!("{times:<22} {ratios:<25}")
        };
        let line = format!(
            "    {:<24} p50 {} p99 {}",
            self.name,
            column(|it| it.p50),
            column(|it| it.p99)
        );
        println!("{}", line.trim_end());
    }
}

impl Latencies {
    fn of(queries: &[&QueryResult]) -> Self {
        let at = |share| percentile(queries.iter().copied(), share);
        Self { p50: at(0.5), p99: at(0.99) }
    }
}
