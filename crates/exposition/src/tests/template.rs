//! Parsing a body with a template gives the same result as without.

use proptest::prelude::*;

use super::{bodies::Random, conversion_properties::*, *};

/// The output, the statistics and the number of samples of one body, or the error.
type Outcome = Result<(String, Stats, usize), (usize, ErrorKind)>;

/// A similar body: the same lines with some changes.
fn similar_body(text: &str, seed: u64) -> String {
    let random = &mut Random::new(seed);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for _ in 0..random.below(4) {
        if lines.is_empty() {
            break;
        }
        let at = random.below(lines.len());
        match random.below(10) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[random.below(lines.len())].clone()),
            2 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            3 => lines.insert(
                at,
                random.pick(&["\n", "# TYPE x histogram\n", "x_bucket 1\n"]).to_owned(),
            ),
            4 => change_value(&mut lines[at], random),
            5 => lines.truncate(at),
            6 => change_metadata(&mut lines, random),
            7 => {
                let family = "# HELP other Text.\n# TYPE other gauge\nother{index=\"7\"} 1\n";
                lines.splice(at..at, family.split_inclusive('\n').map(str::to_owned));
            }
            8 => {
                // Removes some lines or moves them.
                let end = (at + random.below(8)).min(lines.len());
                let moved: Vec<_> = lines.drain(at..end).collect();
                if random.percent(50) {
                    let to = random.below(lines.len() + 1);
                    lines.splice(to..to, moved);
                }
            }
            _ => {
                let line = &mut lines[at];
                let place = random.below(line.len());
                if line.is_char_boundary(place) {
                    line.insert_str(
                        place,
                        random.pick(&[" ", "\"", "1", "{", ",", "\\", "a", "\t", "é", "\r"]),
                    );
                }
            }
        }
    }
    // Changes nearly all values.
    for line in &mut lines {
        if random.percent(30) {
            change_value(line, random);
        }
    }
    lines.concat()
}

/// Changes a text or a type, or repeats a metadata line at another position.
fn change_metadata(lines: &mut Vec<String>, random: &mut Random) {
    let places: Vec<_> = (0..lines.len()).filter(|&at| lines[at].starts_with('#')).collect();
    if places.is_empty() {
        return;
    }
    let at = places[random.below(places.len())];
    let types = ["counter", "gauge", "histogram", "summary", "untyped"];
    let words: Vec<_> = lines[at].trim_end().splitn(4, ' ').collect();
    match (&words[..], random.below(3)) {
        ([hash, "HELP", name, ..], 0) => lines[at] = format!("{hash} HELP {name} Other text.\n"),
        ([hash, _, name, ..], 1) => {
            lines[at] = format!("{hash} TYPE {name} {}\n", random.pick(&types));
        }
        _ => {
            let line = lines[at].clone();
            lines.insert(random.below(lines.len()), line);
        }
    }
}

fn change_value(line: &mut String, random: &mut Random) {
    if let Some((series, rest)) = line.rsplit_once(' ')
        && !line.starts_with('#')
    {
        let value =
            random.pick(&["1", "22", "-3.5", "NaN", "+Inf", "1e3", "0x1", "", "7 5", "1 1.5"]);
        let end = if rest.ends_with('\n') { "\n" } else { "" };
        *line = format!("{series} {value}{end}");
    }
}

fn outcome(
    reader: &Reader,
    output: OutputFormat,
    body: &str,
    format: Format,
    added: Added<'_>,
) -> Outcome {
    match reader.parse(body, format, AddedLabels::new(added.iter().copied())) {
        Ok(instance) => {
            let samples = instance.samples();
            let merge = Merge::new(output, vec![instance]);
            let stats = merge.stats();
            Ok((written(merge, 1000), stats, samples))
        }
        Err(error) => Err((error.line(), error.kind())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_with_a_template_gives_the_same_result(
        source in source(), output in any_escaping(), seeds in prop::collection::vec(any::<u64>(), 1..5),
        is_other_added: bool, max_samples in prop_oneof![4 => Just(0), 1 => 1_usize..20],
    ) {
        let limits = Limits { max_samples, max_line: 200, ..Limits::default() };
        let text = source.text();
        let reader = Reader::new(output, limits).with_template();
        let bodies = std::iter::once(text.clone()).chain(seeds.iter().map(|&seed| similar_body(&text, seed)));
        for (i, body) in bodies.enumerate() {
            let index = i.to_string().repeat(i + 1);
            let name = if is_other_added && i % 2 == 1 { "b" } else { "index" };
            let added = [(name, &*index), ("app", "q\"")];
            let without_template = outcome(&Reader::new(output, limits), output, &body, source.format, &added);
            let with_template = outcome(&reader, output, &body, source.format, &added);
            prop_assert_eq!(without_template, with_template, "{} after {}", body, text);
        }
    }

    #[test]
    fn a_template_does_not_change_the_output(
        source in source(), output in any_escaping(), seeds in prop::collection::vec(any::<u64>(), 1..5),
    ) {
        let text = source.text();
        let merge = |is_shared: bool| {
            let shared = Reader::new(output, Limits::default()).with_template();
            let bodies = std::iter::once(text.clone()).chain(seeds.iter().map(|&seed| similar_body(&text, seed)));
            let instances = bodies.enumerate().filter_map(|(i, body)| {
                let fresh = Reader::new(output, Limits::default());
                let reader = if is_shared { &shared } else { &fresh };
                let index = i.to_string();
                reader.parse(body, source.format, AddedLabels::new([("index", &*index)])).ok()
            });
            let merge = Merge::new(output, instances.collect());
            (merge.stats(), written(merge, 700))
        };
        prop_assert_eq!(merge(true), merge(false));
    }
}
