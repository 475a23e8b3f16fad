//! Times the exposition engine alone: parse, merge and emit of 50 instances with 2,000 samples each.
//!
//! `cargo bench --bench merge`; prints the median of several rounds. The bodies
//! are like what Go and JVM services expose: histograms, labelled counters,
//! gauges with labels that clash or have escapes, summaries.

mod bodies;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use scrapebroker::exposition::{Instance, Labels, Limits, Merge};

const INSTANCES: usize = 50;
const SAMPLES: usize = 2_000;
const ROUNDS: usize = 21;
const CHUNK_BYTES: usize = 256 << 10;

fn main() {
    let bodies: Vec<String> = (0..INSTANCES).map(|i| bodies::body(i as u64 + 1, SAMPLES)).collect();
    let input_bytes: usize = bodies.iter().map(String::len).sum();
    let limits = Limits::default();

    let mut times = [const { Vec::new() }; 3];
    let mut samples = 0;
    let mut output_bytes = 0;
    for _ in 0..ROUNDS {
        // As they arrive: each in a buffer of its own.
        let received: Vec<Vec<u8>> = bodies.iter().map(|body| body.as_bytes().to_vec()).collect();

        let start = Instant::now();
        let parsed: Result<Vec<_>, _> = received
            .into_iter()
            .enumerate()
            .map(|(i, body)| Instance::parse(body, labels(i), &limits))
            .collect();
        times[0].push(start.elapsed());
        let instances =
            parsed.unwrap_or_else(|error| panic!("a body of our own is refused: {error}"));
        samples = instances.iter().map(Instance::samples).sum();

        let start = Instant::now();
        let mut merge = Merge::new(instances);
        times[1].push(start.elapsed());

        let start = Instant::now();
        let mut chunk = Vec::with_capacity(CHUNK_BYTES * 2);
        output_bytes = 0;
        while merge.next_chunk(&mut chunk, CHUNK_BYTES) {
            output_bytes += black_box(&chunk).len();
            chunk.clear();
        }
        times[2].push(start.elapsed());
        assert_eq!(output_bytes as u64, merge.content_length(), "the announced length");
    }

    println!(
        "{INSTANCES} instances, {samples} samples, {input_bytes} bytes in, {output_bytes} bytes out"
    );
    let medians = times.map(median);
    let report = |what: &str, time: Duration| {
        let per_sample_ns = time.as_nanos() as f64 / samples as f64;
        let input_mb_per_s = input_bytes as f64 / time.as_secs_f64() / 1e6;
        println!(
            "{what:6} {:8.3} ms  {per_sample_ns:6.1} ns a sample  {input_mb_per_s:7.0} MB/s of input",
            time.as_secs_f64() * 1e3
        );
    };
    report("parse", medians[0]);
    report("plan", medians[1]);
    report("emit", medians[2]);
    report("all", medians.iter().sum());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The nine labels that an instance's samples get.
fn labels(i: usize) -> Labels {
    let (index, address) = (i.to_string(), format!("10.0.{i}.7:61002"));
    Labels::new([
        ("organization_id", "9f6e1f11-2a5c-5021-ae8f-19597ea2d722"),
        ("space_id", "4ba40828-416b-53b1-abc0-89637f5e22e2"),
        ("app_id", "a1da57f0-08f3-5b8e-9775-5bd401b1f2d5"),
        ("organization_name", "org-bench-50"),
        ("space_name", "space-bench-50"),
        ("app_name", "bench-50"),
        ("index", &index),
        ("instance_id", &index),
        ("instance", &address),
    ])
}
