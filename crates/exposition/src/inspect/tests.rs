use super::*;
use crate::{AddedLabels, Format, Limits, Merge, Reader, testing::bodies};
use proptest::prelude::*;

const TEXT: Format = Format::Text004;
const OPENMETRICS: Format = Format::OpenMetrics100;

fn parse(body: &str, format: Format, added: &[(&str, &str)]) -> IndexedBody {
    let reader = Reader::new(OutputFormat::new(TEXT), Limits::default());
    let labels = AddedLabels::new(added.iter().copied());
    reader.parse(body, format, labels).unwrap_or_else(|error| panic!("{body:?}: {error}"))
}

fn inspect_texts(bodies: &[&str]) -> Inspection {
    let bodies: Vec<_> = bodies.iter().map(|body| parse(body, TEXT, &[])).collect();
    inspect(&bodies, OutputFormat::new(TEXT), &InspectLimits::default())
}

/// Name, type by body, and samples by body.
fn families(inspection: &Inspection) -> Vec<String> {
    let bodies = |family: &FamilyReport| {
        let of_body = |one: &FamilyInBody| {
            format!("{}:{}x{}", one.body, one.metric_type.unwrap_or("-"), one.series)
        };
        family.bodies.iter().map(of_body).collect::<Vec<_>>().join(" ")
    };
    let line = |family: &FamilyReport| {
        let conflict = if family.has_conflict { " conflict" } else { "" };
        format!("{} {}{conflict}", family.name, bodies(family))
    };
    inspection.families.iter().map(line).collect()
}

#[test]
fn families_are_aligned_as_in_a_merge() {
    let histogram =
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let cases: [(&[&str], &[&str]); 9] = [
        (&["a 1\nb 2\n", "a 1\n"], &["a 0:-x1 1:-x1", "b 0:-x1"]),
        (
            &["# TYPE a counter\na 1\n", "# TYPE a gauge\na 1\na{x=\"1\"} 2\n", "a 1\n"],
            &["a 0:counterx1 1:gaugex2 2:-x1 conflict"],
        ),
        (&[histogram], &["h 0:histogramx4"]),
        // Without the type in one body, and with the type after the samples.
        (&[histogram, "h_sum 3\n"], &["h 0:histogramx4 1:-x1"]),
        (&["h_sum 3\n# TYPE h histogram\nh_count 1\n"], &["h 0:histogramx2"]),
        (&["# TYPE h histogram\n# TYPE h_sum gauge\nh_sum 3\n"], &["h 0:histogramx1 conflict"]),
        (&["# TYPE h histogram\nh 3\n"], &["h 0:histogramx1 conflict"]),
        // A family without samples is not missing.
        (&["# TYPE a counter\n", "a 1\n"], &["a 0:counterx0 1:-x1"]),
        (&[], &[]),
    ];
    for (bodies, expected) in cases {
        assert_eq!(families(&inspect_texts(bodies)), expected, "{bodies:?}");
    }
}

#[test]
fn a_counter_has_one_name_in_all_formats() {
    let text = parse("# TYPE a_bytes_total counter\na_bytes_total 1\n", TEXT, &[]);
    let openmetrics = parse(
        "# TYPE a_bytes counter\n# UNIT a_bytes bytes\n# HELP a_bytes A \\\"b\\\" \\x.\na_bytes_total 1\n# EOF\n",
        OPENMETRICS,
        &[],
    );
    let inspection =
        inspect(&[text, openmetrics], OutputFormat::new(TEXT), &InspectLimits::default());
    assert_eq!(families(&inspection), ["a_bytes_total 0:counterx1 1:counterx1"]);
    let family = &inspection.families[0];
    assert_eq!(family.help.as_deref(), Some("A \"b\" \\x."));
    assert_eq!(family.unit.as_deref(), Some("bytes"));
    assert_eq!(family.types(), [("counter", vec![0, 1])]);
}

#[test]
fn labels_with_most_values_come_first_and_added_labels_are_not_counted() {
    let added = [("instance", "10.0.0.1:80"), ("team", "t")];
    let one =
        "a{path=\"/\\\"1\",instance=\"x\"} 1\na{path=\"/2\"} 1\nb{path=\"/3\",code=\"200\"} 1\n";
    let two = "a{path=\"/2\"} 1\nc{code=\"200\"} 1\n";
    let bodies = [parse(one, TEXT, &added), parse(two, TEXT, &added)];
    let inspection = inspect(&bodies, OutputFormat::new(TEXT), &InspectLimits::default());
    let label = |name: &str, values, top: &[(&str, u64)], examples: &[&str]| LabelReport {
        name: name.to_owned(),
        values,
        families: top.len() as u32,
        top: top.iter().map(|&(family, values)| (family.to_owned(), values)).collect(),
        examples: examples.iter().map(|&example| example.to_owned()).collect(),
    };
    assert_eq!(
        inspection.labels,
        [
            label("path", 3, &[("a", 2), ("b", 1)], &["/\"1", "/2", "/3"]),
            label("code", 1, &[("b", 1), ("c", 1)], &["200"]),
            label("exported_instance", 1, &[("a", 1)], &["x"]),
        ]
    );
    assert_eq!(inspection.families[0].renamed, ["instance"]);
    assert_eq!(inspection.families[0].widest_label, Some(("path".to_owned(), 2)));
    assert!(inspection.families[1].renamed.is_empty());
    assert!(inspection.is_complete);
}

