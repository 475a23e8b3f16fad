//! Reads samples from the metrics of a Prometheus server.

/// A sample in the text format, without its timestamp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TextSample<'a> {
    pub(super) name: &'a str,
    /// The text between the braces.
    pub(super) labels: &'a str,
    pub(super) value: f64,
}

/// The samples of a body. Lines that are no samples are skipped.
pub(super) fn samples(body: &str) -> impl Iterator<Item = TextSample<'_>> {
    body.lines().filter_map(sample)
}

fn sample(line: &str) -> Option<TextSample<'_>> {
    let name_end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(name_end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    // A label value may contain a brace, but no text after the labels does.
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(TextSample { name, labels, value })
}

impl<'a> TextSample<'a> {
    /// The value of a label, if it contains no escaped characters.
    pub(super) fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        while let Some((found, value)) = rest.split_once("=\"") {
            let end = value.find('"')?;
            let (value, after) = value.split_at(end);
            if found.trim_start_matches([',', ' ']) == name {
                return Some(value);
            }
            rest = after.get(1..)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_into_name_labels_and_value() {
        let body = "# HELP a b\na 1\nb{} 2 1700000000000\nc{x=\"y z\",v=\"}\"} 1e3\n\nd\ne x\n\tf 1\n{} 1\ng\t4\n";
        let found: Vec<_> = samples(body).map(|it| (it.name, it.labels, it.value)).collect();
        let expected =
            [("a", "", 1.0), ("b", "", 2.0), ("c", "x=\"y z\",v=\"}\"", 1000.0), ("g", "", 4.0)];
        assert_eq!(found, expected);
        assert!(samples("x NaN\n").next().unwrap().value.is_nan());
    }

    #[test]
    fn labels_are_found_by_their_whole_name() {
        let sample = sample("x{goversion=\"1\", version=\"2.42.0\",z=\"\"} 1").unwrap();
        assert_eq!(sample.label("version"), Some("2.42.0"));
        assert_eq!(sample.label("z"), Some(""));
        assert_eq!(sample.label("ersion"), None);
        assert_eq!(sample.label("y"), None);
    }
}
