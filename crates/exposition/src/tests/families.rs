//! Families of the merge, their types, and conflicts.

use super::*;

/// The output, and the number of families that became untyped.
fn merged_families(bodies: &[&str]) -> (String, usize) {
    // A label makes the series of instances different and is removed again.
    let merge = merge_of(with_nth_label(bodies));
    let conflicts = merge.stats().type_conflicts;
    (without_nth_label(&written(merge, 1 << 16)), conflicts)
}

const HISTOGRAM: &str = "# HELP x Sizes.\n# TYPE x histogram\n\
    x_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n";
const SUMMARY: &str = "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx_sum 3\nx_count 2\n";

#[test]
fn samples_of_histograms_and_summaries_keep_their_order() {
    let two = "# TYPE x histogram\nx_bucket{a=\"1\",le=\"+Inf\"} 4\nx_count{a=\"1\"} 4\nx_sum{a=\"1\"} 5\n\
        x_bucket{a=\"2\",le=\"+Inf\"} 6\nx_count{a=\"2\"} 6\nx_sum{a=\"2\"} 7\n";
    let samples = two.split_once('\n').unwrap().1;
    assert_eq!(merged_families(&[HISTOGRAM, two]), (format!("{HISTOGRAM}{samples}"), 0));
    assert_eq!(merged_families(&[SUMMARY]), (SUMMARY.to_owned(), 0));
}

#[test]
fn a_missing_type_is_no_conflict_if_the_samples_fit() {
    let untyped = |body: &str| {
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.to_owned() + "\n").collect::<String>()
    };
    for body in [HISTOGRAM, SUMMARY, "# TYPE x gauge\nx 1\n", "# TYPE x counter\nx 1\n"] {
        let samples = untyped(body);
        let expected = (format!("{body}{samples}"), 0);
        assert_eq!(merged_families(&[body, &samples]), expected);
        // The type can occur later, in the same or in another instance.
        assert_eq!(merged_families(&[&samples, body]), expected);
        let late = samples.clone()
            + "# HELP x Sizes.\n"
            + body.lines().find(|line| line.starts_with("# TYPE")).unwrap();
        let (out, conflicts) = merged_families(&[&late]);
        assert_eq!(
            (out.replace("# HELP x Sizes.\n", ""), conflicts),
            (body.replace("# HELP x Sizes.\n", ""), 0)
        );
    }
    // Without a type, each name is a family of its own.
    let body = "x_sum 1\nx_count 2\nx_bucket{le=\"1\"} 3\nx_sum{a=\"\"} 4\n";
    let expected = "x_sum 1\nx_sum{a=\"\"} 4\nx_count 2\nx_bucket{le=\"1\"} 3\n";
    assert_eq!(merged_families(&[body]), (expected.to_owned(), 0));
}

#[test]
fn names_with_a_suffix_can_be_families() {
    let cases = [
        // A summary has no buckets, and a gauge has no count.
        ("# TYPE x summary\nx_sum 1\n# TYPE x_bucket gauge\nx_bucket 2\n", 0),
        ("# TYPE x gauge\nx 1\n# TYPE x_count gauge\nx_count 2\n", 0),
        ("# TYPE x gauge\nx 1\nx_count 2\n", 0),
        ("# TYPE x histogram\nx_count 1\nx_total 2\n", 0),
        ("# TYPE x histogram\nx_count 1\n# TYPE x_created gauge\nx_created 2\n", 0),
        ("# TYPE x_count histogram\nx_count_count 1\nx_count_sum 2\nx_sum 3\n", 0),
        ("# TYPE _count gauge\n_count 1\n_sum 2\n", 0),
    ];
    for (body, conflicts) in cases {
        assert_eq!(merged_families(&[body]), (body.to_owned(), conflicts), "{body}");
    }
}

