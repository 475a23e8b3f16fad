//! The metrics of the demo app: at least one of each type.
//!
//! Code that is instrumented updates the handles. They are cheap to clone and to update, and need no
//! lock of the caller. docs/INSTRUMENTING.md explains the choices.

use super::{state_set::StateSet, summary::Summary};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        exemplar::{CounterWithExemplar, HistogramWithExemplars},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, NativeHistogramConfig},
        info::Info,
    },
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The pages whose visits are counted.
pub(super) const HANDLERS: [&str; 3] = ["/", "/path1", "/path2"];

/// The value of the label `handler` for all other paths.
pub(super) const OTHER: &str = "other";

// The status codes of pages, of other paths, and for methods other than GET and HEAD.
const OK: u16 = 200;
const NOT_FOUND: u16 = 404;
const METHOD_NOT_ALLOWED: u16 = 405;

/// The queues of the workload.
pub(super) const QUEUES: [&str; 2] = ["images", "mail"];

/// The states of a queue.
pub(super) const QUEUE_STATES: [&str; 3] = ["idle", "busy", "overloaded"];

/// The batches of the workload.
pub(super) const BATCHES: [&str; 3] = ["invoices", "newsletter", "thumbnails"];

/// Upper bounds of the classic buckets of job durations, in seconds. They are the fallback of text
/// formats, which have no native histograms. No job takes longer than the last one, because
/// `histogram_quantile()` never exceeds it.
pub(super) const JOB_SECONDS: [f64; 7] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Upper bounds of the buckets of request durations, in seconds.
pub(super) const REQUEST_SECONDS: [f64; 6] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25];

/// Maximum number of native buckets of a histogram. Beyond it, neighbouring buckets are merged.
const MAX_NATIVE_BUCKETS: usize = 100;

/// Age of a native histogram at which it is reset to get its resolution back.
const NATIVE_RESET: Duration = Duration::from_hours(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    clippy::upper_case_acronyms,
    non_camel_case_types,
    reason = "the names are the values of the label"
)]
pub(super) enum Method {
    GET,
    HEAD,
    other,
}

