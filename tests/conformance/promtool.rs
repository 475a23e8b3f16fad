//! Merged expositions, checked with promtool.
//!
//! Needs `promtool`, which is part of Debian's package `prometheus`.

use exposition::testing::{
    bodies::{self, Random},
    promtool,
};
use exposition::{AddedLabels, Escaping, Format, Limits, Merge, OutputFormat, Reader};

/// Bodies that the merge accepts, although promtool would refuse most of them.
const BODIES: &[(Format, &str)] = &[
    (Format::Text004, include_str!("../../crates/exposition/tests/fixtures/text.prom")),
    (Format::Text004, include_str!("../../crates/exposition/tests/fixtures/type_conflict.prom")),
    (
        Format::OpenMetrics100,
        include_str!("../../crates/exposition/tests/fixtures/openmetrics.txt"),
    ),
    (
        Format::Text004,
        "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n",
    ),
    (Format::Text004, "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx_sum 3\nx_count 2\n"),
    (Format::Text004, "# TYPE x_count gauge\n# HELP x_count Own.\nx_count{a=\"1\"} 1\n"),
    (
        Format::Text004,
        "x_count 1\nx_sum 2\n# TYPE x histogram\nx_bucket{le=\"big\"} 3\nx_count 4\n",
    ),
    (
        Format::Text004,
        "# HELP y a\\d \\\" \\\n# HELP y again\ny 1\n# TYPE y counter\n# TYPE y gauge\ny{a=\"2\"} 2 5\n",
    ),
    (
        Format::Text004,
        "\u{feff}\n  y {a=\"C:\\data\",}1\r\ny{ b=\"\" c=\"\\\\\" }  +Inf \t7 \r\nz{} .5",
    ),
    (
        Format::Text004,
        "# TYPE z untyped\nz{le=\"x\",quantile=\"x\",instance=\"i\",exported_instance=\"j\",e=\"\0é\"} NaN\n",
    ),
    (
        Format::Text100,
        "# TYPE \"x.é\" gauge\n{\"x.é\",\"y z\"=\"1\",y_z=\"2\"} 1\n# HELP only_help Text.\n",
    ),
    (
        Format::OpenMetrics100,
        "# TYPE x histogram\n# UNIT x x\nx_bucket{le=\"+Inf\"} 2 1.5 # {a=\"b\"} 1\nx_created 1\n\
         # TYPE y info\n# HELP y A \\\"quote\\\".\ny_info{a=\"1\"} 1\n# TYPE z stateset\nz{z=\"on\"} 1\n\
         # TYPE w gaugehistogram\nw_bucket{le=\"+Inf\"} 1\nw_gsum 1\nw_gcount 1\n# EOF\n",
    ),
];

/// Asserts that promtool can read the merged exposition. Exit code 3 is accepted: it reports names
/// or help texts that only the app can change.
fn assert_readable(bodies: &[(Format, &str)], target: OutputFormat) {
    let reader = Reader::new(target, Limits::default());
    let parse = |(i, (format, body)): (usize, &(Format, &str))| {
        let index = i.to_string();
        let added = [("instance", "10.0.0.1:80"), ("app", "q\"b\\\n"), ("index", &*index)];
        reader.parse(*body, *format, AddedLabels::new(added)).unwrap()
    };
    let mut merge = Merge::new(target, bodies.iter().enumerate().map(parse).collect());
    let mut output = Vec::new();
    while merge.next_chunk(&mut output, 1 << 16) {}
    let (code, findings) = promtool::check(&output);
    let text = String::from_utf8_lossy(&output);
    assert!(matches!(code, Some(0 | 3)), "{bodies:?}: {findings}\n{text}");
}

#[test]
fn promtool_accepts_merges_of_one_and_two_bodies() {
    for (i, one) in BODIES.iter().enumerate() {
        assert_readable(&[*one], OutputFormat::default());
        for other in &BODIES[i + 1..] {
            assert_readable(&[*one, *other], OutputFormat::default());
        }
    }
}

#[test]
fn promtool_accepts_merges_of_all_bodies_in_both_orders() {
    let backwards: Vec<_> = BODIES.iter().rev().copied().collect();
    for escaping in [Escaping::Underscores, Escaping::Dots, Escaping::Values] {
        for format in [Format::Text004, Format::Text100] {
            let target = OutputFormat::new(format).with_escaping(escaping);
            assert_readable(BODIES, target);
            assert_readable(&backwards, target);
        }
    }
}

#[test]
fn promtool_accepts_merges_of_generated_bodies() {
    for seed in 0..60 {
        let random = &mut Random::new(seed);
        let sources: Vec<_> = (0..1 + random.below(3))
            .map(|_| {
                let is_openmetrics = random.percent(70);
                let format = if is_openmetrics { Format::OpenMetrics100 } else { Format::Text100 };
                let mut lines = Vec::new();
                for _ in 0..random.below(5) {
                    lines.extend(bodies::block(random.below(1 << 30) as u64, is_openmetrics));
                }
                (format, bodies::text(&lines, is_openmetrics))
            })
            .collect();
        let bodies: Vec<_> = sources.iter().map(|(format, text)| (*format, &**text)).collect();
        assert_readable(&bodies, OutputFormat::default());
    }
}
