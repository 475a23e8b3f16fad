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
use std::{fmt, str::FromStr};

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

/// Prefix of the names of all own metrics, except for those of promfetcher and `process_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// The namespace in which modules register their metrics.
    pub const DEFAULT: &'static str = "scrapebroker";
    /// Maximum length, in bytes.
    const MAX_LEN: usize = 64;
    /// Names of other own metrics begin with these prefixes.
    const OTHERS: [&'static str; 2] = ["process", "promfetch"];
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl FromStr for Namespace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if !is_word || !begins || text.ends_with('_') || text.len() > Self::MAX_LEN {
            return Err(format!(
                "is not a prefix of metrics: write at most {} letters, digits and _, with a letter \
                 first and no _ at the end",
                Self::MAX_LEN
            ));
        }
        if Self::OTHERS.iter().any(|other| text.starts_with(other)) {
            return Err("must not begin like other metrics: process or promfetch".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// Renders all families of `registry` as OpenMetrics, with the names of `namespace`.
///
/// # Errors
/// Returns an error only if a collector fails.
pub fn render(registry: &Registry, namespace: &Namespace) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(if namespace.0 == Namespace::DEFAULT { text } else { renamed(&text, &namespace.0) })
}

/// Replaces the default namespace. A name is the first word of a sample, and the second one after
/// `# HELP`, `# TYPE` or `# UNIT`. `text` is the output of prometheus-client.
fn renamed(text: &str, namespace: &str) -> String {
    let mut renamed = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let comments = ["# HELP ", "# TYPE ", "# UNIT "];
        let start = comments.into_iter().find(|start| line.starts_with(start)).unwrap_or_default();
        let name = line.strip_prefix(start).and_then(|rest| rest.strip_prefix(Namespace::DEFAULT));
        match name.filter(|rest| rest.starts_with('_')) {
            Some(rest) => renamed.extend([start, namespace, rest]),
            None => renamed.push_str(line),
        }
    }
    renamed
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
    fn a_namespace_replaces_the_default_prefix_of_names_only() {
        let mut registry = registry();
        let help = "Things of scrapebroker_things";
        registry.register("scrapebroker_things", help, Counter::<u64>::default());
        registry.register("scrapebrokers", "Others", Counter::<u64>::default());
        let text = render(&registry, &Namespace::default()).unwrap();
        assert!(text.contains("scrapebroker_build_info{") && text.ends_with("# EOF\n"), "{text}");
        let text = render(&registry, &"demo".parse().unwrap()).unwrap();
        for expected in [
            "# HELP demo_things Things of scrapebroker_things.\n# TYPE demo_things counter\ndemo_things_total 0\n",
            "# TYPE scrapebrokers counter\nscrapebrokers_total 0\n",
            "\ndemo_build_info{",
            "# TYPE process_open_fds gauge\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert_eq!(text.matches("scrapebroker_").count(), 1, "{text}");
    }

    #[test]
    fn a_namespace_is_a_prefix_of_metric_names() {
        for good in ["demo", "bec", "a", "My_App2", "a__b", &"x".repeat(64)] {
            good.parse::<Namespace>().unwrap();
        }
        let long = "x".repeat(65);
        for bad in ["", "_a", "a_", "1a", "a:b", "a-b", "ä", "process", "promfetcher", &long] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad}");
        }
    }
}
