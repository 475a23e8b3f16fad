//! Queries the Prometheus of a service instance, for its users and for Scrapebroker's pages.
//!
//! ```text
//! path, method ─► ReadEndpoint (allow-list) ─► PrometheusClient::forward ─► Tries: a replica, or
//!                                                   │                      another if it fails or hangs
//!                         QueryResponse: head, and a body that is streamed
//! ```
//!
//! # Invariants
//!
//! * Requests that are not on the allow-list are not forwarded ([`ReadEndpoint::find`]).
//! * Only the headers that a read needs are forwarded, in both directions. The user's credentials
//!   are replaced with those of the instance.
//! * A long body is never buffered as a whole, and a truncated body always ends with an error.
//! * A query fails only if no replica responds. After the first byte of a response, it is not sent
//!   to another replica. Nor is a write, or a request whose long body was read, once it was sent.
//! * Dropping a future or a body closes its connection, and Prometheus then cancels the query.

mod backend;
mod body;
mod breaker;
mod client;
mod failure;
mod forward;
mod gaps;
mod instance_pools;
mod latency;
mod locator;
mod locators;
mod metrics_text;
mod pool;
mod reads;
mod replica_api;
mod request;
mod rule_paths;
mod server_state;
mod server_states;
mod streamed_body;
mod summaries;
mod summary;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tries;
mod upstream;
mod writes;

pub use backend::QueryBackend;
pub use body::ResponseBody;
pub use breaker::BreakerState;
pub use client::PrometheusClient;
pub use failure::QueryFailure;
pub use forward::QueryResponse;
pub use gaps::{KnownGaps, ReplicaGaps, TimeRange, TimeRanges};
pub use instance_pools::InstancePools;
pub use locator::{LocatedReplica, Locator, LocatorError};
pub use locators::{
    DcosLogin, DcosSecret, EndpointsFile, KubernetesLocator, KubernetesName, KubernetesPort,
    KubernetesSettings, KubernetesSource, LabelSelector, MarathonAppId, MarathonLocator,
    MarathonSettings, StaticUrls,
};
use pool::unix_milliseconds;
pub use pool::{
    Affinity, CookieKey, Health, LocatorSettings, LocatorStatus, Measurement, Pool, PoolClient,
    PoolCredentials, PoolMetrics, PoolMonitor, PoolReplica, PoolResponse, PoolSettings,
    PoolSnapshot, PoolsCollector, ProvisionedInstances, Strategy, client_address, unix_time,
};
pub use reads::ReadEndpoint;
pub use request::{BodyContent, BodyKind, QueryRequest, RequestBody};
pub use rule_paths::RulePathFormat;
pub use server_state::{ServerState, ServerStatus};
pub use server_states::ServerStates;
pub use streamed_body::{RequestBodyError, StreamedBody};
pub use summaries::{BriefSummary, Summaries};
pub use summary::{
    Alert, AlertList, Alerts, MetricName, MetricNameError, MetricRange, RangeSeries, Storage,
    Summary, TargetCounts, TargetHealth, TargetStatus,
};
pub use upstream::{Authorization, Hedge, Server, TryLimits, Upstream};
pub use writes::Writes;
