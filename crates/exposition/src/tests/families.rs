//! Which samples stand together, under which type, and what a conflict is.

use super::*;

/// The output, and how many families became untyped.
fn lined_up(bodies: &[&str]) -> (String, usize) {
    // A label tells instances apart; what is looked at is the rest.
    let merge = merge_of(apart(bodies));
    let conflicts = merge.stats().type_conflicts;
    (without_nth(&written(merge, 1 << 16)), conflicts)
}

const HISTOGRAM: &str = "# HELP x Sizes.\n# TYPE x histogram\n\
    x_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n";
const SUMMARY: &str = "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx_sum 3\nx_count 2\n";

#[test]
fn samples_of_histograms_and_summaries_stay_in_their_order() {
    let two = "# TYPE x histogram\nx_bucket{a=\"1\",le=\"+Inf\"} 4\nx_count{a=\"1\"} 4\nx_sum{a=\"1\"} 5\n\
        x_bucket{a=\"2\",le=\"+Inf\"} 6\nx_count{a=\"2\"} 6\nx_sum{a=\"2\"} 7\n";
    let samples = two.split_once('\n').unwrap().1;
    assert_eq!(lined_up(&[HISTOGRAM, two]), (format!("{HISTOGRAM}{samples}"), 0));
    assert_eq!(lined_up(&[SUMMARY]), (SUMMARY.to_owned(), 0));
}

#[test]
fn a_missing_type_is_no_conflict_where_the_samples_fit() {
    let untyped = |body: &str| {
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.to_owned() + "\n").collect::<String>()
    };
    for body in [HISTOGRAM, SUMMARY, "# TYPE x gauge\nx 1\n", "# TYPE x counter\nx 1\n"] {
        let samples = untyped(body);
        let expected = (format!("{body}{samples}"), 0);
        assert_eq!(lined_up(&[body, &samples]), expected);
        // The type may come later, in another instance or in the same.
        assert_eq!(lined_up(&[&samples, body]), expected);
        let late = samples.clone()
            + "# HELP x Sizes.\n"
            + body.lines().find(|line| line.starts_with("# TYPE")).unwrap();
        let (out, conflicts) = lined_up(&[&late]);
        assert_eq!(
            (out.replace("# HELP x Sizes.\n", ""), conflicts),
            (body.replace("# HELP x Sizes.\n", ""), 0)
        );
    }
    // Nobody knows a type, so each name is a family of its own.
    let body = "x_sum 1\nx_count 2\nx_bucket{le=\"1\"} 3\nx_sum{a=\"\"} 4\n";
    let expected = "x_sum 1\nx_sum{a=\"\"} 4\nx_count 2\nx_bucket{le=\"1\"} 3\n";
    assert_eq!(lined_up(&[body]), (expected.to_owned(), 0));
}

#[test]
fn names_that_only_look_like_parts_are_families_of_their_own() {
    let cases = [
        // A summary has no buckets, a gauge no count.
        ("# TYPE x summary\nx_sum 1\n# TYPE x_bucket gauge\nx_bucket 2\n", 0),
        ("# TYPE x gauge\nx 1\n# TYPE x_count gauge\nx_count 2\n", 0),
        ("# TYPE x gauge\nx 1\nx_count 2\n", 0),
        ("# TYPE x histogram\nx_count 1\nx_total 2\n", 0),
        ("# TYPE x histogram\nx_count 1\n# TYPE x_created gauge\nx_created 2\n", 0),
        ("# TYPE x_count histogram\nx_count_count 1\nx_count_sum 2\nx_sum 3\n", 0),
        ("# TYPE _count gauge\n_count 1\n_sum 2\n", 0),
    ];
    for (body, conflicts) in cases {
        assert_eq!(lined_up(&[body]), (body.to_owned(), conflicts), "{body}");
    }
}

/// promfetcher, gap 24: types are compared, and a family whose types differ loses nothing.
#[test]
fn on_a_conflict_of_types_every_name_becomes_an_untyped_family() {
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
        // An instance has a family of its own for what is part of another's histogram.
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
        // A third one without types goes along.
        (
            &["x_count 1\n", "# TYPE x histogram\nx_count 2\n", "# TYPE x gauge\nx 3\n"],
            "# TYPE x_count untyped\nx_count 1\nx_count 2\n# TYPE x untyped\nx 3\n",
            1,
        ),
        // Untyped in so many words is a type too.
        (&["# TYPE x untyped\nx 1\n", "# TYPE x gauge\nx 2\n"], "# TYPE x untyped\nx 1\nx 2\n", 1),
        // MetricTypes without samples contradict each other, and leave nothing to write.
        (&["# TYPE x gauge\n", "# TYPE x counter\n"], "", 1),
        // Two conflicts that share a name.
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
        let (out, found) = lined_up(bodies);
        assert_eq!((out.as_str(), found), (expected, conflicts), "{bodies:#?}");
    }
}

#[test]
fn samples_that_their_type_cannot_have_make_it_untyped() {
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
        assert_eq!(lined_up(&[body]), (expected.to_owned(), 1), "{body}");
    }
    // Elsewhere these labels are like any other.
    for body in ["# TYPE x gauge\nx{le=\"big\",quantile=\"p99\"} 1\n", "x_bucket{le=\"big\"} 1\n"] {
        assert_eq!(lined_up(&[body]), (body.to_owned(), 0));
    }
}
