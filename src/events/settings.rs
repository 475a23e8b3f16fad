//! Settings of events.

use std::time::Duration;

/// Settings of all queues. A queue that belongs to a binding uses [`EventSettings::for_binding`].
#[derive(Clone, Debug)]
pub struct EventSettings {
    /// Name of the family of events, and prefix of the other families.
    pub metric: String,
    pub timestamps: Timestamps,
    /// With explicit timestamps: how long an event is repeated after it was first offered.
    pub hold: Duration,
    pub start: StartPolicy,
    /// Age at which an event is not offered any more.
    pub ttl: Duration,
    pub collision: Collision,
    pub redelivery: Redelivery,
    /// Maximum number of events that a queue keeps for its scrapers.
    pub max_pending: u64,
    pub max_scrape_samples: usize,
    /// Maximum number of scrapers of a queue.
    pub max_scrapers: usize,
    /// Whether a scrape returns the counters of each label set.
    pub counters: bool,
    /// How long delivered events are shown.
    pub history: Duration,
}

/// The timestamps of exposed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// None: the scraper stores the time of its scrape.
    Scrape,
    /// That of the event. Repeated samples are then stored once.
    Explicit,
}

/// The events that a new scraper gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPolicy {
    /// Events after its first scrape.
    Latest,
    /// All events that the queue has.
    Earliest,
    /// Events that are not older than this.
    Ago(Duration),
}

/// What happens to an event if an event with equal labels is in the same response, without explicit
/// timestamps: a response has one sample per series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collision {
    /// It is delivered by the next scrape.
    Defer,
    /// Its value is added.
    Sum,
    /// Its value replaces that of the event before.
    Last,
    /// It gets the label `n` with its number among these events.
    Ordinal,
}

/// What happens to a response whose delivery is not certain, without explicit timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// Its events are delivered again: at least once.
    UntilAcknowledged,
    /// Its events are not delivered again: at most once.
    Never,
}

/// The shortest [`StartPolicy`] of a binding's queue. The queue's Prometheus reads its targets some
/// time after the first event.
const BINDING_START: Duration = Duration::from_mins(5);

impl EventSettings {
    /// Settings of a queue that belongs to a binding. Its scrapers are the replicas of dedicated
    /// Prometheus instances, which share an address and credentials. Only explicit timestamps
    /// deliver each event to each of them.
    #[must_use]
    pub fn for_binding(&self) -> Self {
        let start = match self.start {
            StartPolicy::Earliest => StartPolicy::Earliest,
            StartPolicy::Ago(age) => StartPolicy::Ago(age.max(BINDING_START)),
            StartPolicy::Latest => StartPolicy::Ago(BINDING_START),
        };
        Self { timestamps: Timestamps::Explicit, start, counters: true, ..self.clone() }
    }
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            metric: "events_to_metrics".to_owned(),
            timestamps: Timestamps::Scrape,
            hold: Duration::from_mins(2),
            start: StartPolicy::Latest,
            ttl: Duration::from_mins(50),
            collision: Collision::Defer,
            redelivery: Redelivery::UntilAcknowledged,
            max_pending: 100_000,
            max_scrape_samples: 5_000,
            max_scrapers: 16,
            counters: false,
            history: Duration::from_hours(24),
        }
    }
}
