//! The output of a merge, judged by the reader that platform teams judge it with.
//!
//! Needs `promtool`, which comes with Debian's `prometheus`.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "support/promtool.rs"]
mod promtool;

use scrapebroker::exposition::{Instance, Labels, Limits, Merge};

/// Bodies that are taken, though promtool would refuse most of them as they are.
const BODIES: &[&str] = &[
    include_str!("fixtures/expositions/text.prom"),
    include_str!("fixtures/expositions/type_conflict.prom"),
    "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n",
    "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx_sum 3\nx_count 2\n",
    "# TYPE x_count gauge\n# HELP x_count Own.\nx_count{a=\"1\"} 1\n",
    "x_count 1\nx_sum 2\n# TYPE x histogram\nx_bucket{le=\"big\"} 3\nx_count 4\n",
    "# HELP y a\\d \\\" \\\n# HELP y again\ny 1\n# TYPE y counter\n# TYPE y gauge\ny{a=\"2\"} 2 5\n",
    "\u{feff}\n  y {a=\"C:\\data\",}1\r\ny{ b=\"\" c=\"\\\\\" }  +Inf \t7 \r\nz{} .5",
    "# TYPE z untyped\nz{le=\"x\",quantile=\"x\",instance=\"i\",exported_instance=\"j\",e=\"\0é\"} NaN\n",
    "# HELP only_help Text.\n# TYPE only_type gauge\n",
];

fn instance(body: &str, index: &str) -> Instance {
    let labels = Labels::new([("instance", "10.0.0.1:80"), ("app", "q\"b\\\n"), ("index", index)]);
    Instance::parse(body, labels, &Limits::default()).unwrap()
}

/// 0: fine; 3: fine to read, but names or help are not as they should be, which is for the app.
fn assert_readable(instances: Vec<Instance>, what: &str) {
    let mut merge = Merge::new(instances);
    let mut output = Vec::new();
    while merge.next_chunk(&mut output, 1 << 16) {}
    let (code, said) = promtool::check(&output);
    let text = String::from_utf8_lossy(&output);
    assert!(matches!(code, Some(0 | 3)), "{what}: {said}\n{text}");
}

#[test]
fn promtool_reads_what_comes_of_any_one_body_and_any_two() {
    for (i, one) in BODIES.iter().enumerate() {
        assert_readable(vec![instance(one, "0")], one);
        for other in BODIES.iter().skip(i + 1) {
            assert_readable(
                vec![instance(one, "0"), instance(other, "1")],
                &format!("{one}---\n{other}"),
            );
        }
    }
}

#[test]
fn promtool_reads_what_comes_of_all_bodies_in_either_order() {
    let all =
        |bodies: &mut dyn Iterator<Item = &&str>| bodies.map(|body| instance(body, "0")).collect();
    assert_readable(all(&mut BODIES.iter()), "forwards");
    assert_readable(all(&mut BODIES.iter().rev()), "backwards");
}
