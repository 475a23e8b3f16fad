//! Events that wait because their series is in the response already.

use crate::domain::EventValue;
use serde_json::Value;

/// An event that waits for a later response, and the events that were folded into it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeferredEvent {
    /// The number of the event whose labels it has.
    pub seq: i64,
    /// The number of events that it stands for.
    pub events: i64,
    /// The sum of their values.
    pub value: EventValue,
}

/// Writes what [`read`] reads.
pub fn write(deferred: &[DeferredEvent]) -> String {
    let entries = deferred.iter();
    let entries = entries.map(|it| serde_json::json!([it.seq, it.events, it.value.to_string()]));
    Value::from_iter(entries).to_string()
}

/// Reads deferred events of a scraper. An entry that no version of this program writes is left out.
pub fn read(text: &str) -> Vec<DeferredEvent> {
    let entries: Vec<(i64, i64, String)> = serde_json::from_str(text).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(seq, events, value)| {
            Some(DeferredEvent { seq, events, value: value.parse().ok()? })
        })
        .collect()
}

/// The number of events that wait.
pub fn count(deferred: &[DeferredEvent]) -> i64 {
    deferred.iter().map(|it| it.events).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deferred_events_survive_storage() {
        let event =
            |seq, events, value: &str| DeferredEvent { seq, events, value: value.parse().unwrap() };
        let deferred = [event(3, 1, "NaN"), event(7, 12, "1e-9")];
        assert_eq!(read(&write(&deferred)), deferred);
        assert_eq!(count(&deferred), 13);
        assert_eq!(write(&[]), "[]");
        assert_eq!(read("[]"), []);
        assert_eq!(read(""), []);
    }
}
