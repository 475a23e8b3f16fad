//! A merge gives the same series as a direct scrape of each instance.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{conversion_properties::Source, *};

/// `Accept` headers of real scrapers.
const ACCEPTS: &[&str] = &[
    "*/*",
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
];

/// The name, the labels and the timestamp in milliseconds of a sample.
type Series = (String, BTreeMap<String, String>, Option<i64>);

/// The series of an output.
fn read(out: &[u8], output: OutputFormat) -> BTreeSet<Series> {
    let has_quotes = output.escaping() == Escaping::AllowUtf8;
    let text = || str::from_utf8(out).unwrap();
    match output.format() {
        Format::Text004 | Format::Text100 => strict::read(text(), has_quotes)
            .into_iter()
            .map(|one| (one.name, one.labels, one.timestamp))
            .collect(),
        Format::OpenMetrics001 | Format::OpenMetrics100 => {
            strict_openmetrics::read(text(), has_quotes)
                .into_iter()
                .map(|one| {
                    let seconds = one.timestamp.map(|text| text.parse::<f64>().unwrap());
                    let millis = seconds.map(|seconds| (seconds * 1000.0).round() as i64);
                    (one.name, one.labels, millis)
                })
                .collect()
        }
        Format::Protobuf => read(&merged(Format::Protobuf, out, any_name()), any_name()),
    }
}

/// An output that can express every series of all formats.
fn any_name() -> OutputFormat {
    OutputFormat::new(Format::Text100).with_escaping(Escaping::AllowUtf8)
}

fn merged(format: Format, body: &[u8], output: OutputFormat) -> Vec<u8> {
    let labels = AddedLabels::new([]);
    let instance = Reader::new(output, Limits::default()).parse(body, format, labels).unwrap();
    let mut merge = Merge::new(output, vec![instance]);
    let mut out = Vec::new();
    while merge.next_chunk(&mut out, 1 << 16) {}
    out
}

/// The response of an instance: text, or protobuf that was converted from text.
fn answer(source: &Source, format: Format) -> Vec<u8> {
    match format {
        Format::Protobuf => {
            let protobuf = OutputFormat::new(format).with_escaping(Escaping::AllowUtf8);
            merged(source.format, source.text().as_bytes(), protobuf)
        }
        _ => source.text().into_bytes(),
    }
}

/// The series of a response as a scraper parses it, with names escaped for `output`.
fn direct(body: &[u8], format: Format, output: OutputFormat) -> BTreeSet<Series> {
    let same = match format {
        Format::Text004 | Format::Text100 => any_name(),
        Format::OpenMetrics001 | Format::OpenMetrics100 => {
            OutputFormat::new(Format::OpenMetrics100).with_escaping(Escaping::AllowUtf8)
        }
        Format::Protobuf => OutputFormat::new(format).with_escaping(Escaping::AllowUtf8),
    };
    let written = |name: String| match output.escaping() {
        Escaping::AllowUtf8 => name,
        _ => name.replace('.', "_"),
    };
    let series = read(&merged(format, body, same), same).into_iter();
    series
        .map(|(name, labels, time)| {
            let labels = labels.into_iter().map(|(name, value)| (written(name), value));
            (written(name), labels.collect(), time)
        })
        .collect()
}

/// The series of one instance, without the added label.
fn of_instance(series: &BTreeSet<Series>, index: &str) -> BTreeSet<Series> {
    let of_index = series.iter().filter(|(_, labels, _)| labels["index"] == index);
    of_index
        .map(|(name, labels, time)| {
            let mut labels = labels.clone();
            labels.remove("index");
            if let Some(value) = labels.remove("exported_index") {
                labels.insert("index".to_owned(), value);
            }
            (name.clone(), labels, *time)
        })
        .collect()
}

fn with_one_spelling((name, labels, time): Series) -> Series {
    let labels = labels.into_iter().map(|(name, value)| {
        let is_bound = matches!(&*name, "le" | "quantile");
        let bound = value.parse::<f64>().ok().filter(|_| is_bound);
        (name, bound.map_or(value, |bound| bound.to_string()))
    });
    (name, labels.collect(), time)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn series_are_those_of_a_direct_scrape(
        sources in prop::collection::vec((conversion_properties::source(), any::<bool>()), 1..4),
        accept in prop::sample::select(ACCEPTS),
        is_mixed: bool,
    ) {
        let accepted = accepted_formats(Some(accept));
        let is_accepted = |format| accepted.iter().any(|output| output.format() == format);
        // Instances of one app mostly use the same format, which depends on the request.
        let format_of = |source: &Source, is_protobuf: bool| match source.format {
            _ if is_protobuf && is_accepted(Format::Protobuf) => Format::Protobuf,
            format => format,
        };
        let mut bodies: Vec<_> = sources
            .iter()
            .map(|(source, is_protobuf)| format_of(source, *is_protobuf))
            .zip(&sources)
            .map(|(format, (source, _))| (format, answer(source, format)))
            .collect();
        if !is_mixed {
            let first = bodies[0].0;
            bodies.retain(|(format, _)| *format == first);
        }
        let formats: Vec<_> = bodies.iter().map(|(format, _)| *format).collect();
        prop_assume!(formats.iter().any(|format| is_accepted(*format)));
        let output = choose_format(&accepted, &formats);

        let reader = Reader::new(output, Limits::default());
        let instances = bodies.iter().enumerate().map(|(i, (format, body))| {
            let labels = AddedLabels::new([("index", &*i.to_string())]);
            reader.parse(&**body, *format, labels).unwrap()
        });
        let mut merge = Merge::new(output, instances.collect());
        // In a conflict, single samples of a gauge histogram get the names that Prometheus gives to
        // samples from protobuf, not those of text.
        let is_protobuf = output.format() == Format::Protobuf;
        prop_assume!(!is_protobuf || merge.stats().type_conflicts == 0);
        let mut out = Vec::new();
        while merge.next_chunk(&mut out, 1 << 16) {}
        let through = read(&out, output);
        for (i, (format, body)) in bodies.iter().enumerate() {
            let through = of_instance(&through, &i.to_string());
            // Only text formats keep bounds as they are.
            let is_text = matches!(format, Format::Text004 | Format::Text100);
            let spelled = |series| if is_text { series } else { with_one_spelling(series) };
            let through: BTreeSet<_> = through.into_iter().map(spelled).collect();
            // In a conflict, single samples in protobuf have no created timestamps.
            let is_kept = |(name, _, _): &Series| {
                !is_protobuf || !name.ends_with("_created")
            };
            let direct = direct(body, *format, output).into_iter().filter(is_kept).map(spelled);
            for series in direct {
                prop_assert!(through.contains(&series), "{series:?} of {format} in {output:?}");
            }
        }
    }
}
