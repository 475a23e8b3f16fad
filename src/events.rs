//! Events: posted once, delivered to each scraper once.
//!
//! ```text
//!            POST                     scrape                       evidence good
//!  (nothing) ──────► stored, pending ─────────► in flight (batch) ───────────────► acknowledged
//!              │        ▲    │  │                   │
//!      commit ─┘        │    │  │ ttl               │ evidence bad, or unknown after a restart
//!                       │    │  └──► expired        │
//!                       │    └─────► evicted        │  (its scraper was forgotten to make room)
//!                       └───────────────────────────┘
//! ```
//!
//! # Invariants
//!
//! * An event is acknowledged to its poster after it was committed.
//! * A batch without explicit timestamps is committed before its first byte is sent.
//! * An event leaves a scraper's queue only if it was acknowledged, has expired or was evicted. The
//!   last two are counted.

pub mod backlog;
mod batches;
pub mod deferred;
pub mod deliveries;
pub mod evidence;
pub mod hold_log;
mod ledger;
mod metrics;
mod post;
pub mod presence;
mod rates;
mod registration;
pub mod render;
mod repeats;
mod resolver;
mod scrape;
mod scraper_name;
pub mod selection;
mod settings;
pub mod sockets;
mod states;
mod sweep;
mod timeline;
pub mod window;
mod writer;

#[cfg(test)]
mod testing;

use crate::{
    domain::QueueId,
    store::{Store, StoreError},
};
pub use evidence::ScrapeConnection;
pub use metrics::{EventMetrics, Rejection};
pub use post::{IdempotencyKey, InvalidKey, Post, PostError, Posted};
pub use scrape::{Exposition, ScrapeError, ScrapeRequest};
pub use scraper_name::{ScraperName, ScraperNameError};
pub use settings::{Collision, EventSettings, Redelivery, StartPolicy, Timestamps};
pub use states::{QueueState, QueueStates, ScraperState};
use std::sync::Arc;
pub use timeline::{
    EventDelivery, EventState, ScraperDelivery, Timeline, TimelineEvent, TimelineFilter,
};
use tokio::sync::Semaphore;
pub use writer::SCRAPER_IDLE;

/// Maximum number of scrapes that read events at once. Others wait.
const MAX_SCRAPES: usize = 8;

/// The events of all queues. Clones share their state.
///
/// [`Events::write`], [`Events::resolve_deliveries`] and [`Events::sweep`] must run.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    settings: EventSettings,
    binding_settings: EventSettings,
    metrics: EventMetrics,
    waiting: post::WaitingPosts,
    rates: rates::Rates,
    presence: presence::Presence,
    deliveries: deliveries::Deliveries,
    hold_logs: hold_log::HoldLogs,
    /// Limits the memory of scrapes.
    scrapes: Semaphore,
    /// Identifies this process in batches.
    replica: String,
}

impl Events {
    /// # Errors
    /// [`StoreError::Unavailable`] if the database is not available.
    pub async fn open(
        store: Store,
        settings: EventSettings,
        metrics: EventMetrics,
    ) -> Result<Self, StoreError> {
        let shared = Shared {
            store,
            binding_settings: settings.for_binding(),
            settings,
            metrics,
            waiting: post::WaitingPosts::default(),
            rates: rates::Rates::default(),
            presence: presence::Presence::default(),
            deliveries: deliveries::Deliveries::default(),
            hold_logs: hold_log::HoldLogs::default(),
            scrapes: Semaphore::new(MAX_SCRAPES),
            replica: uuid::Uuid::new_v4().to_string(),
        };
        shared.refresh_states().await?;
        Ok(Self(Arc::new(shared)))
    }

    /// The settings of a queue.
    pub fn settings(&self, queue: QueueId) -> &EventSettings {
        self.0.settings(queue)
    }

    pub fn metrics(&self) -> &EventMetrics {
        &self.0.metrics
    }

    /// The states of all queues at the last sweep.
    pub fn states(&self) -> Arc<QueueStates> {
        self.0.metrics.states.load_full()
    }
}

impl Shared {
    fn settings(&self, queue: QueueId) -> &EventSettings {
        if queue == QueueId::INSTALLATION { &self.settings } else { &self.binding_settings }
    }
}
