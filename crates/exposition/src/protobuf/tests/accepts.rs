use super::{
    super::wire::{put_bytes, put_message, put_varint, put_varint_field},
    *,
};

/// A body of one family. `write` writes its fields.
fn family(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (mut message, mut out) = (Vec::new(), Vec::new());
    write(&mut message);
    put_varint(message.len() as u64, &mut out);
    out.extend_from_slice(&message);
    out
}

/// A gauge `x` with these labels.
fn labelled(labels: &[(&[u8], &[u8])]) -> Vec<u8> {
    family(|out| {
        put_bytes(1, b"x", out);
        put_varint_field(3, 1, out);
        put_message(4, out, |out| {
            for (name, value) in labels {
                put_message(1, out, |out| {
                    put_bytes(1, name, out);
                    put_bytes(2, value, out);
                });
            }
            put_bytes(2, b"", out);
        });
    })
}

fn kind(body: &[u8]) -> ErrorKind {
    refused(body, &Limits::default()).kind()
}

#[test]
fn an_empty_body_is_an_exposition() {
    assert_eq!(merged(&[b""], &[("a", "1")]).0, b"");
    assert_eq!(merged(&[], &[]).0, b"");
}

#[test]
fn a_family_without_metrics_is_skipped() {
    let empty = family(|out| put_varint_field(3, 77, out));
    let body = [&empty[..], golden::HISTOGRAM, &[0]].concat();
    assert_eq!(merged(&[&body], &[]).0, golden::HISTOGRAM);
}

#[test]
fn unknown_fields_of_a_metric_are_copied() {
    let unknown = b"\x8a\x01\x03abc\x98\x01\x05\xa5\x01abcd\xa9\x0112345678";
    let mut metric = b"\x12\x00".to_vec();
    metric.extend_from_slice(unknown);
    let body = family(|out| {
        put_bytes(1, b"x", out);
        put_varint_field(3, 1, out);
        put_bytes(4, &metric, out);
    });
    assert_eq!(merged(&[&body], &[]).0, body);
    // Also if its labels are rewritten.
    let mut labelled = metric.clone();
    put_message(1, &mut labelled, |out| put_bytes(1, b"i", out));
    let body = family(|out| {
        put_bytes(1, b"x", out);
        put_varint_field(3, 1, out);
        put_bytes(4, &labelled, out);
    });
    let (out, ..) = merged(&[&body], &[("i", "1")]);
    assert!(out.windows(unknown.len()).any(|part| part == unknown));
}

#[test]
fn the_fields_of_a_family_can_be_in_any_order() {
    let body = family(|out| {
        put_bytes(4, b"\x12\x09\x09\0\0\0\0\0\0\xf0\x3f", out);
        put_varint_field(3, 0, out);
        put_varint_field(3, 1, out);
        put_bytes(1, b"y", out);
        put_bytes(1, b"x", out);
    });
    assert_eq!(shown(&merged(&[&body], &[]).0), "# TYPE x gauge\nx 1\n");
}

#[test]
fn a_family_without_a_type_has_counters() {
    let body = b"\x10\x0a\x01x\x22\x0b\x1a\x09\x09\0\0\0\0\0\0\xf0\x3f";
    let (out, ..) = merged(&[body], &[]);
    assert_eq!(out, b"\x12\x0a\x01x\x18\x00\x22\x0b\x1a\x09\x09\0\0\0\0\0\0\xf0\x3f");
}

#[test]
fn malformed_bodies_are_refused_with_the_number_of_the_family() {
    let good = golden::GAUGE;
    let cases: [(&[u8], ErrorKind); 7] = [
        (b"\x05\x0a\x01x", ErrorKind::Message),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ErrorKind::Message),
        (b"\x80\x80\x80\x80\x80\x00", ErrorKind::Message),
        (b"\x04\x0a\x7fxx", ErrorKind::Message),
        (b"\x02\x08\x01", ErrorKind::Message),
        (b"\x04\x0a\x02x\xff", ErrorKind::Encoding),
        (b"<html><body>not found</body></html>", ErrorKind::Message),
    ];
    for (bytes, expected) in cases {
        let error = refused(&[good, bytes].concat(), &Limits::default());
        assert_eq!((error.kind(), error.line()), (expected, 2), "{bytes:x?}");
        assert_eq!(error.to_string(), format!("message 2: {expected}"));
    }
}

#[test]
fn names_are_required_and_must_be_utf8() {
    let metric = |name: Option<&[u8]>, metric_type| {
        family(|out| {
            name.iter().for_each(|name| put_bytes(1, name, out));
            put_varint_field(3, metric_type, out);
            put_bytes(4, b"", out);
        })
    };
    assert_eq!(kind(&metric(None, 1)), ErrorKind::MetricName);
    assert_eq!(kind(&metric(Some(b""), 1)), ErrorKind::MetricName);
    assert_eq!(kind(&metric(Some(b"\xff"), 1)), ErrorKind::Encoding);
    assert_eq!(kind(&metric(Some(b"x"), 6)), ErrorKind::MetricType);
    assert_eq!(kind(&labelled(&[(b"", b"1")])), ErrorKind::LabelName);
    assert_eq!(kind(&labelled(&[(b"\xc3", b"1")])), ErrorKind::Encoding);
    assert_eq!(kind(&labelled(&[(b"a", b"\xff")])), ErrorKind::Encoding);
    assert_eq!(kind(&labelled(&[(b"__name__", b"1")])), ErrorKind::ReservedLabel);
    assert_eq!(
        kind(&labelled(&[(b"a", b""), (b"b", b""), (b"a", b"1")])),
        ErrorKind::DuplicateLabel
    );
}

