//! Measures parsing, merging and writing of 50 instances with 2,000 samples each, for each pair of
//! line formats, on one core.
//!
//! `cargo bench --bench merge` prints the median of several rounds, and the fastest and slowest
//! round. The bodies are like those of Go and JVM services: histograms, counters, gauges whose
//! labels collide or have escapes, and summaries.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use exposition::{
    AddedLabels, Format, IndexedBody, Limits, Merge, OutputFormat, Reader, testing::service_body,
};

const INSTANCES: usize = 50;
const SAMPLES: usize = 2_000;
const ROUNDS: usize = 21;
const CHUNK_BYTES: usize = 256 << 10;

fn main() {
    let text: Vec<Vec<u8>> =
        (0..INSTANCES).map(|i| service_body(i as u64 + 1, SAMPLES).into_bytes()).collect();
    let openmetrics: Vec<Vec<u8>> = text.iter().map(|body| in_openmetrics(body)).collect();
    let bodies = [(Format::Text004, text), (Format::OpenMetrics100, openmetrics)];
    for (from, bodies) in &bodies {
        for to in [Format::Text004, Format::OpenMetrics100] {
            time(*from, to, bodies);
        }
    }
}

fn time(from: Format, to: Format, bodies: &[Vec<u8>]) {
    let input_bytes: usize = bodies.iter().map(Vec::len).sum();
    let output = OutputFormat::new(to);
    // Parse, plan, write, write compressed, and the sum of the first three.
    let mut times = [const { Vec::new() }; 5];
    let mut samples = 0;
    let mut output_bytes = 0;
    let mut compressed_bytes = 0;
    for _ in 0..ROUNDS {
        // Each body is in a buffer of its own, as it is received.
        let received = bodies.to_vec();
        let start = Instant::now();
        let instances = parse(from, output, received);
        let parsed = start.elapsed();
        samples = instances.iter().map(IndexedBody::samples).sum();

        let start = Instant::now();
        let mut merge = Merge::new(output, instances);
        let planned = start.elapsed();

        let start = Instant::now();
        let mut chunk = Vec::with_capacity(CHUNK_BYTES * 2);
        output_bytes = 0;
        while merge.next_chunk(&mut chunk, CHUNK_BYTES) {
            output_bytes += black_box(&chunk).len();
            chunk.clear();
        }
        let emitted = start.elapsed();
        assert_eq!(output_bytes as u64, merge.content_length(), "content_length is wrong");

        let merge = Merge::new(output, parse(from, output, bodies.to_vec()));
        let start = Instant::now();
        compressed_bytes = 0;
        if let Ok(mut compressed) = merge.compress() {
            while let Some(chunk) = compressed.next_chunk(CHUNK_BYTES) {
                compressed_bytes += black_box(&chunk).len();
            }
        }
        let all = parsed + planned + emitted;
        for (times, time) in times.iter_mut().zip([parsed, planned, emitted, start.elapsed(), all])
        {
            times.push(time);
        }
    }
    println!(
        "{from} to {to}: {INSTANCES} instances, {samples} samples, {input_bytes} bytes in, \
         {output_bytes} out, {compressed_bytes} compressed"
    );
    for (what, mut times) in ["parse", "plan", "emit", "gzip", "all but gzip"].iter().zip(times) {
        times.sort_unstable();
        let per_sample_ns = |time: &Duration| time.as_nanos() as f64 / samples as f64;
        let (Some(first), Some(last)) = (times.first(), times.last()) else { continue };
        let Some(median) = times.get(times.len() / 2) else { continue };
        let input_mb_per_s = input_bytes as f64 / median.as_secs_f64() / 1e6;
        println!(
            "  {what:12} {:8.3} ms  {:6.1} ns/sample ({:.1} to {:.1})  {input_mb_per_s:7.0} MB/s of input",
            median.as_secs_f64() * 1e3,
            per_sample_ns(median),
            per_sample_ns(first),
            per_sample_ns(last),
        );
    }
}

fn parse(from: Format, output: OutputFormat, bodies: Vec<Vec<u8>>) -> Vec<IndexedBody> {
    let reader = Reader::new(output, Limits::default()).with_template();
    let parse = |(i, body): (usize, Vec<u8>)| match reader.parse(body, from, labels(i)) {
        Ok(instance) => instance,
        Err(error) => panic!("a generated body is refused: {error}"),
    };
    bodies.into_iter().enumerate().map(parse).collect()
}

fn in_openmetrics(body: &[u8]) -> Vec<u8> {
    let output = OutputFormat::new(Format::OpenMetrics100);
    let reader = Reader::new(output, Limits::default());
    let instances = reader.parse(body, Format::Text004, AddedLabels::new([])).into_iter().collect();
    let mut merge = Merge::new(output, instances);
    let mut out = Vec::new();
    while merge.next_chunk(&mut out, CHUNK_BYTES) {}
    out
}

/// Nine added labels, as Scrapebroker adds them.
fn labels(i: usize) -> AddedLabels {
    let (index, address) = (i.to_string(), format!("10.0.{i}.7:61002"));
    AddedLabels::new([
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
