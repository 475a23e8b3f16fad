//! Selects the events of a response without explicit timestamps.
//!
//! Such a response has one sample per series, because Prometheus keeps only the first of several.
//! [`Collision`] says what happens to further events of a series.

use super::{
    Collision,
    deferred::{self, DeferredEvent},
};
use crate::{domain::EventValue, store::events::StoredEvent};
use std::collections::HashMap;

/// Maximum number of events of one series that wait.
const MAX_DEFERRED_PER_SERIES: usize = 10;

/// Maximum number of events of a scraper that wait.
pub const MAX_DEFERRED: usize = 10_000;

/// The events of a response, and the progress of the scraper when it is acknowledged.
#[derive(Debug, PartialEq)]
pub struct Selection {
    pub samples: Vec<SelectedSample>,
    pub position: i64,
    pub deferred: Vec<DeferredEvent>,
    /// The number of events that were added to other events, or replaced.
    pub folded: u64,
}

/// A sample of an event.
#[derive(Debug, PartialEq)]
pub struct SelectedSample {
    /// A JSON object.
    pub labels: String,
    pub value: EventValue,
    /// The label `n`, with [`Collision::Ordinal`] and from the second event on.
    pub ordinal: Option<usize>,
    /// The explicit timestamp, in milliseconds since 1970.
    pub timestamp: Option<i64>,
}

/// Selects from `deferred`, and then from `fresh`: the events after `position` in ascending order.
pub fn select(
    position: i64,
    deferred: Vec<(DeferredEvent, StoredEvent)>,
    fresh: Vec<StoredEvent>,
    collision: Collision,
    limit: usize,
) -> Selection {
    let mut selector = Selector { collision, limit, ..Selector::new(position) };
    for (entry, event) in deferred {
        if let Err((entry, event)) = selector.take(entry, event) {
            selector.keep(entry, event.series);
        }
    }
    for event in fresh {
        let entry = DeferredEvent { seq: event.seq, events: 1, value: value(&event) };
        let seq = event.seq;
        if let Err((entry, event)) = selector.take(entry, event)
            && !selector.defer(entry, event.series)
        {
            break;
        }
        selector.selection.position = seq;
    }
    selector.selection
}

/// A value that is no number was not written by this program.
fn value(event: &StoredEvent) -> EventValue {
    event.value.parse().unwrap_or(EventValue::new(f64::NAN))
}

struct Selector {
    collision: Collision,
    limit: usize,
    /// Per series: its sample, and the number of its events in the response.
    selected: HashMap<String, (usize, usize)>,
    /// Per series: its entries in the list of deferred events.
    waiting: HashMap<String, Vec<usize>>,
    selection: Selection,
}

impl Selector {
    fn new(position: i64) -> Self {
        Self {
            collision: Collision::Defer,
            limit: 0,
            selected: HashMap::new(),
            waiting: HashMap::new(),
            selection: Selection { samples: Vec::new(), position, deferred: Vec::new(), folded: 0 },
        }
    }