#[test]
fn labels_that_parsers_add_are_refused() {
    let labelled = |label: &[u8], metric_type, kind| {
        family(|out| {
            put_bytes(1, b"x", out);
            put_varint_field(3, metric_type, out);
            put_message(4, out, |out| {
                put_message(1, out, |out| put_bytes(1, label, out));
                put_bytes(kind, b"", out);
            });
        })
    };
    assert_eq!(kind(&labelled(b"le", 4, 7)), ErrorKind::DuplicateLabel);
    assert_eq!(kind(&labelled(b"quantile", 2, 4)), ErrorKind::DuplicateLabel);
    parsed(&labelled(b"quantile", 4, 7), &[]);
    parsed(&labelled(b"le", 1, 2), &[]);
}

#[test]
fn duplicates_among_many_labels_are_found() {
    let names: Vec<_> = (0..200).map(|i| format!("n{i}")).collect();
    let limits = Limits { max_labels: 1000, ..Limits::default() };
    for repeated in [None, Some(0), Some(15), Some(16), Some(17), Some(199)] {
        let again = repeated.map(|i: usize| names[i].as_str());
        let all: Vec<(&[u8], &[u8])> = (names.iter().map(String::as_str).chain(again))
            .map(|name| (name.as_bytes(), &b""[..]))
            .collect();
        let found = ProtobufBody::parse(labelled(&all), AddedLabels::new([]), &limits).map(|_| ());
        let expected = repeated.map_or(Ok(()), |_| Err(ErrorKind::DuplicateLabel));
        assert_eq!(found.map_err(|error| error.kind()), expected, "{repeated:?}");
    }
}

#[test]
fn wrong_field_types_are_found_at_any_depth() {
    // Each with a histogram of one field.
    let histogram = |field: &[u8]| {
        family(|out| {
            put_bytes(1, b"x", out);
            put_varint_field(3, 4, out);
            put_message(4, out, |out| put_bytes(7, field, out));
        })
    };
    let wrong: [&[u8]; 10] = [
        b"\x09\0\0\0\0\0\0\0\0",
        b"\x10\x01",
        b"\x1a\x02\x10\x01",
        b"\x1a\x04\x1a\x02\x10\x01",
        b"\x1a\x06\x1a\x04\x0a\x02\x08\x01",
        b"\x1a\x06\x1a\x04\x1a\x02\x0a\x00",
        b"\x52\x01\x80",
        b"\x5a\x03abc",
        b"\x6d1234",
        b"\x7a\x01\x08",
    ];
    for field in wrong {
        assert_eq!(kind(&histogram(field)), ErrorKind::Message, "{field:x?}");
    }
    assert_eq!(kind(&histogram(b"\x1a\x07\x1a\x05\x0a\x03\x0a\x01\xff")), ErrorKind::Encoding);
    assert_eq!(kind(&histogram(b"\x6a\x01\x02")), ErrorKind::NativeHistogram);
    // Two values of one kind.
    let repeated = family(|out| {
        put_bytes(1, b"x", out);
        put_bytes(4, b"\x1a\x00\x1a\x00", out);
    });
    assert_eq!(kind(&repeated), ErrorKind::Message);
}

#[test]
fn bodies_over_a_limit_are_refused_with_its_kind() {
    let limits = Limits { max_line: 200, max_samples: 5, max_families: 3, max_labels: 2 };
    let of = |body: &[u8]| {
        let error = refused(body, &limits);
        assert!(error.is_limit());
        error.kind()
    };
    let label = |name: &'static [u8]| (name, &b"1"[..]);
    assert_eq!(of(&labelled(&[label(b"a"), label(b"b"), label(b"c")])), ErrorKind::TooManyLabels);
    assert_eq!(of(&labelled(&[(b"a", &[b'v'; 200])])), ErrorKind::FieldTooLong);
    assert_eq!(of(&body(&format!("# HELP x {}\nx 1\n", "h".repeat(201)))), ErrorKind::FieldTooLong);
    assert_eq!(of(&body("a 1\nb 1\nc 1\nd 1\n")), ErrorKind::TooManyFamilies);
    assert_eq!(
        of(&body("x{a=\"1\"} 1\nx{a=\"2\"} 1\nx{a=\"3\"} 1\nx{a=\"4\"} 1\nx{a=\"5\"} 1\nx 1\n")),
        ErrorKind::TooManySamples
    );
    // Two buckets, the missing bucket `+Inf`, the sum and the count.
    assert_eq!(parsed(golden::HISTOGRAM, &[]).samples(), 5);
    assert_eq!(parsed(golden::HISTOGRAM_CLOSED, &[]).samples(), 5);
    assert_eq!(parsed(golden::SUMMARY, &[]).samples(), 4);
    assert_eq!(parsed(golden::NATIVE, &[]).samples(), 3);
}
