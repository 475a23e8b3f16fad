//! Scrapes of many pending events, and the memory that events take for a scraper that never returns.

use crate::{client::Connection, percentile, start};
use std::{
    error::Error,
    fs, io, thread,
    time::{Duration, Instant},
};

/// Events of a response: the default of `events.max_scrape_samples`.
const SAMPLES: usize = 5_000;
const SCRAPES: usize = 100;
/// The default of `events.max_pending`.
const PENDING: usize = 100_000;
const LABEL_SETS: usize = 1_000;
/// Events of a request.
const BATCH: usize = 2_000;
/// A queue accepts 2,000 events per second after a burst.
const PAUSE: Duration = Duration::from_millis(1_050);

pub(crate) fn measure() -> Result<(), Box<dyn Error>> {
    measure_scrapes()?;
    measure_memory()
}

/// Each scraper is new, and gets all events.
fn measure_scrapes() -> Result<(), Box<dyn Error>> {
    let settings = [("EVENTS__START", "earliest"), ("EVENTS__MAX_SCRAPERS", "1000")];
    let (program, _folder) = start(&settings)?;
    let address = program.address("events_address")?;
    let mut connection = Connection::open(address)?;
    for batch in 0..SAMPLES.div_ceil(BATCH) {
        let first = batch * BATCH;
        post(&mut connection, first..(first + BATCH).min(SAMPLES), SAMPLES)?;
    }
    let mut latencies = Vec::new();
    for number in 0..SCRAPES {
        // A connection of its own, as each scraper has.
        let mut connection = Connection::open(address)?;
        let begun = Instant::now();
        let body = connection.scrape(&format!("/metrics?scraper=s{number}"))?;
        latencies.push(begun.elapsed().as_secs_f64() * 1e3);
        let samples = body.lines().filter(|line| line.starts_with("events_to_metrics{")).count();
        if samples != SAMPLES {
            println!("ERROR: a scrape has {samples} events, not {SAMPLES}");
        }
    }
    latencies.sort_by(f64::total_cmp);
    let (median, tail) = (percentile(&latencies, 0.5), percentile(&latencies, 0.99));
    println!("{SCRAPES} scrapes of {SAMPLES} pending events, SQLite");
    println!("  p50 {median:.1} ms, p99 {tail:.1} ms");
    Ok(())
}

fn measure_memory() -> Result<(), Box<dyn Error>> {
    let (program, folder) = start(&[])?;
    let address = program.address("events_address")?;
    let mut connection = Connection::open(address)?;
    connection.scrape("/metrics?scraper=gone")?;
    connection.scrape("/metrics?scraper=other")?;
    let rss = || Ok::<_, Box<dyn Error>>(program.status()?.vmrss.unwrap_or(0) / 1024);
    let before = rss()?;
    let mut latencies = Vec::new();
    for batch in 0..PENDING / BATCH {
        post(&mut connection, batch * BATCH..(batch + 1) * BATCH, LABEL_SETS)?;
        let begun = Instant::now();
        connection.scrape("/metrics?scraper=other")?;
        latencies.push(begun.elapsed().as_secs_f64() * 1e3);
        thread::sleep(PAUSE);
    }
    latencies.sort_by(f64::total_cmp);
    let files = fs::read_dir(folder.path())?.flatten();
    let bytes: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    println!("{PENDING} events pending for a scraper that never returns, SQLite");
    println!(
        "  memory {} MiB before, {} MiB with them; files {} MB",
        before,
        rss()?,
        bytes / 1_000_000
    );
    println!("  scrapes of another scraper: p99 {:.1} ms", percentile(&latencies, 0.99));
    Ok(())
}

/// Posts events as a batch. Event `n` has label set `n % sets`.
fn post(
    connection: &mut Connection,
    events: std::ops::Range<usize>,
    sets: usize,
) -> io::Result<()> {
    let lines = events.map(|number| {
        let set = number % sets;
        format!("{{\"labels\":{{\"type\":\"bench\",\"app\":\"app-{set}\"}},\"value\":{number}}}\n")
    });
    let body: String = lines.collect();
    let headers = "Content-Type: application/x-ndjson\r\n";
    connection.send("POST", "/event", headers, &body).map(drop)
}
