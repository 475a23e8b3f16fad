use super::{
    super::{index, message, wire},
    *,
};

const GOLDEN: [&[u8]; 8] = [
    golden::COUNTER,
    golden::GAUGE,
    golden::UNTYPED,
    golden::SUMMARY,
    golden::HISTOGRAM,
    golden::HISTOGRAM_CLOSED,
    golden::NATIVE,
    golden::GAUGE_HISTOGRAM,
];

/// The fields of the only family of a body, sorted by number.
fn fields(mut body: &[u8]) -> Vec<wire::Field<'_>> {
    let family = wire::take_delimited(&mut body).unwrap();
    assert!(body.is_empty());
    let mut fields: Vec<_> = message::fields(family).collect();
    fields.sort_by_key(|field| field.number);
    fields
}

#[test]
fn one_instance_without_added_labels_is_unchanged() {
    for body in GOLDEN {
        let (out, stats, dropped) = merged(&[body], &[]);
        assert_eq!(fields(&out), fields(body));
        assert_eq!((stats, dropped), (Stats::default(), Dropped::default()));
    }
}

#[test]
fn metrics_are_copied_and_labels_appended() {
    let added = [("app", "a\"b\n"), ("index", "0")];
    let mut labels = Vec::new();
    for (name, value) in added {
        wire::put_message(1, &mut labels, |out| {
            wire::put_bytes(1, name.as_bytes(), out);
            wire::put_bytes(2, value.as_bytes(), out);
        });
    }
    for body in GOLDEN {
        let metrics = |body: &[u8]| -> Vec<Vec<u8>> {
            let mut stream = body;
            let mut metrics = Vec::new();
            while let Ok(family) = wire::take_delimited(&mut stream) {
                metrics.extend(message::messages(family, 4).map(<[u8]>::to_vec));
            }
            metrics
        };
        let (out, ..) = merged(&[body], &added);
        let expected: Vec<_> =
            metrics(body).into_iter().map(|metric| [metric, labels.clone()].concat()).collect();
        assert_eq!(metrics(&out), expected);
    }
}

#[test]
fn families_are_whole_and_in_the_order_of_their_first_appearance() {
    let (out, stats) = merged_text(
        &[
            "# TYPE b gauge\nb{i=\"0\"} 1\n# TYPE a gauge\na{i=\"0\"} 2\n",
            "# TYPE c gauge\nc{i=\"1\"} 3\n# TYPE a gauge\n# HELP a first\na{i=\"1\"} 4\n",
            "# TYPE a gauge\n# UNIT a a\n# HELP a second\na{i=\"2\"} 5\n",
        ],
        &[],
    );
    let expected = "\
# TYPE b gauge\nb{i=\"0\"} 1
# TYPE a gauge\n# HELP a first\na{i=\"0\"} 2\na{i=\"1\"} 4\na{i=\"2\"} 5
# TYPE c gauge\nc{i=\"1\"} 3\n";
    assert_eq!(out, expected);
    assert_eq!(stats, Stats::default());
}

#[test]
fn the_first_help_and_unit_with_text_are_kept() {
    let bodies = [
        body("# TYPE a_s gauge\na_s 1\n"),
        body("# TYPE a_s gauge\n# HELP a_s one\na_s 2\n"),
        body("# TYPE a_s gauge\n# UNIT a_s s\n# HELP a_s two\na_s 3\n"),
    ];
    let instances =
        bodies.iter().zip(["0", "1", "2"]).map(|(body, i)| parsed(body, &[("i", i)])).collect();
    let out = written(merge(instances), 10);
    let head = "# TYPE a_s gauge\n# UNIT a_s s\n# HELP a_s one\n";
    let samples = "a_s{i=\"0\"} 1\na_s{i=\"1\"} 2\na_s{i=\"2\"} 3\n";
    assert_eq!(shown(&out), format!("{head}{samples}"));
}

#[test]
fn a_label_with_the_name_of_an_added_one_is_renamed() {
    let (out, stats) = merged_text(
        &["# TYPE x gauge\nx{i=\"1\",exported_i=\"2\"} 1\nx{b=\"3\"} 2\n"],
        &[("i", "0")],
    );
    let expected = "# TYPE x gauge\n\
        x{exported_exported_i=\"1\",exported_i=\"2\",i=\"0\"} 1\nx{b=\"3\",i=\"0\"} 2\n";
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { renamed_labels: 1, ..Stats::default() });
}

#[test]
fn duplicates_of_an_instance_are_written_once() {
    let lines = "# TYPE x gauge\n\
        x{a=\"1\",b=\"2\"} 1\nx{b=\"2\",a=\"1\"} 2\nx{a=\"1\",b=\"2\"} 3 5\nx{a=\"1\",b=\"2\"} 4 5\n\
        x{a=\"2\",b=\"1\"} 5\n# TYPE y gauge\ny{a=\"1\",b=\"2\"} 6\n";
    let expected = "# TYPE x gauge\n\
        x{a=\"1\",b=\"2\"} 1\nx{a=\"1\",b=\"2\"} 3 5\nx{a=\"2\",b=\"1\"} 5\n\
        # TYPE y gauge\ny{a=\"1\",b=\"2\"} 6\n";
    let (out, stats) = merged_text(&[lines], &[]);
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { duplicates: 2, ..Stats::default() });

    // Also between messages of one family, but not if a label is renamed.
    let repeated = ["# TYPE x gauge\nx{i=\"1\"} 1\n", "# TYPE x gauge\nx{exported_i=\"1\"} 2\n"];
    let repeated = [repeated[0], repeated[0], repeated[1]].map(body).concat();
    let (out, stats, _) = merged(&[&repeated], &[("i", "0")]);
    let expected =
        "# TYPE x gauge\nx{exported_exported_i=\"1\",i=\"0\"} 1\nx{exported_i=\"1\",i=\"0\"} 2\n";
    assert_eq!(shown(&out), expected);
    assert_eq!(stats, Stats { duplicates: 1, renamed_labels: 1, ..Stats::default() });

    // Series of two instances with equal added labels are also written once.
    let (out, stats) = merged_text(&["x 1\n", "x 2\n"], &[]);
    assert_eq!(out, "# TYPE x unknown\nx 1\n");
    assert_eq!(stats.duplicates, 1);
}

