//! Properties of every input. The fuzz targets and the tests that replay their seeds check them.

use std::io::Read;

use super::{strict, strict_openmetrics};
use crate::{
    AddedLabels, Error, Escaping, Format, IndexedBody, Limits, Merge, OutputFormat, Reader, Stats,
};

const FORMATS: [Format; 5] = [
    Format::Text004,
    Format::Text100,
    Format::OpenMetrics001,
    Format::OpenMetrics100,
    Format::Protobuf,
];
const ESCAPINGS: [Escaping; 4] =
    [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values];
/// Enough for the output of any body within the default limits.
const UNLIMITED: Limits = Limits {
    max_line: usize::MAX,
    max_samples: 0,
    max_families: usize::MAX,
    max_labels: usize::MAX,
};

/// Checks one body. Its first byte selects the format and the output.
pub fn parse(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let source = format(*choice);
    check_body(body, source, output(choice / 5));
}

fn check_body(body: &[u8], source: Format, output: OutputFormat) {
    let reader = Reader::new(output, Limits::default());
    let parse = || reader.parse(body, source, AddedLabels::new([("a", "x\"")]));
    match parse() {
        Ok(_) => check(output, || vec![parse().expect("the body was accepted before")]),
        Err(error) => check_error(&error, source, body),
    }
}

/// Checks a protobuf body. Its first byte selects the output.
pub fn protobuf(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    check_body(body, Format::Protobuf, output(*choice));
}

/// Checks several bodies. The first byte selects the output. A byte that cannot occur in text
/// separates the bodies, and the first byte of each selects its format.
pub fn merge(input: &[u8]) {
    let Some((choice, bodies)) = input.split_first() else { return };
    let output = output(*choice);
    let instances = |reader: Reader| -> Vec<IndexedBody> {
        let parse = |(i, input): (usize, &[u8])| {
            let (choice, body) = input.split_first()?;
            let index = i.to_string();
            let labels = AddedLabels::new([("a", "x"), ("index", &*index)]);
            reader.parse(body, format(*choice), labels).ok()
        };
        bodies.split(|byte| *byte == 0xff).take(8).enumerate().filter_map(parse).collect()
    };
    let reader = || Reader::new(output, Limits::default());
    check(output, || instances(reader()));
    let with_template = merged(output, instances(reader().with_template()), 1000);
    assert_eq!(
        with_template,
        merged(output, instances(reader()), 1000),
        "the template changes the output"
    );
}

/// Checks an OpenMetrics body, after adding its `# EOF`. The first byte selects the output.
pub fn openmetrics(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let end: &[u8] =
        if body.last().is_none_or(|byte| *byte == b'\n') { b"# EOF\n" } else { b"\n# EOF\n" };
    check_body(&[body, end].concat(), Format::OpenMetrics100, output(*choice));
}

/// Checks several bodies as [`merge`] does: decompressed output equals plain output.
pub fn compress(input: &[u8]) {
    let Some((choice, bodies)) = input.split_first() else { return };
    let output = output(*choice);
    let instances = || -> Vec<IndexedBody> {
        let reader = Reader::new(output, Limits::default()).with_template();
        let parse = |(i, input): (usize, &[u8])| {
            let (choice, body) = input.split_first()?;
            let index = i.to_string();
            let labels = AddedLabels::new([("a", "x\""), ("index", &*index)]);
            reader.parse(body, format(*choice), labels).ok()
        };
        bodies.split(|byte| *byte == 0xff).take(8).enumerate().filter_map(parse).collect()
    };
    // The compressor does not support protobuf.
    let Ok(mut compressed) = Merge::new(output, instances()).compress() else { return };
    let mut sink = Vec::new();
    let chunk = usize::from(*choice) * 16 + 1;
    while let Some(part) = compressed.next_chunk(chunk) {
        sink.extend_from_slice(&part);
    }
    let mut out = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(&*sink);
    decoder.read_to_end(&mut out).expect("the output cannot be decompressed");
    assert_eq!(out, merged(output, instances(), 1 << 16).0, "decompression gives another text");
}

fn format(choice: u8) -> Format {
    FORMATS[usize::from(choice) % FORMATS.len()]
}

fn output(choice: u8) -> OutputFormat {
    let escaping = ESCAPINGS[usize::from(choice) / FORMATS.len() % ESCAPINGS.len()];
    OutputFormat::new(format(choice)).with_escaping(escaping)
}

fn is_openmetrics(output: OutputFormat) -> bool {
    matches!(output.format(), Format::OpenMetrics001 | Format::OpenMetrics100)
}

fn check_error(error: &Error, source: Format, body: &[u8]) {
    let lines = body.split(|byte| *byte == b'\n').count();
    assert!(source == Format::Protobuf || (1..=lines).contains(&error.line()), "{error}");
}

/// The output in chunks of about this length, and the changes.
fn merged(output: OutputFormat, instances: Vec<IndexedBody>, chunk: usize) -> (Vec<u8>, Stats) {
    let mut merge = Merge::new(output, instances);
    let mut out = Vec::new();
    while merge.next_chunk(&mut out, chunk) {}
    assert_eq!(out.len() as u64, merge.content_length(), "content_length is wrong");
    (out, merge.stats())
}

/// Checks the merge of instances. Each call of `instances` must return equal ones.
fn check(output: OutputFormat, instances: impl Fn() -> Vec<IndexedBody>) {
    let (out, stats) = merged(output, instances(), 1 << 16);
    assert_eq!(
        merged(output, instances(), 1),
        (out.clone(), stats),
        "the chunk length changes the output"
    );

    let again = Reader::new(output, UNLIMITED)
        .parse(&*out, output.format(), AddedLabels::new([]))
        .expect("the output is an exposition");
    if output.format() != Format::Protobuf {
        let taken = instances().iter().map(IndexedBody::samples).sum();
        assert_eq!(again.samples(), check_text(&out, output, taken, stats));
    }
    assert_eq!(merged(output, vec![again], 1000), (out, Stats::default()), "a second merge");
}

/// Parses an output strictly. Returns its number of samples, which must be `taken` minus dropped
/// ones.
fn check_text(out: &[u8], output: OutputFormat, taken: usize, stats: Stats) -> usize {
    let out = str::from_utf8(out).expect("the output is UTF-8");
    let has_quotes = output.escaping() == Escaping::AllowUtf8;
    let found = if is_openmetrics(output) {
        strict_openmetrics::read(out, has_quotes).len()
    } else {
        strict::read(out, has_quotes).len()
    };
    // In OpenMetrics, a series with timestamps loses its samples without timestamps.
    let lost = taken - found;
    assert!(
        lost == 0 || is_openmetrics(output) && lost <= stats.duplicates,
        "{lost} samples are missing"
    );
    found
}
