//! Tests of whole merges. Tests of one module are in that module.

use super::*;
use crate::testing::{bodies, strict, strict_openmetrics};

mod accepts;
mod bad_input;
mod collisions;
mod conversion;
mod conversion_properties;
mod direct;
mod families;
mod lost_types;
mod names;
mod openmetrics;
mod properties;
mod template;

const TEXT_FORMAT: Format = Format::Text004;

fn parse(
    body: impl Into<Vec<u8>>,
    labels: AddedLabels,
    limits: &Limits,
) -> Result<IndexedBody, Error> {
    Reader::new(OutputFormat::new(TEXT_FORMAT), *limits).parse(body, TEXT_FORMAT, labels)
}

fn merge_of(instances: Vec<IndexedBody>) -> Merge {
    Merge::new(OutputFormat::new(TEXT_FORMAT), instances)
}

type Added<'a> = &'a [(&'a str, &'a str)];

fn parsed(body: &str, added: Added<'_>) -> IndexedBody {
    let labels = AddedLabels::new(added.iter().copied());
    match parse(body, labels, &Limits::default()) {
        Ok(instance) => instance,
        Err(error) => panic!("{body:?} is refused: {error}"),
    }
}

fn refused(body: impl Into<Vec<u8>>, limits: &Limits) -> Error {
    let body = body.into();
    let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    match parse(body, AddedLabels::new([]), limits) {
        Ok(instance) => panic!("{start:?} is accepted: {instance:?}"),
        Err(error) => error,
    }
}

/// Writes all chunks, each of about `max` bytes.
fn written(mut merge: Merge, max: usize) -> String {
    let announced = merge.content_length();
    let mut out = Vec::new();
    loop {
        let before = out.len();
        let more = merge.next_chunk(&mut out, max);
        assert_eq!(more, out.len() > before, "an empty chunk was reported");
        assert!(out.is_empty() || out.ends_with(b"\n"), "a chunk ends with a line");
        if !more {
            break;
        }
    }
    assert_eq!(out.len() as u64, announced, "content_length is wrong");
    String::from_utf8(out).unwrap()
}

fn merged(bodies: &[&str]) -> String {
    if let [body] = bodies {
        return written(merge_of(vec![parsed(body, &[])]), 1 << 16);
    }
    // A label makes the series of instances different and is removed again.
    without_nth_label(&written(merge_of(with_nth_label(bodies)), 1 << 16))
}

/// Removes the labels that [`with_nth_label`] adds.
fn without_nth_label(out: &str) -> String {
    let strip = |out: String, i: usize| {
        out.replace(&format!("{{nth=\"{i}\"}}"), "").replace(&format!(",nth=\"{i}\""), "")
    };
    (0..10).fold(out.to_owned(), strip)
}

fn with_nth_label(bodies: &[&str]) -> Vec<IndexedBody> {
    let parse = |(i, body): (usize, &&str)| parsed(body, &[("nth", &*i.to_string())]);
    bodies.iter().enumerate().map(parse).collect()
}

fn merged_with(body: &str, added: Added<'_>) -> (String, Stats) {
    let merge = merge_of(vec![parsed(body, added)]);
    let stats = merge.stats();
    (written(merge, 1 << 16), stats)
}

#[test]
fn bodies_and_merges_are_send() {
    fn is_send<T: Send>() {}
    is_send::<IndexedBody>();
    is_send::<Merge>();
    is_send::<AddedLabels>();
}

#[test]
fn a_merge_of_no_bodies_is_empty() {
    assert_eq!(merged(&[]), "");
    assert_eq!(merged(&["", "\n\n", "# a comment\n", "# HELP x\n"]), "");
    assert_eq!(parsed("", &[]).samples(), 0);
}

#[test]
fn families_are_in_order_of_appearance_and_samples_in_order_of_instances() {
    let one = "# TYPE b gauge\nb{i=\"2\"} 1\nb{i=\"1\"} 2\n# TYPE a gauge\na 3\n";
    let two = "# TYPE c gauge\nc 4\n# TYPE a gauge\na 5\n# TYPE b gauge\nb 6\n";
    let expected = "# TYPE b gauge\nb{i=\"2\"} 1\nb{i=\"1\"} 2\nb 6\n# TYPE a gauge\na 3\na 5\n# TYPE c gauge\nc 4\n";
    assert_eq!(merged(&[one, two]), expected);
}

#[test]
fn interleaved_families_of_one_instance_are_joined() {
    let body = "# TYPE a gauge\n# TYPE b gauge\na{x=\"1\"} 1\nb 1\na{x=\"2\"} 1\nb{x=\"2\"} 1\n";
    let expected =
        "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 1\n# TYPE b gauge\nb 1\nb{x=\"2\"} 1\n";
    assert_eq!(merged(&[body]), expected);
}

