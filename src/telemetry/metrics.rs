//! The registry of Scrapebroker's own metrics, and their exposition. Modules register their metric
//! families.

use procfs::process::LimitValue;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        info::Info,
    },
    registry::{Metric, Registry},
};
use std::fmt::{self, Write};

/// A registry that contains `scrapebroker_build_info` and `process_*`.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "scrapebroker_build",
        "Version of this Scrapebroker",
        Info::new([("version", env!("CARGO_PKG_VERSION")), ("revision", crate::COMMIT)]),
    );
    registry.register_collector(Box::new(Process));
    registry
}

/// Registers a metric and returns it. A counter's name is written without `_total`.
pub fn register<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// One label.
pub type Label<V> = [(&'static str, V); 1];

/// Counters that differ in the value of one label. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct CounterByLabel {
    label: &'static str,
    counters: Family<Label<&'static str>, Counter>,
}

impl CounterByLabel {
    /// Registers the counters. Each of `values` has a counter from the start.
    pub fn register(
        registry: &mut Registry,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let counters = register(registry, name, help, Family::default());
        let family = Self { label, counters };
        values.into_iter().for_each(|value| family.add(value, 0));
        family
    }

    pub fn count(&self, value: &'static str) {
        self.add(value, 1);
    }

    pub fn add(&self, value: &'static str, number: u64) {
        self.counters.get_or_create(&[(self.label, value)]).inc_by(number);
    }
}

/// Encodes a metric without labels, for collectors.
///
/// # Errors
/// Returns errors of `encoder`.
pub fn encode_metric(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Encodes metrics that differ in the value of one label, for collectors.
///
/// # Errors
/// Returns errors of `encoder`.
pub fn encode_family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    metrics: impl IntoIterator<Item = (&'a str, M)>,
) -> fmt::Result {
    let metrics = metrics.into_iter().map(|(value, metric)| ([(label, value)], metric));
    encode_families(encoder, name, help, metrics)
}

/// Encodes metrics that differ in their labels, for collectors.
///
/// # Errors
/// Returns errors of `encoder`.
pub fn encode_families<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metrics: impl IntoIterator<Item = (L, M)>,
) -> fmt::Result {
    let mut metrics = metrics.into_iter().peekable();
    let Some((_, first)) = metrics.peek() else { return Ok(()) };
    let mut family = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    metrics.try_for_each(|(labels, metric)| metric.encode(family.encode_family(&labels)?))
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
        let encoder = &mut encoder;
        let gauge = |encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64| {
            encode_metric(encoder, name, help, &ConstGauge::new(value))
        };
        if let Ok(stat) = process.stat() {
            let ticks = procfs::ticks_per_second() as f64;
            let resident = stat.rss.saturating_mul(procfs::page_size());
            gauge(encoder, "process_resident_memory_bytes", "Resident memory", resident as f64)?;
            gauge(encoder, "process_virtual_memory_bytes", "Virtual memory", stat.vsize as f64)?;
            gauge(encoder, "process_threads", "Threads", stat.num_threads as f64)?;
            if let Ok(boot) = procfs::boot_time_secs() {
                let start = boot as f64 + stat.starttime as f64 / ticks;
                gauge(
                    encoder,
                    "process_start_time_seconds",
                    "Start, in seconds since 1970",
                    start,
                )?;
            }
            let cpu = ConstCounter::new((stat.utime + stat.stime) as f64 / ticks);
            let help = "User and system CPU time spent, in seconds";
            encode_metric(encoder, "process_cpu_seconds", help, &cpu)?;
        }
        if let Ok(open) = process.fd_count() {
            gauge(encoder, "process_open_fds", "Open file descriptors", open as f64)?;
        }
        if let Ok(limits) = process.limits() {
            // Client libraries of Prometheus report -1 for an unlimited address space.
            let memory = match limits.max_address_space.soft_limit {
                LimitValue::Value(bytes) => bytes as f64,
                LimitValue::Unlimited => -1.0,
            };
            let help = "Maximum virtual memory, -1 if it is unlimited";
            gauge(encoder, "process_virtual_memory_max_bytes", help, memory)?;
            if let LimitValue::Value(max) = limits.max_open_files.soft_limit {
                let help = "Most file descriptors that may be open";
                gauge(encoder, "process_max_fds", help, max as f64)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
