use super::*;

/// Merges bodies of instances that get a label `i`.
fn conflict(bodies: &[&str]) -> (String, Stats, Dropped) {
    let names: Vec<_> = (0..bodies.len()).map(|i| i.to_string()).collect();
    let instances = || {
        let instance = |(text, i): (&&str, &String)| parsed(&body(text), &[("i", i)]);
        merge(bodies.iter().zip(&names).map(instance).collect())
    };
    let (stats, dropped) = (instances().stats(), instances().dropped());
    let out = written(instances(), 1 << 16);
    assert_eq!(written(instances(), 1), out);
    // Merging the output again does not change it.
    assert_eq!(merged(&[&out], &[]).0, out);
    (shown(&out), stats, dropped)
}

const HISTOGRAM: &str = "# TYPE x histogram\n# HELP x h\nx_bucket{le=\"1.0\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n";
const SUMMARY: &str = "# TYPE x summary\nx{quantile=\"0.5\"} 4\nx_sum 5\nx_count 6\n";

#[test]
fn counter_and_gauge_become_untyped() {
    let (out, stats, dropped) =
        conflict(&["# TYPE x counter\nx 1 5 # {t=\"1\"} 2\n", "# TYPE x gauge\nx 2\n"]);
    assert_eq!(out, "# TYPE x unknown\nx{i=\"0\"} 1 5\nx{i=\"1\"} 2\n");
    assert_eq!(stats, Stats { type_conflicts: 1, ..Stats::default() });
    assert_eq!(dropped, Dropped { exemplars: 1, ..Dropped::default() });
}

#[test]
fn histograms_and_summaries_become_their_samples() {
    let (out, stats, _) = conflict(&[HISTOGRAM, SUMMARY]);
    let expected = "\
# TYPE x unknown\n# HELP x h\nx{quantile=\"0.5\",i=\"1\"} 4
# TYPE x_bucket unknown\n# HELP x_bucket h\nx_bucket{le=\"1.0\",i=\"0\"} 1\nx_bucket{le=\"+Inf\",i=\"0\"} 2
# TYPE x_sum unknown\n# HELP x_sum h\nx_sum{i=\"0\"} 3\nx_sum{i=\"1\"} 5
# TYPE x_count unknown\n# HELP x_count h\nx_count{i=\"0\"} 2\nx_count{i=\"1\"} 6\n";
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { type_conflicts: 1, ..Stats::default() });
}

#[test]
fn a_family_with_the_name_of_a_sample_gets_that_sample() {
    let (out, stats, _) =
        conflict(&[HISTOGRAM, "# TYPE x_count gauge\nx_count 9\n", "# TYPE x gauge\nx 1\n"]);
    assert!(out.contains(
        "# TYPE x_count unknown\n# HELP x_count h\nx_count{i=\"0\"} 2\nx_count{i=\"1\"} 9\n"
    ));
    assert_eq!(out.matches("x_count unknown").count(), 1, "{out}");
    assert_eq!(stats, Stats { type_conflicts: 2, ..Stats::default() });
    // A family that is untyped already is not in conflict.
    let (_, stats, _) = conflict(&[HISTOGRAM, "x_count 9\n", "# TYPE x gauge\nx 1\n"]);
    assert_eq!(stats.type_conflicts, 1);
}

#[test]
fn a_conflict_can_cause_others() {
    let (out, stats, _) = conflict(&[
        HISTOGRAM,
        "# TYPE x gauge\nx 1\n# TYPE x_sum histogram\nx_sum_bucket{le=\"+Inf\"} 1\nx_sum_sum 2\nx_sum_count 1\n",
    ]);
    for line in [
        "x{i=\"1\"} 1",
        "x_sum{i=\"0\"} 3",
        "x_sum_bucket{le=\"+Inf\",i=\"1\"} 1",
        "x_sum_sum{i=\"1\"} 2",
        "x_sum_count{i=\"1\"} 1",
    ] {
        assert!(out.lines().any(|other| other == line), "{line} in {out}");
    }
    assert_eq!(stats.type_conflicts, 2);
}

#[test]
fn samples_that_become_equal_are_written_once() {
    let untyped = [HISTOGRAM, SUMMARY, "# TYPE x_sum gauge\nx_sum 7\n"].map(body).concat();
    let (out, stats, _) = merged(&[&untyped], &[]);
    let out = shown(&out);
    assert_eq!(out.matches("\nx_sum ").count(), 1, "{out}");
    assert_eq!(out.matches("\nx_count ").count(), 1, "{out}");
    assert_eq!(stats, Stats { type_conflicts: 2, duplicates: 3, ..Stats::default() });
}

#[test]
fn native_histograms_in_conflict_keep_sum_and_count() {
    let gauge = body("# TYPE native_seconds gauge\nnative_seconds 1\n");
    let (out, stats, dropped) = merged(&[golden::NATIVE, &gauge], &[]);
    let expected = "\
# TYPE native_seconds unknown\n# HELP native_seconds N\nnative_seconds 1
# TYPE native_seconds_bucket unknown\n# HELP native_seconds_bucket N
native_seconds_bucket{n=\"2\",le=\"0.5\"} 3\nnative_seconds_bucket{n=\"2\",le=\"1.0\"} 7
native_seconds_bucket{n=\"2\",le=\"+Inf\"} 12
# TYPE native_seconds_sum unknown\n# HELP native_seconds_sum N
native_seconds_sum{n=\"1\"} 18.4\nnative_seconds_sum{n=\"2\"} 18.4\nnative_seconds_sum{n=\"float\"} 1
# TYPE native_seconds_count unknown\n# HELP native_seconds_count N
native_seconds_count{n=\"1\"} 12\nnative_seconds_count{n=\"2\"} 12\nnative_seconds_count{n=\"float\"} 3.5\n";
    assert_eq!(shown(&out), expected);
    assert_eq!(stats.type_conflicts, 1);
    assert_eq!(dropped, Dropped { exemplars: 2, created: 0, native_histograms: 3 });
}

#[test]
fn a_value_that_is_not_of_the_familys_type_is_kept() {
    // A family of counters, of which one metric is a gauge.
    let stream = b"\x1f\x0a\x01x\x18\x00\x22\x0b\x1a\x09\x09\0\0\0\0\0\0\xf0\x3f\x22\x0b\x12\x09\x09\0\0\0\0\0\0\0\x40";
    let (out, stats, _) = merged(&[stream], &[]);
    // The two have one series, so the first is kept.
    assert_eq!(shown(&out), "# TYPE x unknown\nx 1\n");
    assert_eq!(stats, Stats { type_conflicts: 1, duplicates: 1, ..Stats::default() });
}
