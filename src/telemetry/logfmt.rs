//! Log lines in logfmt, as those of Prometheus and its exporters: `ts=… level=info msg="…" key=value`.
//!
//! A value is quoted like a JSON string if it is necessary, which Go's parsers of logfmt expect.

use super::causes;
use std::{
    error::Error,
    fmt::{self, Debug, Write},
    time::SystemTime,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::{LookupSpan, Scope},
};

/// Formats events and the fields of spans.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logfmt;

/// Field with the phrase of an event.
const MESSAGE: &str = "message";

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        write!(writer, "ts={now} level={level} target={}", metadata.target())?;
        let mut pairs = Pairs { text: String::new(), message: None };
        event.record(&mut pairs);
        if let Some(message) = &pairs.message {
            writer.write_str(" msg=")?;
            write_value(&mut writer, message)?;
        }
        writer.write_str(&pairs.text)?;
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().map(|fields| fields.fields.trim());
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                write!(writer, " {fields}")?;
            }
        }
        writeln!(writer)
    }
}

impl<'writer> FormatFields<'writer> for Logfmt {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut pairs = Pairs { text: String::new(), message: None };
        fields.record(&mut pairs);
        writer.write_str(pairs.text.trim_start())
    }
}

/// Fields, each after a space.
struct Pairs {
    text: String,
    message: Option<String>,
}

impl Pairs {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.message = Some(value.to_owned());
            return;
        }
        // Writing to a string does not fail.
        let _ = write!(self.text, " {}=", field.name());
        let _ = write_value(&mut self.text, value);
    }
}

impl Visit for Pairs {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, &causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

fn write_value(writer: &mut impl Write, value: &str) -> fmt::Result {
    let is_special = |c: char| c <= ' ' || c.is_control() || c == '=' || c == '"';
    match value.is_empty() || value.chars().any(is_special) {
        true => write!(writer, "{}", serde_json::Value::from(value)),
        false => writer.write_str(value),
    }
}
