use proptest::prelude::*;

use super::*;

/// Text of a few similar families.
fn lines() -> impl Strategy<Value = String> {
    let labels =
        prop::sample::select(vec!["", "i=\"1\"", "a=\"1\"", "a=\"1\",i=\"2\"", "\"a.b\"=\"é\""]);
    let value = prop::sample::select(vec!["0", "1", "2.5", "-3", "NaN", "+Inf", "1e+300"]);
    let time = prop::sample::select(vec!["", " 1", " 0.005"]);
    let name = prop::sample::select(vec!["x", "y", "x_sum", "x_count", "z"]);
    let kind = 0..7_u8;
    let metric = (labels, value, time);
    let family = (name, kind, prop::collection::vec(metric, 1..4));
    prop::collection::vec(family, 0..5).prop_map(|families| {
        let mut out = String::new();
        for (name, kind, metrics) in families {
            let names = ["gauge", "counter", "counter", "unknown", "summary", "histogram", "info"];
            out += &format!("# TYPE {name} {}\n", names[usize::from(kind)]);
            for (labels, value, time) in metrics {
                let braced = |more: &str| match (labels, more) {
                    ("", "") => String::new(),
                    ("", more) => format!("{{{more}}}"),
                    (labels, "") => format!("{{{labels}}}"),
                    (labels, more) => format!("{{{labels},{more}}}"),
                };
                let labels = braced("");
                out += &match kind {
                    0 | 1 | 3 => format!("{name}{labels} {value}{time}\n"),
                    2 => format!("{name}_total{labels} {value}{time} # {{t=\"1\"}} 1\n{name}_created{labels} 1\n"),
                    4 => format!(
                        "{name}{} {value}{time}\n{name}_sum{labels} 1{time}\n{name}_count{labels} 2{time}\n",
                        braced("quantile=\"0.5\"")
                    ),
                    5 => format!(
                        "{name}_bucket{} 1{time}\n{name}_bucket{} 2{time}\n{name}_sum{labels} {value}{time}\n{name}_count{labels} 2{time}\n",
                        braced("le=\"1.0\""),
                        braced("le=\"+Inf\"")
                    ),
                    _ => format!("{name}_info{labels} 1{time}\n"),
                };
            }
        }
        out
    })
}

/// The sample lines without exemplars and created timestamps, sorted.
fn samples(text: &str) -> Vec<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_created"));
    let mut samples: Vec<_> =
        samples.map(|line| line.split(" # ").next().unwrap().to_owned()).collect();
    samples.sort();
    samples
}

proptest! {
    #[test]
    fn merging_an_output_again_does_not_change_it(texts in prop::collection::vec(lines(), 1..4)) {
        let bodies: Vec<_> = texts.iter().map(|text| body(text)).collect();
        let instances = bodies.iter().enumerate().map(|(i, body)| {
            parsed(body, &[("index", i.to_string().as_str())])
        });
        let out = written(merge(instances.collect()), 1 << 16);
        let again = merge(vec![parsed(&out, &[])]);
        prop_assert_eq!(again.stats(), Stats::default());
        prop_assert_eq!(again.dropped(), Dropped::default());
        prop_assert_eq!(written(again, 5), out);
    }

    #[test]
    fn one_instance_keeps_its_samples_without_duplicates(text in lines()) {
        let body = body(&text);
        let merged = merge(vec![parsed(&body, &[])]);
        let duplicates = merged.stats().duplicates;
        let out = written(merged, 64);
        let (before, after) = (samples(&text), samples(&shown(&out)));
        prop_assert!(after.iter().all(|line| before.contains(line)), "{after:?} of {before:?}");
        if duplicates == 0 {
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn the_order_of_instances_does_not_change_the_samples(one in lines(), other in lines()) {
        let instance = |text: &str, i| parsed(&body(text), &[("i", i)]);
        let there = merge(vec![instance(&one, "0"), instance(&other, "1")]);
        let back = merge(vec![instance(&other, "1"), instance(&one, "0")]);
        prop_assert_eq!(there.stats(), back.stats());
        prop_assert_eq!(there.dropped(), back.dropped());
        let text = |merge| samples(&shown(&written(merge, 100)));
        prop_assert_eq!(text(there), text(back));
    }

    #[test]
    fn conversion_to_text_and_back_is_lossless(text in lines()) {
        let text = shown(&body(&text));
        prop_assert_eq!(shown(&body(&text)), text);
    }

    #[test]
    fn escaping_gives_legacy_names_only(text in lines(), i in 0..3_usize) {
        let escaping = [Escaping::Underscores, Escaping::Dots, Escaping::Values][i];
        let merge = ProtobufMerge::new(vec![parsed(&body(&text), &[("i", "0")])], escaping);
        let out = written(merge, 50);
        let text = shown(&out);
        prop_assert!(!text.contains("{\"") && !text.contains(",\""), "{}", text);
    }

    #[test]
    fn any_bytes_are_accepted_or_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = to_text(bytes.as_slice(), &Limits::default(), 1 << 20);
        let _ = from_text(&bytes);
        if let Ok(instance) = ProtobufBody::parse(bytes, AddedLabels::new([("a", "1")]), &Limits::default()) {
            written(merge(vec![instance]), 16);
        }
    }

    #[test]
    fn any_text_is_converted_without_panic(text in "(?s)[#{}\"\\\\ =,.xTYPE_total01\n]{0,80}") {
        let body = from_text(text.as_bytes()).0;
        let _ = ProtobufBody::parse(body, AddedLabels::new([]), &Limits::default());
    }
}

fn golden() -> Vec<u8> {
    [golden::COUNTER, golden::GAUGE_HISTOGRAM, golden::HISTOGRAM, golden::NATIVE, golden::UNTYPED]
        .concat()
}

#[test]
fn a_body_cut_short_is_refused_unless_it_ends_with_a_family() {
    let body = golden();
    for end in 0..body.len() {
        let taken = ProtobufBody::parse(&body[..end], AddedLabels::new([]), &Limits::default());
        if let Ok(instance) = taken {
            let out = written(merge(vec![instance]), 100);
            assert_eq!(out, &body[..end], "{end}");
        }
    }
}

#[test]
fn any_changed_byte_is_accepted_or_refused_without_panic() {
    let body = golden();
    for at in 0..body.len() {
        for byte in [
            0x00,
            0x01,
            0x7f,
            0x80,
            0xff,
            body[at] ^ 0x01,
            body[at] ^ 0x80,
            body[at].wrapping_add(1),
        ] {
            let mut changed = body.clone();
            changed[at] = byte;
            let labels = AddedLabels::new([("code", "1"), ("n", "2")]);
            let Ok(instance) = ProtobufBody::parse(changed, labels, &Limits::default()) else {
                continue;
            };
            let out = written(merge(vec![instance]), 1 << 16);
            let again = merge(vec![parsed(&out, &[])]);
            assert_eq!(written(again, 1 << 16), out, "{byte:x} at {at}");
            let _ = to_text(out, &Limits::default(), 1 << 20);
        }
    }
}