#[test]
fn the_report_is_limited() {
    let body: String = (0..50)
        .map(|i| {
            format!(
                "# HELP f{i} {}\nf{i}{{l{i}=\"{}\",all=\"{i}\"}} 1\n",
                "ü".repeat(20),
                "x".repeat(80)
            )
        })
        .collect();
    let body = parse(&body, TEXT, &[]);
    let unlimited = InspectLimits::default();
    let inspect_with =
        |limits| inspect(std::slice::from_ref(&body), OutputFormat::new(TEXT), &limits);
    let all = inspect_with(InspectLimits { help_bytes: 5, ..unlimited });
    assert_eq!((all.families.len(), all.labels.len(), all.is_complete), (50, 51, true));
    assert_eq!(all.families[0].help.as_deref(), Some("üü…"));
    let top: Vec<_> = all.labels[0].top.iter().map(|(family, _)| family.as_str()).collect();
    assert_eq!((all.labels[0].values, all.labels[0].families), (50, 50));
    assert_eq!(top, ["f0", "f1", "f10"]);
    assert_eq!(all.labels[1].examples[0], format!("{}…", "x".repeat(60)));
    for (limits, families, labels) in [
        (InspectLimits { families: 10, ..unlimited }, 10, 11),
        (InspectLimits { labels: 10, ..unlimited }, 50, 10),
        (InspectLimits { values: 40, ..unlimited }, 50, 51),
    ] {
        let limited = inspect_with(limits);
        assert!(!limited.is_complete);
        assert_eq!((limited.families.len(), limited.labels.len()), (families, labels));
        assert_eq!(limited.samples, 50);
        let values: u64 = limited.labels.iter().map(|label| label.values).sum();
        assert!(values <= limits.values as u64 / 2, "{values}");
    }
}

#[test]
fn families_are_left_out_rather_than_some_of_their_bodies() {
    let body: String = (0..50).map(|i| format!("f{i} 1\n")).collect();
    let bodies = [0, 1, 2].map(|_| parse(&body, TEXT, &[]));
    let limits = InspectLimits { family_bodies: 31, ..InspectLimits::default() };
    let limited = inspect(&bodies, OutputFormat::new(TEXT), &limits);
    assert_eq!((limited.families.len(), limited.is_complete), (10, false));
    assert!(limited.families.iter().all(|family| family.missing(3).is_empty()));
    let limits = InspectLimits { family_bodies: 150, ..InspectLimits::default() };
    assert!(inspect(&bodies, OutputFormat::new(TEXT), &limits).is_complete);
}

#[test]
fn only_the_samples_of_bodies_for_protobuf_are_counted() {
    let output = OutputFormat::new(Format::Protobuf);
    let reader = Reader::new(output, Limits::default());
    let body = reader.parse("a 1\nb 2\n", TEXT, AddedLabels::new([])).unwrap();
    let inspection = inspect(&[body], output, &InspectLimits::default());
    assert_eq!((inspection.samples, inspection.families.len()), (2, 0));
    assert!(!inspection.is_complete);
}

proptest! {
    #[test]
    fn all_samples_belong_to_families_and_a_merge_stays_the_same(
        seeds in prop::collection::vec((any::<u64>(), any::<bool>()), 1..4),
        output in prop::sample::select(vec![TEXT, OPENMETRICS]),
    ) {
        let output = OutputFormat::new(output);
        let reader = Reader::new(output, Limits::default());
        let read = || -> Vec<_> {
            let bodies = (0..).zip(&seeds).filter_map(|(i, &(seed, is_openmetrics))| {
                let body = bodies::text(&bodies::block(seed, is_openmetrics), is_openmetrics);
                let format = if is_openmetrics { OPENMETRICS } else { TEXT };
                let index = i32::to_string(&i);
                reader.parse(body, format, AddedLabels::new([("index", &*index)])).ok()
            });
            bodies.collect()
        };
        let written = |bodies| {
            let (mut merge, mut out) = (Merge::new(output, bodies), Vec::new());
            while merge.next_chunk(&mut out, 1 << 16) {}
            out
        };
        let bodies = read();
        let inspection = inspect(&bodies, output, &InspectLimits::default());
        prop_assert!(inspection.is_complete);
        let samples: Vec<u64> = bodies.iter().map(|body| body.samples() as u64).collect();
        prop_assert_eq!(inspection.samples, samples.iter().sum::<u64>());
        for (i, samples) in samples.iter().enumerate() {
            let of_body = |family: &FamilyReport| {
                let here = family.bodies.iter().filter(|one| one.body == i);
                here.map(|one| u64::from(one.series)).sum::<u64>()
            };
            prop_assert_eq!(inspection.families.iter().map(of_body).sum::<u64>(), *samples);
        }
        prop_assert_eq!(written(bodies), written(read()));
    }
}
