//! Posts of distinct events on many connections, while they are scraped every second.

use crate::{client::Connection, percentile, spread, start};
use std::{
    error::Error,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 50;
const POSTS_PER_CONNECTION: usize = 200;
const ROUNDS: usize = 3;
/// Required with PostgreSQL.
const TOKEN_KEY: &str = "a key that only the benchmark uses";

pub(crate) fn measure(name: &str, database: Option<&str>) -> Result<(), Box<dyn Error>> {
    let (mut totals, mut medians, mut tails) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let settings =
            database.map(|url| [("DATABASE_URL", url), ("BROKER__TOKEN_KEY", TOKEN_KEY)]);
        let settings: Vec<_> = settings.into_iter().flatten().collect();
        let (program, _folder) = start(&settings)?;
        let address = program.address("events_address")?;
        let begun = Instant::now();
        let mut latencies = post_all(address, round)?;
        totals.push(begun.elapsed().as_secs_f64());
        latencies.sort_by(f64::total_cmp);
        medians.push(percentile(&latencies, 0.5));
        tails.push(percentile(&latencies, 0.99));
    }
    let posts = CONNECTIONS * POSTS_PER_CONNECTION;
    println!("{posts} posts on {CONNECTIONS} connections, {name}, {ROUNDS} rounds");
    println!("  total {} s", spread(totals));
    println!("  p50 {} ms, p99 {} ms", spread(medians), spread(tails));
    Ok(())
}

/// Returns the latencies in milliseconds.
fn post_all(address: SocketAddr, round: usize) -> Result<Vec<f64>, Box<dyn Error>> {
    let is_finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraper = scope.spawn(|| scrape(address, &is_finished));
        let posters = (0..CONNECTIONS)
            .map(|connection| scope.spawn(move || post(address, &format!("{round}-{connection}"))));
        let posters: Vec<_> = posters.collect();
        let mut latencies = Vec::new();
        for poster in posters {
            latencies.extend(poster.join().map_err(|_| "a poster panicked")??);
        }
        is_finished.store(true, Ordering::Relaxed);
        scraper.join().map_err(|_| "the scraper panicked")??;
        Ok(latencies)
    })
}

fn post(address: SocketAddr, name: &str) -> io::Result<Vec<f64>> {
    let mut connection = Connection::open(address)?;
    let mut latencies = Vec::with_capacity(POSTS_PER_CONNECTION);
    for number in 0..POSTS_PER_CONNECTION {
        let begun = Instant::now();
        let target = format!("/event?type=bench&id={name}-{number}&value={number}");
        connection.send("POST", &target, "", "")?;
        latencies.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

fn scrape(address: SocketAddr, is_finished: &AtomicBool) -> io::Result<()> {
    let mut connection = Connection::open(address)?;
    while !is_finished.load(Ordering::Relaxed) {
        connection.scrape("/metrics")?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
