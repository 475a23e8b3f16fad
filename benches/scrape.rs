//! Benchmark of a scrape through the complete program: 50 instances with 2,000 samples each, over
//! real sockets.
//!
//! `cargo bench --bench scrape` starts the release build of the program, scrapes it repeatedly, and
//! reads its CPU time and memory from /proc. The instances run in this process and are not counted.

mod program;
mod scraped;
mod server;

use exposition::testing::service_body;
use std::{
    error::Error,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use program::{Program, machine};
use scraped::instance;

const INSTANCES: usize = 50;
const SAMPLES: usize = 2_000;
const ROUNDS: usize = 7;
/// Scrapes per round. Several are needed, because CPU time is counted in hundredths of a second.
const SCRAPES: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let addresses: Vec<_> =
        (0..INSTANCES).map(|i| instance(service_body(i as u64 + 1, SAMPLES))).collect();
    let folder = tempfile::tempdir()?;
    let routes = folder.path().join("routes.json");
    fs::write(&routes, table(&addresses))?;
    let routes = routes.to_str().ok_or("a path of text")?;
    let program =
        Program::start(folder.path(), &[("ROUTES__FILE", routes)], Duration::from_secs(10))?;
    println!(
        "{INSTANCES} instances × {SAMPLES} samples, {SCRAPES} scrapes a round, medians of {ROUNDS} rounds"
    );
    println!("machine: {}", machine());
    program.scrape(false)?;
    let (mut plain, mut gzip) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(round(&program, false)?);
        gzip.push(round(&program, true)?);
    }
    report("plain", plain);
    report("gzip", gzip);
    println!("peak resident memory: {} MB", program.peak_kb()? / 1024);
    Ok(())
}

/// Results of a round, per scrape.
struct Figures {
    cpu_s: f64,
    wall_s: f64,
    bytes: usize,
}

fn report(what: &str, rounds: Vec<Figures>) {
    let spread = |figure: fn(&Figures) -> f64| {
        let mut all: Vec<_> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or_default() * 1e3;
        format!("{:6.1} ms ({:.1} to {:.1})", at(all.len() / 2), at(0), at(all.len() - 1))
    };
    let bytes = rounds.first().map_or(0, |round| round.bytes);
    println!(
        "{what:5}: CPU {}, wall {}, {bytes} bytes a scrape",
        spread(|f| f.cpu_s),
        spread(|f| f.wall_s)
    );
}

fn round(program: &Program, gzip: bool) -> Result<Figures, Box<dyn Error>> {
    let (cpu, wall) = (program.cpu_s()?, Instant::now());
    let mut bytes = 0;
    for _ in 0..SCRAPES {
        bytes = program.scrape(gzip)?;
    }
    let each = SCRAPES as f64;
    Ok(Figures {
        cpu_s: (program.cpu_s()? - cpu) / each,
        wall_s: wall.elapsed().as_secs_f64() / each,
        bytes,
    })
}

fn table(addresses: &[SocketAddr]) -> String {
    let endpoints: Vec<_> = addresses
        .iter()
        .enumerate()
        .map(|(index, address)| {
            serde_json::json!({
                "address": address.to_string(), "tls": false, "ttl": 120,
                "tags": {
                    "app_id": "bench-guid", "app_name": "bench", "instance_id": index.to_string(),
                    "process_type": "web", "process_instance_id": format!("instance-{index}"),
                    "organization_id": "9f6e1f11-2a5c-5021-ae8f-19597ea2d722",
                    "organization_name": "org-bench",
                    "space_id": "4ba40828-416b-53b1-abc0-89637f5e22e2", "space_name": "space-bench",
                },
            })
        })
        .collect();
    serde_json::json!({ "bench.example.com": endpoints }).to_string()
}