/// Labels of requests. All have few values: unknown paths and methods have the value `other`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) method: Method,
    pub(super) handler: &'static str,
    pub(super) code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HandlerLabel {
    pub(super) handler: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct QueueLabel {
    pub(super) queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BatchLabel {
    pub(super) batch: &'static str,
}

/// Label of an exemplar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TraceLabel {
    pub(super) trace_id: String,
}

/// Handles of all metrics.
pub(super) struct Metrics {
    /// The metrics whose type prometheus-client has.
    pub(super) registry: Registry,
    pub(super) requests: Family<RequestLabels, CounterWithExemplar<TraceLabel>>,
    pub(super) request_duration: HistogramByHandler,
    pub(super) jobs_done: Family<QueueLabel, CounterWithExemplar<TraceLabel>>,
    pub(super) jobs_failed: Family<QueueLabel, Counter>,
    pub(super) jobs_refused: Family<QueueLabel, Counter>,
    pub(super) last_success: Family<QueueLabel, Gauge<f64, AtomicU64>>,
    pub(super) queue_length: Family<QueueLabel, Gauge>,
    pub(super) job_duration: Family<QueueLabel, Histogram, fn() -> Histogram>,
    pub(super) batch_items: Family<BatchLabel, Counter>,
    pub(super) batch_progress: Family<BatchLabel, Gauge<f64, AtomicU64>>,
    pub(super) job_wait: [Summary; QUEUES.len()],
    pub(super) queue_state: [StateSet<{ QUEUE_STATES.len() }>; QUEUES.len()],
}

type HistogramByHandler = Family<
    HandlerLabel,
    HistogramWithExemplars<TraceLabel>,
    fn() -> HistogramWithExemplars<TraceLabel>,
>;

impl Metrics {
    pub(super) fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(|| {
                HistogramWithExemplars::new(REQUEST_SECONDS.into_iter())
            }),
            jobs_done: Family::default(),
            jobs_failed: Family::default(),
            jobs_refused: Family::default(),
            last_success: Family::default(),
            queue_length: Family::default(),
            job_duration: Family::new_with_constructor(|| {
                let native = NativeHistogramConfig::new(1.1)
                    .max_buckets(MAX_NATIVE_BUCKETS)
                    .min_reset_duration(NATIVE_RESET);
                Histogram::new_classic_and_native(JOB_SECONDS, native)
            }),
            batch_items: Family::default(),
            batch_progress: Family::default(),
            job_wait: Default::default(),
            queue_state: QUEUES.map(|_| StateSet::new(QUEUE_STATES)),
        };
        metrics.create_label_sets();
        metrics.register()
    }

    /// Creates the series whose labels are known. Without it, a counter appears with the value 1,
    /// and `rate()` misses the first event.
    fn create_label_sets(&self) {
        let create = |method, handler, code| {
            drop(self.requests.get_or_create(&RequestLabels { method, handler, code }));
        };
        for method in [Method::GET, Method::HEAD] {
            HANDLERS.into_iter().for_each(|handler| create(method, handler, OK));
            create(method, OTHER, NOT_FOUND);
        }
        for handler in HANDLERS {
            create(Method::other, handler, METHOD_NOT_ALLOWED);
            drop(self.request_duration.get_or_create(&HandlerLabel { handler }));
        }
        create(Method::other, OTHER, METHOD_NOT_ALLOWED);
        for queue in QUEUES {
            let label = QueueLabel { queue };
            drop(self.jobs_done.get_or_create(&label));
            drop(self.jobs_failed.get_or_create(&label));
            drop(self.jobs_refused.get_or_create(&label));
            drop(self.queue_length.get_or_create(&label));
            drop(self.job_duration.get_or_create(&label));
        }
        for batch in BATCHES {
            drop(self.batch_items.get_or_create(&BatchLabel { batch }));
        }
    }

    /// Registers the metrics. The registry adds a full stop to the help text, the unit to the name,
    /// and `_total` to counters.
    fn register(mut self) -> Self {
        let registry = &mut self.registry;
        let help = "Answered requests, except those for the metrics and the health";
        registry.register("demo_http_requests", help, self.requests.clone());
        let help = "Time to answer a visit of a page";
        let duration = self.request_duration.clone();
        registry.register_with_unit("demo_http_request_duration", help, Unit::Seconds, duration);

        let help = "Jobs that ended, failed ones included";
        registry.register("demo_jobs_done", help, self.jobs_done.clone());
        registry.register("demo_jobs_failed", "Jobs that failed", self.jobs_failed.clone());
        let help = "Jobs that found a full queue";
        registry.register("demo_jobs_refused", help, self.jobs_refused.clone());
        let (help, last) = ("End of the last job that did not fail", self.last_success.clone());
        let name = "demo_job_last_success_timestamp";
        registry.register_with_unit(name, help, Unit::Seconds, last);
        registry.register("demo_queue_length", "Jobs that wait", self.queue_length.clone());
        let duration = self.job_duration.clone();
        let help = "Time that jobs took";
        registry.register_with_unit("demo_job_duration", help, Unit::Seconds, duration);

        let help = "Items that all runs of a batch have processed";
        registry.register("demo_batch_items", help, self.batch_items.clone());
        let help = "Processed part of a batch that runs, until a minute after its end";
        let unit = Unit::Other("ratio".to_owned());
        registry.register_with_unit("demo_batch_progress", help, unit, self.batch_progress.clone());

        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("demo_app", "Version of this app", version);
        let started = ConstGauge::new(seconds_since_1970(SystemTime::now()));
        // The text of all client libraries.
        let help = "Start time of the process since unix epoch in seconds";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, started);
        self
    }

    /// Writes the metrics whose type prometheus-client does not have, as OpenMetrics.
    pub(super) fn write_other_types(&self, has_created: bool, out: &mut String) -> fmt::Result {
        Summary::write_family(
            (
                "demo_job_wait_seconds",
                "seconds",
                "Time that jobs waited: quantiles of the last ten minutes, sum and count since the \
                 start",
            ),
            QUEUES.map(|queue| ("queue", queue)).into_iter().zip(&self.job_wait),
            has_created,
            out,
        )?;
        StateSet::write_family(
            ("demo_queue_state", "State of a queue"),
            QUEUES.map(|queue| ("queue", queue)).into_iter().zip(&self.queue_state),
            out,
        )
    }
}

/// The value of metrics that are timestamps.
pub(super) fn seconds_since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
