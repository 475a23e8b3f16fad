//! Checks of posted events, for a fuzz target.

use super::{json, parameters};
use crate::{
    domain::{EventLabels, NewEvent},
    events::{
        render::{Families, render},
        selection::SelectedSample,
    },
    http::exposition_body::Accepted,
};
use exposition::{AddedLabels, Format, Limits, OutputFormat, Reader};

/// Reads the input as a form, as JSON and as lines. Whatever is accepted can be exposed in each
/// format, and does not change when it is stored.
pub fn check_post(input: &[u8]) {
    if let Ok(pairs) = parameters::pairs(input) {
        let added = pairs.iter().take(2).cloned().collect::<Vec<_>>();
        if let Ok(event) = parameters::event(pairs) {
            check_events(&[event]);
        }
        if let Ok(events) = json::events(input, &added) {
            check_events(&events);
        }
    }
    if let Ok(events) = json::lines(input, &[]) {
        check_events(&events);
    }
}

fn check_events(events: &[NewEvent]) {
    let samples: Vec<_> = events.iter().enumerate().map(|(at, event)| sample(event, at)).collect();
    let (scrapers, counters) = (&[][..], &[][..]);
    let text =
        render(&Families { metric: "e", accepted: 1, scrapers, samples: &samples, counters });
    for format in Format::all() {
        let output = OutputFormat::new(format);
        let accepted = Accepted { output, has_gzip: false };
        let bytes = accepted.convert([(text.clone(), Format::Text004)]);
        let bytes = bytes.expect("accepted events can be exposed");
        let reader = Reader::new(output, Limits::default());
        let body = reader.parse(bytes, format, AddedLabels::new([])).expect("the output is valid");
        assert_eq!(body.samples(), samples.len() + 1);
    }
}

fn sample(event: &NewEvent, at: usize) -> SelectedSample {
    let labels = event.labels.to_json();
    assert_eq!(EventLabels::from_json(&labels).as_ref(), Some(&event.labels));
    let value = event.value.to_string().parse().expect("a value is a number");
    assert_eq!(event.value, value);
    // Timestamps are unique per series.
    let timestamp = i64::try_from(at).ok();
    SelectedSample { labels, value, ordinal: None, timestamp }
}

#[test]
fn seeds_of_the_fuzz_target() {
    exposition::testing::replay("fuzz/seeds/events", check_post);
}

#[cfg(test)]
mod tests {
    use super::check_post;
    use proptest::prelude::*;

    /// Parts of forms and of JSON.
    const TOKENS: [&str; 20] = [
        "type",
        "=",
        "&",
        "value",
        "%22",
        "%5C",
        "%0A",
        "+",
        "1e-9",
        "NaN",
        "{\"labels\":{",
        "\"a\":",
        "\"x\"",
        "}",
        "}}",
        ",",
        "[",
        "]",
        "\n",
        "\"value\":",
    ];

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_refused(input: Vec<u8>) {
            check_post(&input);
        }

        #[test]
        fn any_parts_are_accepted_or_refused(
            parts in proptest::collection::vec(proptest::sample::select(&TOKENS[..]), 0..24)
        ) {
            check_post(parts.concat().as_bytes());
        }
    }
}
