//! Posts: events on their way to the writer.

use super::{Collision, EventSettings, Events, Rejection, Timestamps};
use crate::{
    domain::{NewEvent, QueueId},
    store::StoreError,
};
use ring::digest::{SHA256, digest};
use std::{
    fmt::Write,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Events that are stored completely or not at all.
#[derive(Clone, Debug)]
pub struct Post {
    pub queue: QueueId,
    pub events: Vec<NewEvent>,
    /// Labels of the app that the queue belongs to. They are added to the events. None for the queue
    /// of the installation.
    pub app_labels: Option<Vec<(String, String)>>,
    pub key: Option<IdempotencyKey>,
}

/// The value of a header `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} visible ASCII characters", IdempotencyKey::MAX_LEN)]
pub struct InvalidKey;

impl IdempotencyKey {
    pub const MAX_LEN: usize = 255;
}

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let is_valid = (1..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidKey) }
    }
}

/// Events that were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    pub first_seq: i64,
    pub count: i64,
    /// Whether an earlier request with the same key stored them.
    pub is_repeat: bool,
}

/// Reasons why no event of a post was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostError {
    #[error(
        "{pending} events wait for the scrapers of this queue: it accepts no more until some are delivered or expire"
    )]
    Full { pending: i64 },
    #[error(
        "too many events: a queue accepts {} per second after a burst",
        super::rates::EVENTS_PER_SECOND
    )]
    TooFast(Duration),
    #[error(
        "too many new label sets: a queue accepts {} per hour; use labels with fewer different values",
        super::rates::NEW_SERIES_PER_HOUR
    )]
    Cardinality,
    #[error(
        "too many events with these labels: each needs a millisecond of its own, and the next free one is minutes ahead"
    )]
    SeriesTooFast,
    #[error("the Idempotency-Key was used by a request with other events; use a new key")]
    KeyReused,
    /// The number of the event counts from 0.
    #[error("event {0}: the time is more than 55 minutes ago or more than 1 minute ahead")]
    Time(usize),
    #[error("event {0}: label `n` is reserved, because events.collision is `ordinal`")]
    OrdinalLabel(usize),
    #[error("{0} events: a queue keeps at most {1} (events.max_pending); send several requests")]
    LargeBatch(usize, u64),
    #[error("the queue was deleted with its binding")]
    QueueGone,
    #[error("too many posts wait for the database; repeat the request later")]
    Busy,
    /// The events may still be stored.
    #[error(
        "the database is slow, and the events may still be stored; repeat the request with the same Idempotency-Key"
    )]
    Late,
    /// Anyone may post, so the text does not name the database.
    #[error("the database is not available; repeat the request later")]
    Store(#[source] Arc<StoreError>),
}

impl PostError {
    fn rejection(&self) -> Rejection {
        match self {
            Self::Full { .. } => Rejection::Pending,
            Self::TooFast(_) | Self::SeriesTooFast => Rejection::Rate,
            Self::Cardinality => Rejection::Cardinality,
            Self::KeyReused => Rejection::Key,
            Self::Time(_) => Rejection::Time,
            Self::OrdinalLabel(_) => Rejection::Label,
            Self::LargeBatch(..) => Rejection::TooLarge,
            Self::QueueGone => Rejection::Access,
            Self::Busy | Self::Late | Self::Store(_) => Rejection::Unavailable,
        }
    }
}

/// Maximum number of posts that wait for the writer, and of their bytes.
const MAX_WAITING: usize = 4_096;
const MAX_WAITING_BYTES: usize = 32 << 20;

/// Memory of a waiting event apart from its labels, in bytes. Not exact.
const EVENT_OVERHEAD: usize = 200;

/// Time for a post to be stored.
const POST_TIMEOUT: Duration = Duration::from_secs(2);

