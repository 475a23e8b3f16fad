//! The books of a queue while a group of posts is written.
//!
//! It decides on each post in turn, as if each were stored before the next one.

use super::{
    post::{PostError, Posted, WaitingPost},
    writer::MAX_SHIFT,
};
use crate::store::events::{KeyRow, QueueRow, SeriesRow, StoredEvent};
use std::collections::{HashMap, HashSet};

/// Limits of the time that a poster gives, relative to now, in milliseconds. Prometheus refuses
/// samples that are about an hour behind.
const OLDEST_TIME: i64 = -55 * 60_000;
const NEWEST_TIME: i64 = 60_000;

/// What is stored of a locked queue, and what the group adds.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) row: QueueRow,
    /// Time of the database.
    pub(super) now: i64,
    /// The greatest number that the queue accepts.
    pub(super) max_seq: i64,
    /// All events up to it are delivered.
    pub(super) delivered_seq: i64,
    /// The number of new label sets that the queue accepts.
    pub(super) new_series_left: usize,
    /// Known series and keys that the group needs.
    pub(super) series: HashMap<String, SeriesRow>,
    pub(super) keys: HashMap<String, KeyRow>,
    pub(super) added: Added,
}

/// What a group adds.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) events: Vec<StoredEvent>,
    pub(super) changed_series: HashSet<String>,
    pub(super) new_series: usize,
    pub(super) keys: Vec<KeyRow>,
}

impl Ledger {
    /// Accepts or refuses a post. A refused one changes nothing.
    pub(super) fn decide(&mut self, post: &WaitingPost) -> Result<Posted, PostError> {
        if let Some(key) = &post.key
            && let Some(known) = self.keys.get(&key.key)
        {
            if known.digest != key.digest {
                return Err(PostError::KeyReused);
            }
            let (first_seq, count) = (known.first_seq, known.events);
            return Ok(Posted { first_seq, count, is_repeat: true });
        }
        self.check_times(post)?;
        let count = i64::try_from(post.events.len()).unwrap_or(i64::MAX);
        if self.row.last_seq.saturating_add(count) > self.max_seq {
            return Err(PostError::Full { pending: self.row.last_seq - self.delivered_seq });
        }
        let posted = Posted { first_seq: self.row.last_seq + 1, count, is_repeat: false };
        let (events, series) = self.number(post)?;
        let new_series = series.keys().filter(|it| !self.series.contains_key(**it)).count();
        let left = self.new_series_left.checked_sub(new_series);
        self.new_series_left = left.ok_or(PostError::Cardinality)?;
        let series = series.into_iter().map(|(name, row)| (name.to_owned(), row));
        let series: Vec<_> = series.collect();

        self.row.last_seq += count;
        self.added.new_series += new_series;
        self.added.events.extend(events);
        for (name, row) in series {
            self.added.changed_series.insert(name.clone());
            self.series.insert(name, row);
        }
        self.remember(post, posted);
        Ok(posted)
    }

    fn check_times(&self, post: &WaitingPost) -> Result<(), PostError> {
        let limits = self.now + OLDEST_TIME..=self.now + NEWEST_TIME;
        let is_outside = |time: Option<i64>| time.is_some_and(|time| !limits.contains(&time));
        match post.events.iter().position(|event| is_outside(event.time)) {
            Some(index) => Err(PostError::Time(index)),
            None => Ok(()),
        }
    }

    /// Gives events their numbers and timestamps. Returns their series as they are afterwards.
    fn number<'a>(
        &self,
        post: &'a WaitingPost,
    ) -> Result<(Vec<StoredEvent>, HashMap<&'a str, SeriesRow>), PostError> {
        let mut series: HashMap<&str, SeriesRow> = HashMap::new();
        let mut events = Vec::with_capacity(post.events.len());
        for (seq, event) in (self.row.last_seq + 1..).zip(&post.events) {
            let row = series.entry(&event.series).or_insert_with(|| {
                self.series.get(&event.series).cloned().unwrap_or_else(|| SeriesRow {
                    series: event.series.clone(),
                    labels: event.labels.clone(),
                    events: 0,
                    first_seq: seq,
                    sample_at: i64::MIN,
                    last_at: self.now,
                })
            });
            // Prometheus stores one sample per series and millisecond, in ascending order.
            row.sample_at = event.time.unwrap_or(self.now).max(row.sample_at.saturating_add(1));
            if row.sample_at > self.now + MAX_SHIFT {
                return Err(PostError::SeriesTooFast);
            }
            row.events += 1;
            row.last_at = self.now;
            events.push(StoredEvent {
                seq,
                series: event.series.clone(),
                labels: event.labels.clone(),
                value: event.value.clone(),
                sample_at: row.sample_at,
                received_at: self.now,
            });
        }
        Ok((events, series))
    }

    fn remember(&mut self, post: &WaitingPost, posted: Posted) {
        // Without events there is nothing that a repeat could store twice.
        if let Some(key) = &post.key
            && posted.count > 0
        {
            let row = KeyRow {
                key: key.key.clone(),
                digest: key.digest.clone(),
                first_seq: posted.first_seq,
                events: posted.count,
                created_at: self.now,
            };
            self.added.keys.push(row.clone());
            self.keys.insert(key.key.clone(), row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{
        post::WaitingPosts,
        testing::{QUEUE, event, post_of},
    };

    fn ledger() -> Ledger {
        let row = QueueRow {
            queue: QUEUE,
            binding: None,
            last_seq: 5,
            expired_seq: 0,
            floor_seq: 0,
            deleted_seq: 0,
        };
        Ledger {
            row,
            now: 1_000_000,
            max_seq: 100,
            delivered_seq: 0,
            new_series_left: 10,
            series: HashMap::new(),
            keys: HashMap::new(),
            added: Added::default(),
        }
    }

    fn waiting(number: usize) -> WaitingPost {
        let waiting = WaitingPosts::default();
        let _answer = waiting.push(post_of(vec![event(&[]); number])).unwrap();
        waiting.receiver.try_lock().unwrap().try_recv().unwrap()
    }

    #[test]
    fn equal_events_get_timestamps_of_their_own_until_those_are_too_far_ahead() {
        let mut ledger = ledger();
        ledger.decide(&waiting(3)).unwrap();
        let times: Vec<_> = ledger.added.events.iter().map(|it| it.sample_at).collect();
        assert_eq!(times, [1_000_000, 1_000_001, 1_000_002]);

        let series = ledger.series.values_mut().next().unwrap();
        series.sample_at = 1_000_000 + MAX_SHIFT - 2;
        let before = format!("{ledger:?}");
        assert!(matches!(ledger.decide(&waiting(3)), Err(PostError::SeriesTooFast)));
        assert_eq!(format!("{ledger:?}"), before, "a refused post changes nothing");
        assert_eq!(ledger.decide(&waiting(2)).unwrap().first_seq, 9);
        assert!(matches!(ledger.decide(&waiting(1)), Err(PostError::SeriesTooFast)));
    }

    #[test]
    fn a_post_without_events_takes_no_number() {
        let mut ledger = ledger();
        let posted = ledger.decide(&waiting(0)).unwrap();
        assert_eq!((posted.count, ledger.row.last_seq), (0, 5));
    }
}
