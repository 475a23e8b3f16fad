//! The families of a response, in text format 0.0.4. The HTTP layer converts them to the format
//! that the scraper accepts.

use super::selection::SelectedSample;
use crate::domain::EventLabels;
use std::fmt::Write as _;

/// What a response shows of a queue.
#[derive(Debug)]
pub struct Families<'a> {
    /// Name of the family of events, and prefix of the others.
    pub metric: &'a str,
    /// The number of events that were accepted.
    pub accepted: i64,
    /// Names of scrapers, and the numbers of events that they have to get.
    pub scrapers: &'a [(String, i64)],
    pub samples: &'a [SelectedSample],
    pub counters: &'a [EventCounter],
}

/// The number of events with one label set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventCounter {
    /// A JSON object.
    pub labels: String,
    pub events: i64,
}

/// Writes the families. A family without samples is left out.
pub fn render(families: &Families<'_>) -> String {
    let metric = families.metric;
    let mut text = Text(String::with_capacity(512 + 128 * families.samples.len()));
    let count = format!("{metric}_event_count");
    text.head(&count, "Events accepted by this queue.", "counter");
    text.sample(&count, [], families.accepted, None);

    if !families.scrapers.is_empty() {
        let pending = format!("{metric}_scraper_counts");
        text.head(&pending, "Events that a scraper has to get, before this scrape.", "gauge");
        for (scraper, events) in families.scrapers {
            text.sample(&pending, [("scraper", scraper.as_str())], events, None);
        }
    }
    if !families.samples.is_empty() {
        text.head(metric, "Posted events. Each scraper gets an event once.", "gauge");
        for sample in families.samples {
            let labels = EventLabels::from_json(&sample.labels).unwrap_or_default();
            let ordinal = sample.ordinal.map(|ordinal| ordinal.to_string());
            let ordinal = ordinal.iter().map(|ordinal| ("n", ordinal.as_str()));
            text.sample(metric, labels.iter().chain(ordinal), sample.value, sample.timestamp);
        }
    }
    if !families.counters.is_empty() {
        // `<metric>_total` would be a sample of the family of events in OpenMetrics.
        let total = format!("{metric}_events_total");
        text.head(&total, "Events with these labels. A new series begins with 0.", "counter");
        for counter in families.counters {
            let labels = EventLabels::from_json(&counter.labels).unwrap_or_default();
            text.sample(&total, labels.iter(), counter.events, None);
        }
    }
    text.0
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample<'a>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: impl std::fmt::Display,
        timestamp: Option<i64>,
    ) {
        self.0.push_str(name);
        let mut separator = '{';
        for (name, value) in labels {
            self.0.push(separator);
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.escape(value);
            self.0.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
        // Writing to a string does not fail.
        let _ = match timestamp {
            Some(timestamp) => writeln!(self.0, " {value} {timestamp}"),
            None => writeln!(self.0, " {value}"),
        };
    }

    fn escape(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EventValue;
    use exposition::{AddedLabels, Format, Limits, Merge, OutputFormat, Reader};
    use proptest::prelude::*;

    fn sample(labels: &[(&str, &str)], value: f64) -> SelectedSample {
        SelectedSample {
            labels: EventLabels::new(labels.iter().copied()).unwrap().to_json(),
            value: EventValue::new(value),
            ordinal: None,
            timestamp: None,
        }
    }

    fn families<'a>(samples: &'a [SelectedSample]) -> Families<'a> {
        Families { metric: "events", accepted: 7, scrapers: &[], samples, counters: &[] }
    }

    #[test]
    fn families_are_those_of_the_documentation() {
        let samples = [
            sample(&[("type", "deploy"), ("text", "a \"b\" \\\nc")], 1e-9),
            SelectedSample { ordinal: Some(2), ..sample(&[("type", "deploy")], f64::NAN) },
            SelectedSample { timestamp: Some(1_763_650_419_123), ..sample(&[], 1.0) },
        ];
        let counters = [EventCounter { labels: "{\"type\":\"deploy\"}".to_owned(), events: 2 }];
        let scrapers = [("10.0.0.7".to_owned(), 3)];
        let text =
            render(&Families { scrapers: &scrapers, counters: &counters, ..families(&samples) });
        let expected = "\
            # HELP events_event_count Events accepted by this queue.\n\
            # TYPE events_event_count counter\n\
            events_event_count 7\n\
            # HELP events_scraper_counts Events that a scraper has to get, before this scrape.\n\
            # TYPE events_scraper_counts gauge\n\
            events_scraper_counts{scraper=\"10.0.0.7\"} 3\n\
            # HELP events Posted events. Each scraper gets an event once.\n\
            # TYPE events gauge\n\
            events{text=\"a \\\"b\\\" \\\\\\nc\",type=\"deploy\"} 1e-9\n\
            events{type=\"deploy\",n=\"2\"} NaN\n\
            events 1 1763650419123\n\
            # HELP events_events_total Events with these labels. A new series begins with 0.\n\
            # TYPE events_events_total counter\n\
            events_events_total{type=\"deploy\"} 2\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn families_without_samples_are_left_out() {
        let text = render(&families(&[]));
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    proptest! {
        /// A scrape never fails because of an event that was accepted.
        #[test]
        fn accepted_events_are_valid_in_all_formats(
            labels in proptest::collection::vec(("[a-zA-Z_ ]{1,10}", ".{0,30}"), 0..4),
            value: f64,
        ) {
            let Ok(labels) = EventLabels::new(labels) else { return Ok(()) };
            let samples = [SelectedSample {
                labels: labels.to_json(),
                value: EventValue::new(value),
                ordinal: None,
                timestamp: Some(1_763_650_419_123),
            }];
            let text = render(&families(&samples));
            for format in Format::all() {
                let output = OutputFormat::new(format);
                let reader = Reader::new(output, Limits::default());
                let body = reader.parse(text.clone(), Format::Text004, AddedLabels::new([]));
                let body = body.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(body.samples(), 2);
                let mut merge = Merge::new(output, vec![body]);
                let (length, mut bytes) = (merge.content_length(), Vec::new());
                while merge.next_chunk(&mut bytes, 64 * 1024) {}
                prop_assert_eq!(bytes.len() as u64, length);
            }
        }
    }
}
