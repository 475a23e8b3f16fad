//! Benchmark of events: posts and scrapes of the complete program, over real sockets, with SQLite and
//! PostgreSQL. It asserts nothing about time. Requests that fail are printed as errors.
//!
//! With PostgreSQL it needs an empty database, whose URL is in `SCRAPEBROKER_TEST_POSTGRES`.
//! `scripts/with-postgres` starts one, which does not wait for the disk. Without it only SQLite is
//! measured.
//!
//! ```sh
//! scripts/with-postgres cargo bench --bench events
//! ```

mod burst;
mod client;
mod idle;
mod pending;
#[path = "../program/mod.rs"]
mod program;

use program::Program;
use std::{env, error::Error, time::Duration};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    println!("machine: {}", program::machine());
    let postgres = postgres();
    burst::measure("SQLite", None)?;
    match &postgres {
        Some(url) => burst::measure("PostgreSQL, without waiting for the disk", Some(url))?,
        None => println!("PostgreSQL: skipped, SCRAPEBROKER_TEST_POSTGRES is not set"),
    }
    pending::measure()?;
    idle::measure()
}

#[expect(clippy::disallowed_methods, reason = "a setting of the benchmark")]
fn postgres() -> Option<String> {
    env::var("SCRAPEBROKER_TEST_POSTGRES").ok()
}

/// The program with a listener of events, and the folder of its database.
fn start(settings: &[(&str, &str)]) -> Result<(Program, TempDir), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let database = format!("sqlite://{}", folder.path().join("bench.db").display());
    let mut all = vec![("EVENTS__LISTEN", "127.0.0.1:0"), ("DATABASE_URL", &*database)];
    all.extend(settings);
    Ok((Program::start(folder.path(), &all, PATIENCE)?, folder))
}

/// The value that a share of the sorted values does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The median, with the lowest and the highest value.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share| percentile(&values, share);
    format!("{:.2} ({:.2} to {:.2})", at(0.5), at(0.0), at(1.0))
}
