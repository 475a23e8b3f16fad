//! Dedicated Prometheus instances: the settings of a plan, the parameters of a user, and the spec
//! of an instance that results from both.
//!
//! ```text
//! metadata of the plan ──► PrometheusPlan ───┐
//! parameters of the user ► PrometheusParams ─┴─► Spec ──► provisioner
//! ```

mod alertmanager;
mod names;
mod params;
mod period;
mod plan;
mod policy;
mod replica;
mod spec;
mod stored;

pub use alertmanager::{AlertmanagerUrl, Allowed, is_public};
pub use names::{segment, slug};
pub use params::PrometheusParams;
pub use period::Period;
pub use plan::{Bounds, MAX_REPLICAS, PrometheusPlan, Storage};
pub use policy::{ProvisionPolicy, Refusal};
pub use replica::{Replica, ReplicaState};
pub use spec::{DataLoss, Spec};
pub use stored::StoredPrometheus;

/// Basic auth user of all provisioned Prometheus servers. Each instance has a different password.
pub const WEB_USER: &str = "scrapebroker";

#[cfg(test)]
mod tests;
