//! Responses of this process whose delivery is not decided yet.
//!
//! Without explicit timestamps a scraper has one of them, its batch in flight. With explicit
//! timestamps each of its connections has one, because several clients may share a name, and each
//! gets the events in its own order.
//!
//! If a response is not watched here, its events are delivered again.

use super::{
    ScraperName,
    evidence::{ScrapeConnection, Verdict},
    sockets::SocketTable,
    window::Cursor,
};
use crate::{
    domain::QueueId,
    telemetry::running::{ConnectionId, Use},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, time::Instant};

/// Maximum number of responses that are watched, and of cursors.
const MAX_ENTRIES: usize = 10_000;

/// Identifies the receiver of a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    pub queue: QueueId,
    pub scraper: ScraperName,
    /// With explicit timestamps: the connection of the response.
    pub connection: Option<ConnectionId>,
}

/// The responses in flight, and the cursors of connections.
#[derive(Debug, Default)]
pub struct Deliveries {
    state: Mutex<State>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct State {
    in_flight: HashMap<DeliveryKey, Delivery>,
    cursors: HashMap<DeliveryKey, (Cursor, Use)>,
}

#[derive(Debug)]
struct Delivery {
    batch: i64,
    connection: ScrapeConnection,
}

impl Deliveries {
    /// Watches a response from now on, in place of the one before with the same key. `batch` is its
    /// number; with explicit timestamps it is the newest event that the connection has got.
    pub fn begin(&self, key: DeliveryKey, batch: i64, connection: ScrapeConnection) {
        let in_flight = &mut self.state().in_flight;
        if !has_room(in_flight, &key) {
            in_flight.retain(|_, it| !it.connection.is_closed());
        }
        if has_room(in_flight, &key) {
            in_flight.insert(key, Delivery { batch, connection });
            self.begun.notify_one();
        }
    }

    /// Waits until a response was begun since the last call.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Judges a response; see [`ScrapeConnection::judge`]. `None` if this process does not watch it.
    pub fn verdict(
        &self,
        key: &DeliveryKey,
        batch: i64,
        now: Instant,
        sockets: Option<&SocketTable>,
    ) -> Option<Verdict> {
        let state = self.state();
        let delivery = state.delivery(key, batch)?;
        Some(delivery.connection.judge(now, sockets))
    }

    /// Whether the verdict depends on the sockets.
    pub fn needs_sockets(&self, key: &DeliveryKey, batch: i64, now: Instant) -> bool {
        let state = self.state();
        state.delivery(key, batch).is_some_and(|it| it.connection.needs_sockets(now))
    }

    /// Stops watching a response, after its verdict.
    pub fn finish(&self, key: &DeliveryKey, batch: i64) {
        let mut state = self.state();
        if state.delivery(key, batch).is_some() {
            state.in_flight.remove(key);
        }
    }

    /// Time when the next response can be judged. It has passed if a response was not judged then.
    pub fn next_decision(&self) -> Option<Instant> {
        self.state().in_flight.values().map(|it| it.connection.decision_time()).min()
    }

    /// The responses that can be judged by their deadline, with their batches.
    pub fn due(&self, now: Instant) -> Vec<(DeliveryKey, i64)> {
        self.state().batches(|it| now >= it.connection.decision_time())
    }

    /// All responses, with their batches.
    pub fn in_flight(&self) -> Vec<(DeliveryKey, i64)> {
        self.state().batches(|_| true)
    }

    /// The cursor of a connection.
    pub fn cursor(&self, key: &DeliveryKey) -> Option<Cursor> {
        self.state().cursors.get(key).map(|(cursor, _)| *cursor)
    }

