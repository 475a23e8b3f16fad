//! A Prometheus of one's own: what plans mean, what users may ask for, and what
//! an instance should be like.
//!
//! ```text
//! catalog metadata ──► PrometheusPlan ─┐
//! user's parameters ─► Wishes ─────────┴─► Spec ──► what is provisioned
//! ```

mod admission;
mod alertmanager;
mod names;
mod period;
mod plan;
mod replica;
mod spec;
mod wishes;

pub use admission::{Admission, Refusal};
pub use alertmanager::{AlertmanagerUrl, Allowed, is_public};
pub use names::{segment, slug};
pub use period::Period;
pub use plan::{Bounds, MOST_REPLICAS, PrometheusPlan, Storage};
pub use replica::{Replica, ReplicaState};
pub use spec::{LossOfData, Spec};
pub use wishes::Wishes;

/// The user of basic auth in front of every Prometheus; the password is each one's own.
pub const WEB_USER: &str = "scrapebroker";

#[cfg(test)]
mod tests;
