//! A Prometheus of one's own: what plans mean, what users may ask for, and what
//! an instance should be like.
//!
//! ```text
//! catalog metadata ──► PrometheusPlan ─┐
//! user's parameters ─► PrometheusParams ─────────┴─► Spec ──► what is provisioned
//! ```

mod alertmanager;
mod names;
mod params;
mod period;
mod plan;
mod policy;
mod replica;
mod spec;

pub use alertmanager::{AlertmanagerUrl, Allowed, is_public};
pub use names::{segment, slug};
pub use params::PrometheusParams;
pub use period::Period;
pub use plan::{Bounds, MOST_REPLICAS, PrometheusPlan, Storage};
pub use policy::{ProvisionPolicy, Refusal};
pub use replica::{Replica, ReplicaState};
pub use spec::{LossOfData, Spec};

/// The user of basic auth in front of every Prometheus; the password is each one's own.
pub const WEB_USER: &str = "scrapebroker";

#[cfg(test)]
mod tests;
