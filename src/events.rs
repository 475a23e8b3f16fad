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

pub mod deferred;
pub mod deliveries;
pub mod evidence;
pub mod hold_log;
pub mod render;
mod scraper_name;
pub mod selection;
mod settings;
pub mod sockets;
pub mod window;

pub use scraper_name::{ScraperName, ScraperNameError};
pub use settings::{Collision, EventSettings, Redelivery, StartPolicy, Timestamps};
