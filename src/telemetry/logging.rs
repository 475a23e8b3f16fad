//! The log: levels and formats.

use std::io::{self, IsTerminal};
use tracing::Subscriber;
use tracing_subscriber::{
    Layer, filter,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Libraries whose lines are hidden: this program logs their errors itself, once. At `trace` this
/// one would log passwords.
const UNWANTED: &[&str] = &["async_nats"];

/// Logs its own start at `info`, which this program logs too.
const CHATTY: &str = "actix_server";

/// Hides the lines of [`CHATTY`] unless `level` is `debug` or names them.
fn quieted(filter: Targets) -> Targets {
    let is_named = filter.iter().any(|(target, _)| target.starts_with("actix"));
    match filter.default_level() {
        Some(level) if level < LevelFilter::DEBUG && !is_named => {
            filter.with_target(CHATTY, level.min(LevelFilter::WARN))
        }
        _ => filter,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The level is not a list of directives.
    #[error("log.level is not a filter")]
    Level(#[source] filter::ParseError),
    /// A subscriber was installed before.
    #[error("logging is already set up")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Installs the log of the process, on standard error.
///
/// `level` is `info`, or directives like `warn,scrapebroker=debug`.
///
/// # Errors
///
/// When `level` is not understood, and when it is called twice.
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
    let filter = quieted(filter);
    let filter = UNWANTED
        .iter()
        .fold(filter, |filter, target| filter.with_target(*target, LevelFilter::OFF));
    // A closed standard error must not turn a log line into a panic.
    let lines = fmt::layer().with_writer(writer).with_ansi(colours).log_internal_errors(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
        }
    };
    Ok(tracing_subscriber::registry().with(filter).with(lines))
}