    /// Sets the cursor of the connection `in_use`, and forgets those of closed connections.
    pub fn set_cursor(&self, key: DeliveryKey, cursor: Cursor, in_use: &Use) {
        let cursors = &mut self.state().cursors;
        if !cursors.contains_key(&key) {
            cursors.retain(|_, (_, in_use)| !in_use.is_closed());
        }
        if has_room(cursors, &key) {
            cursors.insert(key, (cursor, in_use.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn delivery(&self, key: &DeliveryKey, batch: i64) -> Option<&Delivery> {
        self.in_flight.get(key).filter(|delivery| delivery.batch == batch)
    }

    fn batches(&self, is_wanted: impl Fn(&Delivery) -> bool) -> Vec<(DeliveryKey, i64)> {
        let wanted = self.in_flight.iter().filter(|(_, delivery)| is_wanted(delivery));
        wanted.map(|(key, delivery)| (key.clone(), delivery.batch)).collect()
    }
}

fn has_room<V>(map: &HashMap<DeliveryKey, V>, key: &DeliveryKey) -> bool {
    map.len() < MAX_ENTRIES || map.contains_key(key)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            evidence::{AckBy, MARGIN, NackBy},
            window,
        },
        *,
    };
    use futures_util::FutureExt;
    use std::time::Duration;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn key(scraper: &str) -> DeliveryKey {
        let scraper = scraper.parse().unwrap();
        DeliveryKey { queue: QueueId::INSTALLATION, scraper, connection: None }
    }

    fn of_connection(scraper: &str, in_use: &Use) -> DeliveryKey {
        DeliveryKey { connection: Some(in_use.id()), ..key(scraper) }
    }

    /// A connection whose only request has been answered.
    fn connection(deadline: Instant) -> (Use, ScrapeConnection) {
        let in_use = Use::default();
        drop(in_use.begin());
        (in_use.clone(), ScrapeConnection::new(in_use, deadline))
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_watched_until_it_is_finished_or_replaced() {
        let deliveries = Deliveries::default();
        let now = Instant::now();
        let verdict = |scraper: &str, batch| deliveries.verdict(&key(scraper), batch, now, None);
        let (in_use, first) = connection(now + TIMEOUT);
        deliveries.begin(key("a"), 1, first);
        assert_eq!(verdict("a", 1), Some(Verdict::Open));
        assert_eq!((verdict("a", 2), verdict("b", 1)), (None, None));
        in_use.close();
        assert_eq!(verdict("a", 1), Some(Verdict::Refused(NackBy::Closed)));
        assert!(deliveries.needs_sockets(&key("a"), 1, now));

        let (in_use, second) = connection(now + TIMEOUT);
        deliveries.begin(key("a"), 2, second);
        assert_eq!(verdict("a", 1), None);
        drop(in_use.begin());
        assert_eq!(verdict("a", 2), Some(Verdict::Acknowledged(AckBy::Reuse)));
        deliveries.finish(&key("a"), 1);
        assert_eq!(deliveries.in_flight(), [(key("a"), 2)]);
        deliveries.finish(&key("a"), 2);
        assert_eq!((verdict("a", 2), deliveries.next_decision()), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn responses_are_due_after_their_deadlines() {
        let deliveries = Deliveries::default();
        let start = Instant::now();
        for (scraper, deadline) in [("late", start + TIMEOUT * 2), ("early", start + TIMEOUT)] {
            deliveries.begin(key(scraper), 1, connection(deadline).1);
        }
        let decision = start + TIMEOUT + MARGIN;
        assert_eq!(deliveries.next_decision(), Some(decision));
        assert!(deliveries.due(decision - Duration::from_millis(1)).is_empty());
        assert_eq!(deliveries.due(decision), [(key("early"), 1)]);
        assert_eq!(deliveries.due(decision + TIMEOUT).len(), 2);
    }

    #[tokio::test]
    async fn a_begin_is_noticed_by_a_later_wait() {
        let deliveries = Deliveries::default();
        deliveries.begin(key("a"), 1, connection(Instant::now()).1);
        deliveries.begun().await;
        assert!(deliveries.begun().now_or_never().is_none());
    }

    #[tokio::test]
    async fn connections_with_one_name_have_their_own_responses_and_cursors() {
        let deliveries = Deliveries::default();
        let now = Instant::now();
        let cursor = |front| window::next(0, 100, None, front).cursor;
        let (one, other) = (connection(now), connection(now));
        let (first, second) = (of_connection("a", &one.0), of_connection("a", &other.0));
        deliveries.set_cursor(first.clone(), cursor(5), &one.0);
        deliveries.begin(first.clone(), 5, one.1);
        assert_eq!(deliveries.cursor(&second), None);
        deliveries.set_cursor(second.clone(), cursor(7), &other.0);
        deliveries.begin(second.clone(), 7, other.1);
        assert_eq!(deliveries.in_flight().len(), 2);
        drop(one.0.begin());
        let acknowledged = Some(Verdict::Acknowledged(AckBy::Reuse));
        assert_eq!(deliveries.verdict(&first, 5, now, None), acknowledged);
        assert_eq!(deliveries.verdict(&second, 7, now, None), Some(Verdict::Open));

        one.0.close();
        assert_eq!(deliveries.cursor(&first), Some(cursor(5)));
        let new = Use::default();
        deliveries.set_cursor(of_connection("a", &new), cursor(1), &new);
        assert_eq!(deliveries.cursor(&first), None, "it is closed");
        assert_eq!(deliveries.cursor(&second), Some(cursor(7)));
    }

    #[tokio::test]
    async fn entries_are_bounded() {
        let deliveries = Deliveries::default();
        let now = Instant::now();
        let cursor = window::next(0, 1, None, 1).cursor;
        let mut connections = Vec::new();
        for _ in 0..MAX_ENTRIES {
            let (in_use, scrape) = connection(now);
            deliveries.begin(of_connection("a", &in_use), 1, scrape);
            let entry = (cursor, in_use.clone());
            deliveries.state().cursors.insert(of_connection("a", &in_use), entry);
            connections.push(in_use);
        }
        let add = || {
            let (in_use, scrape) = connection(now);
            let key = of_connection("a", &in_use);
            deliveries.begin(key.clone(), 1, scrape);
            deliveries.set_cursor(key.clone(), cursor, &in_use);
            (deliveries.verdict(&key, 1, now, None).is_some(), deliveries.cursor(&key).is_some())
        };
        assert_eq!(add(), (false, false));
        let again = of_connection("a", &connections[0]);
        deliveries.begin(again.clone(), 2, connection(now).1);
        assert!(deliveries.verdict(&again, 2, now, None).is_some());
        connections[1].close();
        assert_eq!(add(), (true, true));
    }
}