impl Events {
    /// Stores events. They are in the database when this returns.
    pub async fn post(&self, post: Post) -> Result<Posted, PostError> {
        let outcome = self.try_post(post).await;
        if let Err(error) = &outcome {
            self.0.metrics.rejected(error.rejection());
        }
        outcome
    }

    async fn try_post(&self, post: Post) -> Result<Posted, PostError> {
        let settings = self.0.settings(post.queue);
        check_labels(&post.events, settings)?;
        let events = post.events.len();
        if u64::try_from(events).is_ok_and(|events| events > settings.max_pending) {
            return Err(PostError::LargeBatch(events, settings.max_pending));
        }
        let rates = &self.0.rates;
        rates
            .take_events(post.queue, post.events.len(), Instant::now())
            .map_err(PostError::TooFast)?;
        let answer = self.0.waiting.push(post)?;
        match tokio::time::timeout(POST_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The writer has ended.
            Ok(Err(_)) => Err(PostError::Busy),
            Err(_) => Err(PostError::Late),
        }
    }
}

/// The label `n` numbers equal events of a response.
fn check_labels(events: &[NewEvent], settings: &EventSettings) -> Result<(), PostError> {
    let has_ordinals =
        settings.timestamps == Timestamps::Scrape && settings.collision == Collision::Ordinal;
    let reserved = events.iter().position(|event| event.labels.get("n").is_some());
    match reserved {
        Some(index) if has_ordinals => Err(PostError::OrdinalLabel(index)),
        _ => Ok(()),
    }
}

/// Posts that wait for the writer.
#[derive(Debug)]
pub(super) struct WaitingPosts {
    sender: mpsc::Sender<WaitingPost>,
    bytes: Arc<Semaphore>,
    /// The writer locks it.
    pub(super) receiver: Mutex<mpsc::Receiver<WaitingPost>>,
}

/// A post with everything that the writer stores, and where its outcome is awaited.
#[derive(Debug)]
pub(super) struct WaitingPost {
    pub(super) queue: QueueId,
    pub(super) events: Vec<WaitingEvent>,
    pub(super) key: Option<RequestKey>,
    pub(super) answer: oneshot::Sender<Result<Posted, PostError>>,
    _memory: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(super) struct WaitingEvent {
    pub(super) series: String,
    pub(super) labels: String,
    pub(super) value: String,
    pub(super) time: Option<i64>,
}

/// An idempotency key, and what identifies the events of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestKey {
    pub(super) key: String,
    pub(super) digest: String,
}

impl Default for WaitingPosts {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let bytes = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Self { sender, bytes, receiver: Mutex::new(receiver) }
    }
}

impl WaitingPosts {
    pub(super) fn push(
        &self,
        post: Post,
    ) -> Result<oneshot::Receiver<Result<Posted, PostError>>, PostError> {
        // The labels of the app may change between a request and its repeat.
        let key = post.key.map(|key| RequestKey { key: key.0, digest: digest_of(&post.events) });
        let app_labels = post.app_labels.as_deref();
        let events = post.events.into_iter().map(|event| WaitingEvent::new(event, app_labels));
        let events: Vec<_> = events.collect();
        let bytes: usize = events.iter().map(|it| it.labels.len() + EVENT_OVERHEAD).sum();
        let bytes = u32::try_from(bytes).map_err(|_| PostError::Busy)?;
        let memory = Arc::clone(&self.bytes).try_acquire_many_owned(bytes);
        let (answer, outcome) = oneshot::channel();
        let waiting = WaitingPost {
            queue: post.queue,
            events,
            key,
            answer,
            _memory: memory.map_err(|_| PostError::Busy)?,
        };
        self.sender.try_send(waiting).map_err(|_| PostError::Busy)?;
        Ok(outcome)
    }
}

impl WaitingEvent {
    fn new(event: NewEvent, app_labels: Option<&[(String, String)]>) -> Self {
        let labels = match app_labels {
            Some(app) => event.labels.of_app(app.iter().map(|(name, value)| (&**name, &**value))),
            None => event.labels,
        };
        let labels = labels.to_json();
        let series = hex(&digest(&SHA256, labels.as_bytes()).as_ref()[..16]);
        Self { series, labels, value: event.value.to_string(), time: event.time }
    }
}

