//! Makes Prometheus metrics a service of the platform: fetches the metrics of
//! all instances of an app, and answers with one merged, labelled exposition.
//!
//! Data flows one way. A platform tells the [`broker`] how an app is scraped;
//! sources of routes fill the table of [`discovery`]; a scraper's request walks
//! look-up, fan-out ([`scrape`]) and merge ([`exposition`]), and [`http`] writes
//! the answer.
//!
//! Three jobs are independent of it: the [`provisioner`] runs Prometheus servers,
//! [`query`] sends queries to replicas, and [`events`] delivers posted events to
//! every scraper.
//!
//! `tests/architecture.rs` checks two rules: each module imports only modules below it ([`app`] and
//! [`cli`] import all), and requests are handled only in [`http`], SQL only in [`store`].
//! [`domain`] and the crate [`exposition`] use neither sockets nor clocks.

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from; `unknown` outside of a repository.
pub const COMMIT: &str = env!("SCRAPEBROKER_COMMIT");

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod domain;
pub mod events;
pub mod http;
pub mod net;
pub mod provisioner;
pub mod query;
pub mod scrape;
pub mod secrets;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod tsuru;

/// The examples of the documentation are tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/INSTRUMENTING.md")]
struct Instrumenting;
