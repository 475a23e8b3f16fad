//! Selects the events of a response with explicit timestamps.
//!
//! Prometheus stores a repeated sample once. Therefore each response repeats all events that are
//! held, and a lost response loses nothing, whatever the scraper, its proxy or this process knows of
//! it.

/// The progress of a connection whose scraper has more events to get than fit into one response.
///
/// A connection begins with the oldest event that is held. Its scraper gets the events in ascending
/// order at first, because Prometheus drops older samples of a series. What is left of the limit
/// repeats events before `front`, each in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The connection got all events up to it.
    pub front: i64,
    /// The last event that was repeated.
    repeated: i64,
}

/// The events `after < seq <= through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub after: i64,
    pub through: i64,
}

impl Span {
    fn len(self) -> i64 {
        (self.through - self.after).max(0)
    }
}

/// The events of a response, in ascending order and without overlap.
#[derive(Debug, PartialEq, Eq)]
pub struct Window {
    pub spans: Vec<Span>,
    pub cursor: Cursor,
}

/// The next response of a connection. `cursor` is None for its first one. A response has events of
/// `held` to `last_seq`, and at most `limit`.
pub fn next(held: i64, last_seq: i64, cursor: Option<Cursor>, limit: usize) -> Window {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let all = Span { after: held, through: last_seq };
    if all.len() <= limit {
        let cursor = Cursor { front: last_seq, repeated: held };
        return Window { spans: vec![all], cursor };
    }
    let front = cursor.map_or(held, |it| it.front.clamp(held, last_seq));
    let fresh = Span { after: front, through: last_seq.min(front.saturating_add(limit)) };
    let repeated = cursor.map_or(held, |it| it.repeated);
    let repeated = if (held..front).contains(&repeated) { repeated } else { held };
    let again = Span { after: repeated, through: front.min(repeated + limit - fresh.len()) };
    let cursor = Cursor { front: fresh.through, repeated: again.through };
    let spans = [again, fresh].into_iter().filter(|span| span.len() > 0).collect();
    Window { spans, cursor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn span(after: i64, through: i64) -> Span {
        Span { after, through }
    }

    #[test]
    fn a_window_that_fits_is_repeated_as_a_whole() {
        let first = next(10, 15, None, 5);
        assert_eq!(first.spans, [span(10, 15)]);
        assert_eq!(next(10, 15, Some(first.cursor), 5).spans, [span(10, 15)]);
        assert_eq!(next(15, 15, Some(first.cursor), 5).spans, [span(15, 15)]);
    }

    #[test]
    fn a_larger_window_is_passed_in_order_and_then_repeated() {
        let mut spans = Vec::new();
        let mut cursor = None;
        for _ in 0..5 {
            let window = next(0, 10, cursor, 4);
            cursor = Some(window.cursor);
            spans.push(window.spans);
        }
        let expected = [
            vec![span(0, 4)],
            vec![span(4, 8)],
            vec![span(0, 2), span(8, 10)],
            vec![span(2, 6)],
            vec![span(6, 10)],
        ];
        assert_eq!(spans, expected);
    }

    proptest! {
        #[test]
        fn each_connection_gets_all_events_that_are_held(
            steps in proptest::collection::vec((0..30_i64, 0..20_i64), 1..20),
            limit in 1..12_usize,
        ) {
            let (mut held, mut last_seq, mut cursor) = (0, 0, None);
            let (mut got, mut front) = (BTreeSet::new(), 0);
            for (posted, released) in steps.into_iter().chain(std::iter::repeat_n((0, 0), 700)) {
                last_seq += posted;
                // Only events that the connection got can be released.
                held = (held + released).min(cursor.map_or(0, |it: Cursor| it.front));
                let window = next(held, last_seq, cursor, limit);
                cursor = Some(window.cursor);
                let mut seqs = window.spans.iter().flat_map(|it| it.after + 1..=it.through);
                prop_assert!(seqs.clone().is_sorted());
                prop_assert!(seqs.clone().count() <= limit);
                prop_assert!(seqs.all(|seq| held < seq && seq <= last_seq));
                // New events come in ascending order.
                let fresh = window.spans.iter().flat_map(|it| it.after + 1..=it.through);
                for seq in fresh {
                    if got.insert(seq) {
                        prop_assert_eq!(seq, front + 1);
                        front = seq;
                    }
                }
            }
            prop_assert_eq!(front, last_seq);
        }
    }
}