fn digest_of(events: &[NewEvent]) -> String {
    let mut text = String::new();
    for event in events {
        // Writing to a String cannot fail. JSON contains no line break.
        let _ = writeln!(text, "{} {} {:?}", event.labels.to_json(), event.value, event.time);
    }
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventLabels, EventValue};

    fn event(labels: &[(&str, &str)]) -> NewEvent {
        let labels = EventLabels::new(labels.iter().copied()).unwrap();
        NewEvent { labels, value: EventValue::default(), time: None }
    }

    fn post(events: Vec<NewEvent>) -> Post {
        Post { queue: QueueId::INSTALLATION, events, app_labels: None, key: None }
    }

    #[test]
    fn keys_are_short_and_visible() {
        assert!("a-1:/~".parse::<IdempotencyKey>().is_ok());
        for text in ["", "a b", "é", "a\n", &"x".repeat(256)] {
            assert_eq!(text.parse::<IdempotencyKey>(), Err(InvalidKey), "{text:?}");
        }
    }

    #[test]
    fn waiting_posts_are_limited_in_number_and_size() {
        let waiting = WaitingPosts::default();
        let large = vec![event(&[("text", &"x".repeat(256))]); 50_000];
        let _first = waiting.push(post(large.clone())).unwrap();
        assert!(matches!(waiting.push(post(large.clone())), Err(PostError::Busy)));
        drop(waiting.receiver.try_lock().unwrap().try_recv().unwrap());
        let _second = waiting.push(post(large)).unwrap();

        let waiting = WaitingPosts::default();
        let small = || waiting.push(post(vec![event(&[])]));
        let _answers: Vec<_> = (0..MAX_WAITING).map(|_| small().unwrap()).collect();
        assert!(matches!(small(), Err(PostError::Busy)));
    }

    #[test]
    fn a_key_identifies_the_events_without_the_labels_of_the_app() {
        let key_of = |events: Vec<NewEvent>, app: Option<&str>| {
            let waiting = WaitingPosts::default();
            let app_labels = app.map(|app| vec![("app_name".to_owned(), app.to_owned())]);
            let key = Some("k".parse().unwrap());
            let _answer = waiting.push(Post { app_labels, key, ..post(events) }).unwrap();
            let sent = waiting.receiver.try_lock().unwrap().try_recv().unwrap();
            (sent.key.unwrap(), sent.events[0].series.clone(), sent.events[0].labels.clone())
        };
        let deploy = || vec![event(&[("type", "deploy")])];
        let (plain, series, labels) = key_of(deploy(), None);
        assert_eq!(labels, r#"{"type":"deploy"}"#);
        assert_eq!(series, "d32f7877d71f80b0db4d7fff9e30f1f3");
        let (of_app, other_series, labels) = key_of(deploy(), Some("shop"));
        assert_eq!(labels, r#"{"app_name":"shop","type":"deploy"}"#);
        assert_eq!(plain, of_app);
        assert_ne!(series, other_series);
        let timed = NewEvent { time: Some(1), ..event(&[("type", "deploy")]) };
        assert_ne!(plain, key_of(vec![timed], None).0);
        assert_ne!(plain, key_of([deploy(), deploy()].concat(), None).0);
    }

    #[test]
    fn ordinals_reserve_a_label() {
        let events = [event(&[]), event(&[("n", "2")])];
        let ordinal = EventSettings { collision: Collision::Ordinal, ..EventSettings::default() };
        assert!(matches!(check_labels(&events, &ordinal), Err(PostError::OrdinalLabel(1))));
        assert!(check_labels(&events, &EventSettings::default()).is_ok());
        assert!(check_labels(&events, &ordinal.for_binding()).is_ok());
    }
}
