//! The registry of Scrapebroker's own metrics, and their exposition. Modules register their metric
//! families.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::Registry,
};
use std::fmt::{self, Write};

/// A registry that contains `scrapebroker_build_info` and `process_*`.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "scrapebroker_build",
        "Version of this Scrapebroker",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry.register_collector(Box::new(Process));
    registry
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Selects the format for an `Accept` header. OpenMetrics is used if the header contains it.
    pub fn negotiate(accept: &str) -> Self {
        let media_type = |entry: &str| {
            let name = entry.split(';').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("application/openmetrics-text")
        };
        if accept.split(',').any(media_type) { Self::OpenMetrics } else { Self::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Renders all families of `registry`.
///
/// # Errors
/// Returns an error only if a collector fails.
pub fn render(registry: &Registry, format: Format) -> Result<String, fmt::Error> {
    let mut openmetrics = String::new();
    encode(&mut openmetrics, registry)?;
    Ok(match format {
        Format::OpenMetrics => openmetrics,
        Format::Text => as_text(&openmetrics),
    })
}

/// Converts the output of prometheus-client to text format 0.0.4. There, a family has the name of
/// its samples, `# UNIT` and `# EOF` are not allowed, and an info is a gauge.
fn as_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let lines: Vec<&str> = openmetrics.lines().collect();
    let type_of = |family: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(family)?.strip_prefix(' '))
    };
    for line in &lines {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(kind @ ("HELP" | "TYPE")), Some(family), Some(rest)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (suffix, written) = match type_of(family) {
            Some("counter") => ("_total", rest),
            Some("info") if kind == "TYPE" => ("_info", "gauge"),
            Some("info") => ("_info", rest),
            Some("unknown") if kind == "TYPE" => ("", "untyped"),
            _ => ("", rest),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# {kind} {family}{suffix} {written}");
    }
    text
}

/// `process_*` metrics, as in Prometheus client libraries.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Without a readable /proc the series are missing.
        let Ok(process) = procfs::process::Process::myself() else { return Ok(()) };
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        if let Ok(stat) = process.stat() {
            let ticks = procfs::ticks_per_second() as f64;
            let resident = stat.rss.saturating_mul(procfs::page_size());
            gauge("process_resident_memory_bytes", "Resident memory", resident as f64)?;
            gauge("process_virtual_memory_bytes", "Virtual memory", stat.vsize as f64)?;
            gauge("process_threads", "Threads", stat.num_threads as f64)?;
            if let Ok(boot) = procfs::boot_time_secs() {
                let start = boot as f64 + stat.starttime as f64 / ticks;
                gauge("process_start_time_seconds", "Start, in seconds since 1970", start)?;
            }
            let cpu = ConstCounter::new((stat.utime + stat.stime) as f64 / ticks);
            let help = "User and system CPU time spent, in seconds";
            let kind = cpu.metric_type();
            cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, kind)?)?;
        }
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        if let Ok(open) = process.fd_count() {
            gauge("process_open_fds", "Open file descriptors", open as f64)?;
        }
        if let Ok(limits) = process.limits()
            && let procfs::process::LimitValue::Value(max) = limits.max_open_files.soft_limit
        {
            gauge("process_max_fds", "Most file descriptors that may be open", max as f64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn text_format_has_the_family_names_of_its_samples() {
        let mut registry = registry();
        registry.register("things", "Things counted", Counter::<u64>::default());
        let text = render(&registry, Format::Text).unwrap();
        for expected in [
            "# TYPE things_total counter\nthings_total 0\n",
            "# TYPE scrapebroker_build_info gauge\n",
            "# TYPE process_cpu_seconds_total counter\n",
            "# TYPE process_open_fds gauge\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        let openmetrics = render(&registry, Format::OpenMetrics).unwrap();
        assert!(openmetrics.ends_with("# EOF\n"), "{openmetrics}");
    }

    #[test]
    fn openmetrics_requires_an_accept_header() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::negotiate(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/html,*/*;q=0.8", "text/plain"] {
            assert_eq!(Format::negotiate(other), Format::Text, "{other}");
        }
    }
}
