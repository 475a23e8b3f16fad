//! Makes Prometheus metrics a service of the platform: fetches the metrics of
//! all instances of an app, and answers with one merged, labelled exposition.
//!
//! Data flows one way. A platform tells the [`broker`] how an app is scraped;
//! sources of routes fill the table of [`discovery`]; a scraper's request walks
//! look-up, fan-out ([`scrape`]) and merge ([`exposition`]), and [`http`] writes
//! the answer.
//!
//! Two rules hold the house together, and `tests/architecture.rs` keeps them:
//! imports point inwards ([`startup`] alone knows every room), and foreign
//! vocabulary stays at the edge (requests in [`http`], SQL in [`store`];
//! [`exposition`] and [`domain`] know neither sockets nor clocks).

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from; `unknown` outside of a repository.
pub const COMMIT: &str = env!("SCRAPEBROKER_COMMIT");

pub mod broker;
pub mod config;
pub mod demo;
pub mod demo_app;
pub mod discovery;
pub mod domain;
pub mod http;
pub mod merge_files;
pub mod net;
pub mod provision;
pub mod query;
pub mod scrape;
pub mod sd_export;
pub mod secrets;
pub mod shutdown;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod tls;
