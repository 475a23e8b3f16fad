//! Log levels and formats.

use super::logfmt::Logfmt;
use std::io::{self, IsTerminal};
use tracing::Subscriber;
use tracing_subscriber::{
    Layer, filter,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Libraries whose log lines are suppressed. Scrapebroker logs their errors itself. At level
/// `trace`, `async_nats` would log passwords.
const SUPPRESSED: &[&str] = &["async_nats", "kube_client"];

/// Logs its startup at `info`, which Scrapebroker logs too.
const NOISY: &str = "actix_server";

/// Suppresses lines of [`NOISY`] below `warn`, unless `level` is `debug` or contains `actix`.
fn with_quiet_targets(filter: Targets) -> Targets {
    let is_named = filter.iter().any(|(target, _)| target.starts_with("actix"));
    match filter.default_level() {
        Some(level) if level < LevelFilter::DEBUG && !is_named => {
            filter.with_target(NOISY, level.min(LevelFilter::WARN))
        }
        _ => filter,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For humans, colored on a terminal.
    Text,
    /// For programs: one JSON object per line.
    Json,
    /// For both: keys and values in one line.
    Logfmt,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The level is not a valid filter.
    #[error("log.level is not a filter")]
    Level(#[source] filter::ParseError),
    /// Logging was initialized before.
    #[error("logging is already set up")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Initializes the log of the process on standard error.
///
/// `level` is a level such as `info`, or a list of directives such as `warn,scrapebroker=debug`.
///
/// # Errors
///
/// Returns an error if `level` is invalid or if logging was initialized before.
pub fn init(level: &str, format: Format) -> Result<(), InitError> {
    let colours = io::stderr().is_terminal();
    Ok(subscriber(level, format, colours, io::stderr)?.try_init()?)
}

pub(super) fn subscriber<W>(
    level: &str,
    format: Format,
    colours: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, InitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter: Targets = level.parse().map_err(InitError::Level)?;
    let filter = with_quiet_targets(filter);
    let filter = SUPPRESSED
        .iter()
        .fold(filter, |filter, target| filter.with_target(*target, LevelFilter::OFF));
    // A closed standard error must not cause a panic.
    let lines = fmt::layer().with_writer(writer).with_ansi(colours).log_internal_errors(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
        }
        // Without colors, which would be part of the values.
        Format::Logfmt => lines.with_ansi(false).event_format(Logfmt).fmt_fields(Logfmt).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(lines))
}
