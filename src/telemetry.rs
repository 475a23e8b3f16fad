//! Logs, request spans and metrics of Scrapebroker.
//!
//! A log message is a constant phrase, and all values are fields. Secrets, bodies and values of
//! unknown query parameters are never logged.

mod causes;
mod guarded_body;
mod logfmt;
mod logging;
pub mod metrics;
mod own_scrapes;
mod root_span;
pub mod running;

pub use causes::causes;
pub use guarded_body::GuardedBody;
pub use logging::{Format, InitError, init};
pub use own_scrapes::OwnScrapeMetrics;
pub use root_span::RequestSpan;

#[cfg(test)]
mod tests;
