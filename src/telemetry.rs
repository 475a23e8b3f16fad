//! What we tell about ourselves: log lines and the span of each request.
//!
//! A message is a sentence for people, everything to search for is a field.
//! Secrets, bodies and values of unknown query parameters are never logged.

mod causes;
mod logging;
pub mod metrics;
mod root_span;
pub mod running;

pub use causes::causes;
pub use logging::{Format, InitError, init};
pub use root_span::RequestSpan;

#[cfg(test)]
mod tests;