    /// Adds an event to the response. Returns it if it must wait.
    fn take(
        &mut self,
        entry: DeferredEvent,
        event: StoredEvent,
    ) -> Result<(), (DeferredEvent, StoredEvent)> {
        let is_full = self.selection.samples.len() >= self.limit;
        let Some((index, events)) = self.selected.get_mut(&event.series) else {
            // Events of a series are delivered in their order.
            if is_full || self.waiting.contains_key(&event.series) {
                return Err((entry, event));
            }
            self.selected.insert(event.series, (self.selection.samples.len(), 1));
            self.push(event.labels, entry.value, None);
            return Ok(());
        };
        match self.collision {
            Collision::Defer => return Err((entry, event)),
            Collision::Ordinal if is_full => return Err((entry, event)),
            Collision::Ordinal => {
                *events += 1;
                let ordinal = *events;
                self.push(event.labels, entry.value, Some(ordinal));
            }
            Collision::Sum | Collision::Last => {
                self.selection.folded += 1;
                if let Some(sample) = self.selection.samples.get_mut(*index) {
                    sample.value = match self.collision {
                        Collision::Sum => sum(sample.value, entry.value),
                        _ => entry.value,
                    };
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, labels: String, value: EventValue, ordinal: Option<usize>) {
        self.selection.samples.push(SelectedSample { labels, value, ordinal, timestamp: None });
    }

    /// Lets an event wait, or adds it to the newest event of its series that waits. Returns false
    /// if there is no space.
    fn defer(&mut self, entry: DeferredEvent, series: String) -> bool {
        // Events of other series come after it: they are read by a later scrape.
        let is_first = !self.selected.contains_key(&series) && !self.waiting.contains_key(&series);
        if is_first || self.collision != Collision::Defer {
            return false;
        }
        let total = self.selection.deferred.len();
        let waiting = self.waiting.get(&series).map_or(0, Vec::len);
        if waiting < MAX_DEFERRED_PER_SERIES && total < MAX_DEFERRED {
            self.keep(entry, series);
            return true;
        }
        let newest = self.waiting.get(&series).and_then(|entries| entries.last());
        let Some(newest) = newest.and_then(|index| self.selection.deferred.get_mut(*index)) else {
            return false;
        };
        newest.value = sum(newest.value, entry.value);
        newest.events += entry.events;
        self.selection.folded += 1;
        true
    }

    fn keep(&mut self, entry: DeferredEvent, series: String) {
        self.waiting.entry(series).or_default().push(self.selection.deferred.len());
        self.selection.deferred.push(entry);
    }
}

fn sum(a: EventValue, b: EventValue) -> EventValue {
    EventValue::new(a.get() + b.get())
}

/// The number of events that a response with this progress delivers.
pub fn delivered(
    (position, deferred): (i64, &[DeferredEvent]),
    (new_position, new_deferred): (i64, &[DeferredEvent]),
) -> i64 {
    new_position - position + deferred::count(deferred) - deferred::count(new_deferred)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(seq: i64, series: &str, value: f64) -> StoredEvent {
        StoredEvent {
            seq,
            series: series.to_owned(),
            labels: format!("{{\"s\":\"{series}\"}}"),
            value: EventValue::new(value).to_string(),
            sample_at: seq,
            received_at: seq,
        }
    }

    fn values(selection: &Selection) -> Vec<(String, f64)> {
        let samples = selection.samples.iter();
        samples.map(|it| (it.labels[6..7].to_owned(), it.value.get())).collect()
    }

    fn texts<'a>(pairs: &'a [(&'a str, f64)]) -> Vec<(String, f64)> {
        pairs.iter().map(|(series, value)| ((*series).to_owned(), *value)).collect()
    }

    /// Events of series `a` and `b`, with their numbers as values.
    fn fresh(series: &str, after: i64) -> Vec<StoredEvent> {
        let numbers = after + 1..;
        let named = numbers.zip(series.chars());
        named.map(|(seq, name)| event(seq, &name.to_string(), seq as f64)).collect()
    }

    fn next(
        deferred: &[DeferredEvent],
        events: &[StoredEvent],
    ) -> Vec<(DeferredEvent, StoredEvent)> {
        let find = |seq| events.iter().find(|event| event.seq == seq).unwrap().clone();
        deferred.iter().map(|it| (it.clone(), find(it.seq))).collect()
    }

    #[test]
    fn a_second_event_of_a_series_waits_for_the_next_response() {
        let events = fresh("abab", 0);
        let first = select(0, Vec::new(), events.clone(), Collision::Defer, 10);
        assert_eq!(values(&first), texts(&[("a", 1.0), ("b", 2.0)]));
        assert_eq!((first.position, first.folded), (4, 0));
        let second = select(4, next(&first.deferred, &events), fresh("a", 4), Collision::Defer, 10);
        assert_eq!(values(&second), texts(&[("a", 3.0), ("b", 4.0)]));
        assert_eq!(second.deferred[0].seq, 5);
        assert_eq!(delivered((0, &[]), (4, &first.deferred)), 2);
        assert_eq!(delivered((4, &first.deferred), (5, &second.deferred)), 2);
    }

    #[test]
    fn fifty_equal_events_are_one_sample_ten_that_wait_and_the_rest_folded() {
        let events = fresh(&"a".repeat(50), 0);
        let selection = select(0, Vec::new(), events, Collision::Defer, 10);
        assert_eq!(values(&selection), texts(&[("a", 1.0)]));
        assert_eq!((selection.deferred.len(), selection.folded), (10, 39));
        assert_eq!(deferred::count(&selection.deferred), 49);
        let total: f64 = selection.deferred.iter().map(|it| it.value.get()).sum();
        assert_eq!(total, f64::from((2..=50).sum::<i32>()));
    }

    #[test]
    fn the_other_policies_deliver_all_events_at_once() {
        let run = |collision| select(0, Vec::new(), fresh("aba", 0), collision, 10);
        let sum = run(Collision::Sum);
        assert_eq!(values(&sum), texts(&[("a", 4.0), ("b", 2.0)]));
        let last = run(Collision::Last);
        assert_eq!(values(&last), texts(&[("a", 3.0), ("b", 2.0)]));
        assert_eq!((sum.folded, last.folded), (1, 1));
        let ordinal = run(Collision::Ordinal);
        assert_eq!(values(&ordinal), texts(&[("a", 1.0), ("b", 2.0), ("a", 3.0)]));
        assert_eq!(ordinal.samples[2].ordinal, Some(2));
        for selection in [sum, last, ordinal] {
            assert_eq!((selection.position, selection.deferred.len()), (3, 0));
        }
    }

    #[test]
    fn a_response_ends_at_its_limit() {
        let selection = select(0, Vec::new(), fresh("aab cd", 0), Collision::Defer, 2);
        assert_eq!(values(&selection), texts(&[("a", 1.0), ("b", 3.0)]));
        assert_eq!((selection.position, selection.deferred.len()), (3, 1));
        let ordinal = select(0, Vec::new(), fresh("aab", 0), Collision::Ordinal, 2);
        assert_eq!((ordinal.position, ordinal.samples.len()), (2, 2));
    }

    #[test]
    fn the_order_within_a_series_is_kept_when_the_limit_is_reached() {
        let events = fresh("abbb", 0);
        let first = select(0, Vec::new(), events.clone(), Collision::Defer, 2);
        let more = fresh("b", 4);
        let second = select(4, next(&first.deferred, &events), more, Collision::Defer, 0);
        assert_eq!(second.samples, []);
        let seqs: Vec<_> = second.deferred.iter().map(|it| it.seq).collect();
        assert_eq!((seqs, second.position), (vec![3, 4, 5], 5));
    }

    proptest! {
        /// Whatever is refused and repeated: each event is delivered once. Events of a series wait
        /// in their order.
        #[test]
        fn each_event_is_delivered_once(
            posts in proptest::collection::vec("[abc]{0,20}", 1..12),
            refused in proptest::collection::vec(any::<bool>(), 60),
            limit in 1..5_usize,
        ) {
            let (mut events, mut position, mut waiting) = (Vec::new(), 0, Vec::new());
            let (mut delivered_events, mut total) = (0, 0.0);
            let mut posts = posts.into_iter();
            for is_refused in refused.into_iter().chain(std::iter::repeat_n(false, 300)) {
                if let Some(post) = posts.next() {
                    let after = events.len() as i64;
                    events.extend(fresh(&post, after));
                }
                let unread = events.iter().filter(|event| event.seq > position);
                let unread: Vec<_> = unread.take(2 * limit).cloned().collect();
                let entries = next(&waiting, &events);
                let selection = select(position, entries, unread, Collision::Defer, limit);
                prop_assert!(selection.samples.len() <= limit);
                if is_refused {
                    continue;
                }
                delivered_events += delivered(
                    (position, &waiting),
                    (selection.position, &selection.deferred),
                );
                total += values(&selection).iter().map(|(_, value)| value).sum::<f64>();
                prop_assert!(selection.deferred.is_sorted_by_key(|it| it.seq));
                position = selection.position;
                waiting = selection.deferred;
            }
            prop_assert_eq!(delivered_events, events.len() as i64);
            prop_assert_eq!(total, (1..=events.len()).sum::<usize>() as f64);
        }
    }
}