#[test]
fn in_a_type_conflict_every_sample_name_becomes_an_untyped_family() {
    let cases: [(&[&str], &str, usize); 10] = [
        (
            &[
                "# HELP x One.\n# TYPE x counter\nx 1\n",
                "# HELP x Two.\n# TYPE x gauge\nx 2\n",
                "x 3\n",
            ],
            "# HELP x One.\n# TYPE x untyped\nx 1\nx 2\nx 3\n",
            1,
        ),
        (
            &[HISTOGRAM, "# TYPE x gauge\nx 5\n"],
            "# HELP x Sizes.\n# TYPE x untyped\nx 5\n\
             # HELP x_bucket Sizes.\n# TYPE x_bucket untyped\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\n\
             # HELP x_sum Sizes.\n# TYPE x_sum untyped\nx_sum 3\n\
             # HELP x_count Sizes.\n# TYPE x_count untyped\nx_count 2\n",
            1,
        ),
        (
            &[SUMMARY, "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_count 1\n"],
            "# TYPE x untyped\nx{quantile=\"0.5\"} 1\n# TYPE x_bucket untyped\nx_bucket{le=\"+Inf\"} 1\n\
             # TYPE x_sum untyped\nx_sum 3\n# TYPE x_count untyped\nx_count 2\nx_count 1\n",
            1,
        ),
        // An instance has a family with the name of a sample of another's histogram.
        (
            &[
                "# TYPE x histogram\nx_sum 1\nx_count 2\n",
                "# HELP x_count Own.\n# TYPE x_count gauge\nx_count 3\n",
            ],
            "# TYPE x_sum untyped\nx_sum 1\n# HELP x_count Own.\n# TYPE x_count untyped\nx_count 2\nx_count 3\n",
            2,
        ),
        (
            &["# TYPE x_count gauge\nx_count 3\n", "# TYPE x summary\nx_sum 1\nx_count 2\n"],
            "# TYPE x_count untyped\nx_count 3\nx_count 2\n# TYPE x_sum untyped\nx_sum 1\n",
            2,
        ),
        // The same within one instance.
        (
            &["# TYPE x histogram\nx_count 1\n# TYPE x_count gauge\nx_count{a=\"1\"} 2\n"],
            "# TYPE x_count untyped\nx_count 1\nx_count{a=\"1\"} 2\n",
            2,
        ),
        // Samples of a third instance without types are included.
        (
            &["x_count 1\n", "# TYPE x histogram\nx_count 2\n", "# TYPE x gauge\nx 3\n"],
            "# TYPE x_count untyped\nx_count 1\nx_count 2\n# TYPE x untyped\nx 3\n",
            1,
        ),
        // An explicit `untyped` is a type too.
        (&["# TYPE x untyped\nx 1\n", "# TYPE x gauge\nx 2\n"], "# TYPE x untyped\nx 1\nx 2\n", 1),
        // Types without samples are a conflict, and there is nothing to write.
        (&["# TYPE x gauge\n", "# TYPE x counter\n"], "", 1),
        // Two conflicts with one name.
        (
            &[
                "# TYPE x histogram\nx_sum 1\n",
                "# TYPE x_sum summary\nx_sum_sum 2\nx_sum{quantile=\"1\"} 3\n",
            ],
            "# TYPE x_sum untyped\nx_sum 1\nx_sum{quantile=\"1\"} 3\n# TYPE x_sum_sum untyped\nx_sum_sum 2\n",
            2,
        ),
    ];
    for (bodies, expected, conflicts) in cases {
        let (out, found) = merged_families(bodies);
        assert_eq!((out.as_str(), found), (expected, conflicts), "{bodies:#?}");
    }
}

#[test]
fn samples_that_contradict_their_type_make_a_family_untyped() {
    let cases = [
        ("# TYPE x histogram\nx 1\n", "# TYPE x untyped\nx 1\n"),
        ("# TYPE x histogram\nx_bucket 1\n", "# TYPE x_bucket untyped\nx_bucket 1\n"),
        (
            "# TYPE x histogram\nx_bucket{le=\"big\"} 1\n",
            "# TYPE x_bucket untyped\nx_bucket{le=\"big\"} 1\n",
        ),
        ("x_bucket 1\n# TYPE x histogram\n", "# TYPE x_bucket untyped\nx_bucket 1\n"),
        ("# TYPE x histogram\nx_sum{le=\"\"} 1\n", "# TYPE x_sum untyped\nx_sum{le=\"\"} 1\n"),
        ("# TYPE x summary\nx 1\n", "# TYPE x untyped\nx 1\n"),
        ("# TYPE x summary\nx{quantile=\"p99\"} 1\n", "# TYPE x untyped\nx{quantile=\"p99\"} 1\n"),
        (
            "# TYPE x summary\nx{quantile=\"1\"} 1\nx_sum{quantile=\"p99\"} 1\n",
            "# TYPE x untyped\nx{quantile=\"1\"} 1\n# TYPE x_sum untyped\nx_sum{quantile=\"p99\"} 1\n",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(merged_families(&[body]), (expected.to_owned(), 1), "{body}");
    }
    // In other types these labels have no meaning.
    for body in ["# TYPE x gauge\nx{le=\"big\",quantile=\"p99\"} 1\n", "x_bucket{le=\"big\"} 1\n"] {
        assert_eq!(merged_families(&[body]), (body.to_owned(), 0));
    }
}