#[test]
fn native_and_classic_histograms_of_a_family_are_two_messages() {
    let rename = |body: &[u8], from: &str, to: &str| -> Vec<u8> {
        let at = body.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        [&body[..at], to.as_bytes(), &body[at + to.len()..]].concat()
    };
    // Names of equal length, so that no length field changes.
    let classic = rename(golden::HISTOGRAM, "request_bytes", "native_second");
    let native = rename(golden::NATIVE, "native_seconds", "native_second0");
    let classic_lines = "# TYPE native_second0 histogram\nnative_second0_bucket{le=\"+Inf\"} 1\n\
         native_second0_sum 2\nnative_second0_count 1\n";
    assert!(shown(&classic).contains("native_second_count"));
    let (out, stats, _) = merged(&[&body(classic_lines), &native], &[]);
    assert_eq!(stats, Stats::default());
    let index = index::index(&out, &AddedLabels::new([]), &Limits::default()).unwrap();
    let natives: Vec<Vec<_>> = (index.families.iter())
        .map(|family| {
            family.metrics(&index).iter().map(|m| m.is(index::IndexedMetric::NATIVE)).collect()
        })
        .collect();
    assert_eq!(natives, [vec![true, true, true], vec![false]]);
    // The output does not change when merged again, and is one family in text.
    assert_eq!(merged(&[&out], &[]).0, out);
    assert_eq!(shown(&out).matches("# TYPE").count(), 1);
}

#[test]
fn a_metric_without_a_value_gets_an_empty_one() {
    let mut metric = Vec::new();
    wire::put_message(4, &mut metric, |_| {});
    let mut family = Vec::new();
    wire::put_bytes(1, b"x", &mut family);
    wire::put_varint_field(3, 1, &mut family);
    family.extend_from_slice(&metric);
    let mut stream = Vec::new();
    wire::put_varint(family.len() as u64, &mut stream);
    stream.extend_from_slice(&family);
    let (out, ..) = merged(&[&stream], &[]);
    assert_eq!(out, b"\x09\x0a\x01x\x18\x01\x22\x02\x12\x00");
    assert_eq!(shown(&out), "# TYPE x gauge\nx 0\n");
}

#[test]
fn names_are_escaped_if_the_output_requires_it() {
    let lines =
        "# TYPE \"a.b\" gauge\n{\"a.b\",\"c.d\"=\"1\"} 1\n{\"a.b\",\"c.d\"=\"1\",c_d=\"2\"} 2\n";
    let (escaping, body) = (Escaping::Underscores, body(lines));
    let out = |added| {
        let merge = ProtobufMerge::new(vec![parsed(&body, added)], escaping);
        (merge.stats(), shown(&written(merge, 3)))
    };
    let (stats, text) = out(&[]);
    assert_eq!(
        text,
        "# TYPE a_b gauge\na_b{U__c_2e_d=\"1\"} 1\na_b{U__c_2e_d=\"1\",c_d=\"2\"} 2\n"
    );
    assert_eq!(stats.renamed_labels, 2);
    let (_, text) = out(&[("c_d", "0")]);
    assert!(text.contains("a_b{U__c_2e_d=\"1\",c_d=\"0\"} 1\n"), "{text}");
}

#[test]
fn names_that_escaping_makes_equal_stay_different() {
    let lines = "# TYPE \"a.b\" gauge\n{\"a.b\",\"c.d\"=\"1\"} 1\n{\"a.b\",\"c-d\"=\"1\"} 2\n\
        # TYPE a_b gauge\na_b 3\n# TYPE \"x.y\" counter\n{\"x.y_total\"} 1\n# TYPE x_y_total gauge\nx_y_total{a=\"1\"} 2\n";
    let merge = ProtobufMerge::new(vec![parsed(&body(lines), &[])], Escaping::Underscores);
    let stats = merge.stats();
    assert_eq!(
        shown(&written(merge, 1)),
        "# TYPE U__a_2e_b gauge\nU__a_2e_b{U__c_2e_d=\"1\"} 1\nU__a_2e_b{c_d=\"1\"} 2\n# TYPE a_b gauge\na_b 3\n\
         # TYPE U__x_2e_y_ counter\nU__x_2e_y__total 1\n# TYPE x_y_total gauge\nx_y_total{a=\"1\"} 2\n"
    );
    assert_eq!(stats, Stats { renamed_labels: 1, ..Stats::default() });
}

#[test]
fn merges_are_send() {
    fn is_send<T: Send>() {}
    is_send::<ProtobufBody>();
    is_send::<ProtobufMerge>();
}