#[test]
fn the_first_help_with_text_is_written_before_the_type() {
    let bodies = [
        "# TYPE x gauge\n# HELP x\nx 1\n",
        "# TYPE x gauge\n# HELP x second\n# HELP x third\nx 2\n",
        "# HELP x fourth\nx 3\n",
    ];
    assert_eq!(merged(&bodies), "# HELP x second\n# TYPE x gauge\nx 1\nx 2\nx 3\n");
}

#[test]
fn added_labels_follow_those_of_the_sample() {
    let body = "x 1\nx{a=\"b\"} 2 5\nx{} 3\n";
    let (out, stats) = merged_with(body, &[("z", "1"), ("y", "q\"\n")]);
    // The first and the last line are the same series.
    assert_eq!(out, "x{z=\"1\",y=\"q\\\"\\n\"} 1\nx{a=\"b\",z=\"1\",y=\"q\\\"\\n\"} 2 5\n");
    assert_eq!(stats, Stats { duplicates: 1, ..Stats::default() });
}

#[test]
fn a_label_with_an_added_name_is_exported_under_one_name_per_family() {
    let body = "x{instance=\"left\"} 4\nx{instance=\"right\",exported_instance=\"old\"} 9\n";
    let (out, stats) = merged_with(body, &[("instance", "10.0.0.1:80"), ("index", "0")]);
    let expected = "x{exported_exported_instance=\"left\",instance=\"10.0.0.1:80\",index=\"0\"} 4\n\
        x{exported_exported_instance=\"right\",exported_instance=\"old\",instance=\"10.0.0.1:80\",index=\"0\"} 9\n";
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { renamed_labels: 2, ..Stats::default() });
}

#[test]
fn only_the_first_of_equal_samples_of_an_instance_is_kept() {
    let body = "x 1\nx 2\nx 3 5\nx 4 5\nx{a=\"1\",b=\"2\"} 5\nx{b=\"2\",a=\"1\"} 6\n\
        x{i=\"1\"} 7\nx{exported_i=\"1\"} 8\nx 9\n";
    let (out, stats) = merged_with(body, &[("i", "0")]);
    let expected = "x{i=\"0\"} 1\nx{i=\"0\"} 3 5\nx{a=\"1\",b=\"2\",i=\"0\"} 5\nx{exported_exported_i=\"1\",i=\"0\"} 7\nx{exported_i=\"1\",i=\"0\"} 8\n";
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { duplicates: 4, renamed_labels: 1, ..Stats::default() });
    assert_eq!(parsed(body, &[("i", "0")]).samples(), 5);
}

#[test]
fn a_series_of_two_instances_with_equal_added_labels_is_written_once() {
    let merge = merge_of(["x 1\n", "x 2\n"].map(|body| parsed(body, &[])).into());
    assert_eq!(merge.stats(), Stats { duplicates: 1, ..Stats::default() });
    assert_eq!(written(merge, 1), "x 1\n");
}

#[test]
fn a_chunk_has_at_least_one_line_and_about_the_requested_length() {
    let body: String = (0..100).map(|i| format!("x{{i=\"{i}\"}} {i}\n")).collect();
    let whole = merged(&[&body]);
    for max in [0, 1, 7, 64, 1000] {
        assert_eq!(written(merge_of(vec![parsed(&body, &[])]), max), whole, "{max}");
        let mut merge = merge_of(vec![parsed(&body, &[])]);
        let mut chunk = b"before".to_vec();
        assert!(merge.next_chunk(&mut chunk, max));
        let length = chunk.len() - b"before".len();
        assert!(length >= max.min(whole.len()) && length < max + 15, "{max}: {length}");
    }
}

#[test]
fn long_lines_and_late_labels_are_written_like_short_ones() {
    let long = "v".repeat(70_000);
    let body = format!("x{{a=\"{long}\"}} 1\nx{{b=\"1\"}} 2\n");
    let (out, _) = merged_with(&body, &[("i", "0")]);
    assert_eq!(out, format!("x{{a=\"{long}\",i=\"0\"}} 1\nx{{b=\"1\",i=\"0\"}} 2\n"));
}

const TEXT: &str = include_str!("../tests/fixtures/text.prom");
const TYPE_CONFLICT: &str = include_str!("../tests/fixtures/type_conflict.prom");
const MERGED: &str = include_str!("../tests/fixtures/merged.prom");

#[test]
fn real_expositions_give_the_expected_output() {
    let nine = |index: &'static str| {
        [
            ("app_id", "a1da57f0"),
            ("app_name", "my \"app\""),
            ("index", index),
            ("instance_id", index),
            ("instance", "10.0.0.1:61002"),
        ]
    };
    let instances = vec![parsed(TEXT, &nine("0")), parsed(TYPE_CONFLICT, &nine("1"))];
    let merge = merge_of(instances);
    assert_eq!(merge.stats(), Stats { type_conflicts: 2, renamed_labels: 4, ..Stats::default() });
    assert_eq!(written(merge, 100), MERGED);
}
