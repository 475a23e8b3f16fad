//! Merged OpenMetrics expositions, checked with the reference parser.
//!
//! Needs Debian's `python3-prometheus-client`.

use exposition::testing::bodies::{self, Line, Random};
use exposition::{AddedLabels, Escaping, Format, Limits, Merge, OutputFormat, Reader};

/// Bodies of real exporters, and some that violate the specification.
const BODIES: &[(Format, &str)] = &[
    (Format::Text004, include_str!("../../crates/exposition/tests/fixtures/text.prom")),
    (Format::Text004, include_str!("../../crates/exposition/tests/fixtures/type_conflict.prom")),
    (
        Format::OpenMetrics100,
        include_str!("../../crates/exposition/tests/fixtures/openmetrics.txt"),
    ),
    (
        Format::Text004,
        "# TYPE x counter\nx 1\n# TYPE y_total counter\ny_total -1\n# TYPE y gauge\ny 2\n",
    ),
    (
        Format::Text004,
        "# TYPE y_total counter\ny_total 3 1500\n# TYPE y_created gauge\ny_created 5\n",
    ),
    (
        Format::Text004,
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_bucket{le=\"1e6\"} 1\nx_sum 1\nx_count 1\n",
    ),
    (
        Format::Text100,
        "# HELP \"a.b\" \"quoted\"\n# TYPE \"a.b\" gauge\n{\"a.b\",\"c d\"=\"1\"} 1\na_b 2\n",
    ),
    (
        Format::OpenMetrics100,
        "# TYPE x info\nx_info{a=\"1\"} 1\n# TYPE y stateset\ny{y=\"on\"} 1\ny{y=\"off\"} 0\n# EOF\n",
    ),
    (
        Format::OpenMetrics001,
        "# TYPE z_ms gaugehistogram\n# UNIT z_ms ms\nz_ms_bucket{le=\"+Inf\"} 1\nz_ms_gsum 1\nz_ms_gcount 1\n# EOF\n",
    ),
    (Format::OpenMetrics100, "# EOF\n"),
];

/// The merged exposition and its expected number of samples.
fn merged(bodies: &[(Format, &str)], target: OutputFormat) -> (String, usize) {
    let reader = Reader::new(target, Limits::default());
    let parse = |(i, &(format, body)): (usize, &(Format, &str))| {
        let index = i.to_string();
        let labels = AddedLabels::new([("app", "q\"b\\\n"), ("index", &*index)]);
        reader.parse(body, format, labels).unwrap()
    };
    let instances: Vec<_> = bodies.iter().enumerate().map(parse).collect();
    let mut merge = Merge::new(target, instances);
    let is_sample = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let lines = bodies.iter().flat_map(|(_, body)| body.lines()).filter(is_sample).count();
    let samples = lines - merge.stats().duplicates;
    let mut output = Vec::new();
    while merge.next_chunk(&mut output, 1 << 16) {}
    (String::from_utf8(output).unwrap(), samples)
}

fn assert_readable(documents: &[(String, usize)]) {
    let verdicts = super::reference_parser::read(documents.iter().map(|(text, _)| &**text));
    assert_eq!(verdicts.len(), documents.len());
    for ((text, samples), verdict) in documents.iter().zip(verdicts) {
        assert_eq!(verdict, Ok(*samples), "{text}");
    }
}

/// The output formats that the parser supports. It does not support UTF-8 names.
fn targets() -> Vec<OutputFormat> {
    let formats = [Format::OpenMetrics001, Format::OpenMetrics100].map(OutputFormat::new);
    let escapings = [Escaping::Underscores, Escaping::Dots, Escaping::Values];
    let escaped =
        escapings.map(|escaping| OutputFormat::new(Format::OpenMetrics100).with_escaping(escaping));
    formats.into_iter().chain(escaped).collect()
}

#[test]
fn the_reference_parser_accepts_merges_of_one_and_two_bodies() {
    let mut documents = Vec::new();
    for target in targets() {
        for (i, one) in BODIES.iter().enumerate() {
            documents.push(merged(&[*one], target));
            for other in &BODIES[i + 1..] {
                documents.push(merged(&[*one, *other], target));
                documents.push(merged(&[*other, *one], target));
            }
        }
        documents.push(merged(BODIES, target));
    }
    assert_readable(&documents);
}

/// A random body with a few metric families. Either all timestamps of a body are whole seconds or
/// none are, because the parser cannot compare integers with fractions and compares fractions
/// incorrectly.
fn body(random: &mut Random, is_openmetrics: bool) -> String {
    let blocks = 1 + random.below(5);
    let mut lines: Vec<_> = (0..blocks)
        .flat_map(|_| bodies::block(random.below(1 << 30) as u64, is_openmetrics))
        .collect();
    for line in &mut lines {
        if let Line::Sample(sample) = line {
            sample.timestamp_ms = sample.timestamp_ms.map(|timestamp_ms| timestamp_ms % 7 * 1000);
        }
    }
    if random.percent(10) {
        random.shuffle(&mut lines);
    }
    bodies::text(&lines, is_openmetrics)
}

#[test]
fn the_reference_parser_accepts_merges_of_generated_bodies() {
    let mut documents = Vec::new();
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let sources: Vec<_> = (0..1 + random.below(3))
            .map(|_| {
                let is_openmetrics = random.percent(50);
                let format = if is_openmetrics { Format::OpenMetrics100 } else { Format::Text100 };
                (format, body(random, is_openmetrics))
            })
            .collect();
        let bodies: Vec<_> = sources.iter().map(|(format, text)| (*format, &**text)).collect();
        for target in targets() {
            documents.push(merged(&bodies, target));
        }
    }
    assert_readable(&documents);
}
