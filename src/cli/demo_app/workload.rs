//! The simulated workload of a demo app: queues of jobs, and batches that run for a while.

use super::metrics::{
    BATCHES, BatchLabel, Metrics, QUEUES, QueueLabel, TraceLabel, seconds_since_1970,
};
use std::{collections::VecDeque, time::SystemTime};

/// Maximum number of waiting jobs per queue. Further jobs are refused.
const MAX_WAITING: usize = 50;

/// A queue with more waiting jobs is overloaded.
const OVERLOADED: usize = 8;

/// Seconds for which the progress of an ended batch remains, so that its last value is scraped.
const LINGER: u64 = 60;

/// The state of the simulation. It has no metrics: it updates them.
pub(super) struct Workload {
    random: Random,
    /// Seconds since the start.
    now: u64,
    queues: [Queue; QUEUES.len()],
    batches: [Batch; BATCHES.len()],
}

/// The times at which the waiting jobs arrived.
#[derive(Default)]
struct Queue(VecDeque<u64>);

#[derive(Default)]
enum Batch {
    #[default]
    Absent,
    Runs {
        items: u64,
        done: u64,
    },
    Ended {
        at: u64,
    },
}

impl Workload {
    /// Instances with different indexes have different values. The counters start above 0, so that
    /// graphs are useful immediately.
    pub(super) fn new(index: u32, metrics: &Metrics) -> Self {
        let mut workload = Self {
            random: Random(0x5eed_0000_0000_0001 + u64::from(index)),
            now: 0,
            queues: Default::default(),
            batches: Default::default(),
        };
        (0..10).for_each(|_| workload.tick(metrics));
        workload
    }

    /// Simulates one second.
    pub(super) fn tick(&mut self, metrics: &Metrics) {
        let Self { random, now, queues, batches } = self;
        *now += 1;
        for (i, (queue, name)) in queues.iter_mut().zip(QUEUES).enumerate() {
            queue.tick(
                *now,
                random,
                QueueMetrics { metrics, i, label: QueueLabel { queue: name } },
            );
        }
        for (batch, name) in batches.iter_mut().zip(BATCHES) {
            batch.tick(*now, random, metrics, &BatchLabel { batch: name });
        }
    }
}

/// The metrics of one queue.
struct QueueMetrics<'a> {
    metrics: &'a Metrics,
    i: usize,
    label: QueueLabel,
}

impl Queue {
    fn tick(&mut self, now: u64, random: &mut Random, to: QueueMetrics<'_>) {
        let Self(waiting) = self;
        for _ in 0..random.below(6) {
            if waiting.len() < MAX_WAITING {
                waiting.push_back(now);
            } else {
                to.metrics.jobs_refused.get_or_create(&to.label).inc();
            }
        }
        // Jobs end slightly faster than they arrive, so that the queue does not grow.
        for _ in 0..random.below(7) {
            let Some(arrived) = waiting.pop_front() else { break };
            let waited = (now - arrived) as f64 + random.fraction();
            to.job_ended(waited, random);
        }
        to.metrics.queue_length.get_or_create(&to.label).set(waiting.len() as i64);
        to.metrics.queue_state[to.i].set(match waiting.len() {
            0 => "idle",
            1..=OVERLOADED => "busy",
            _ => "overloaded",
        });
    }
}

impl QueueMetrics<'_> {
    fn job_ended(&self, waited: f64, random: &mut Random) {
        let Self { metrics, i, label } = self;
        metrics.job_wait[*i].observe(waited);
        metrics.job_duration.get_or_create(label).observe(job_seconds(random.fraction()));
        // Jobs are simulated, and so are the traces of the requests that added them to the queue.
        let trace = TraceLabel { trace_id: random.trace_id() };
        let (now, done) = (SystemTime::now(), metrics.jobs_done.get_or_create(label));
        done.inc_by(1, Some(trace), Some(now));
        if random.below(20) == 0 {
            metrics.jobs_failed.get_or_create(label).inc();
        } else {
            metrics.last_success.get_or_create(label).set(seconds_since_1970(now));
        }
    }
}

/// The duration of a job, from 10 ms to almost 5 s. `fraction` is its rank among all jobs.
fn job_seconds(fraction: f64) -> f64 {
    0.01 + fraction.powi(2) * 4.9
}

/// The duration of the work for a page. `fraction` is its rank among all visits, from 2 to 200 ms.
pub(super) fn page_seconds(fraction: f64) -> f64 {
    0.002 * 100_f64.powf(fraction.powi(2))
}

impl Batch {
    fn tick(&mut self, now: u64, random: &mut Random, metrics: &Metrics, label: &BatchLabel) {
        match self {
            Self::Absent => {
                if random.below(20) == 0 {
                    *self = Self::Runs { items: 20 + random.below(60), done: 0 };
                    metrics.batch_progress.get_or_create(label).set(0.0);
                }
            }
            Self::Runs { items, done } => {
                let processed = (1 + random.below(3)).min(*items - *done);
                *done += processed;
                metrics.batch_items.get_or_create(label).inc_by(processed);
                let progress = *done as f64 / *items as f64;
                metrics.batch_progress.get_or_create(label).set(progress);
                if done == items {
                    *self = Self::Ended { at: now };
                }
            }
            Self::Ended { at } => {
                if now - *at >= LINGER {
                    // Without this, the series would keep its last value until a restart.
                    metrics.batch_progress.remove(label);
                    *self = Self::Absent;
                }
            }
        }
    }
}

/// A pseudo-random number generator (xorshift64) with the same sequence in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// A number from 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.below(1 << 20) as f64 / (1 << 20) as f64
    }

    /// An id of the form that W3C Trace Context has.
    fn trace_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            metrics::{JOB_SECONDS, REQUEST_SECONDS},
            render::render,
        },
        *,
    };
    use crate::http::Accepted;
    use exposition::{Format, OutputFormat};
    use std::collections::{BTreeMap, BTreeSet};

    fn text(metrics: &Metrics) -> String {
        let accepted = Accepted { output: OutputFormat::new(Format::Text004), has_gzip: false };
        let body = render(metrics, accepted).unwrap();
        String::from_utf8(body).unwrap()
    }

    /// Samples by series.
    fn series(metrics: &Metrics) -> BTreeMap<String, f64> {
        let text = text(metrics);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn ticks_change_metrics_of_every_type() {
        let metrics = Metrics::new();
        let mut workload = Workload::new(0, &metrics);
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for _ in 0..60 {
            workload.tick(&metrics);
            for (name, value) in series(&metrics) {
                seen.entry(name).or_default().insert(value.to_string());
            }
        }
        let changing = [
            ("demo_jobs_done_total{queue=\"mail\"}", 30),
            ("demo_jobs_failed_total{queue=\"mail\"}", 2),
            ("demo_job_last_success_timestamp_seconds{queue=\"mail\"}", 30),
            ("demo_queue_length{queue=\"mail\"}", 3),
            ("demo_job_duration_seconds_bucket{le=\"+Inf\",queue=\"mail\"}", 30),
            ("demo_job_wait_seconds{queue=\"mail\",quantile=\"0.5\"}", 10),
            ("demo_queue_state{queue=\"mail\",demo_queue_state=\"busy\"}", 2),
        ];
        for (name, values) in changing {
            assert!(seen[name].len() >= values, "{name}: {:?}", seen[name]);
        }
    }

    #[test]
    fn counters_and_histograms_never_decrease() {
        let metrics = Metrics::new();
        let mut workload = Workload::new(1, &metrics);
        let mut before = series(&metrics);
        // Long enough for batches to run several times.
        for _ in 0..600 {
            workload.tick(&metrics);
            let after = series(&metrics);
            for (name, value) in &before {
                let suffixes = ["_total", "_bucket", "_sum", "_count"];
                let family = name.split('{').next().unwrap();
                if suffixes.iter().any(|suffix| family.ends_with(suffix)) {
                    assert!(after[name] >= *value, "{name}: {value}, then {}", after[name]);
                }
            }
            before = after;
        }
    }

    #[test]
    fn the_progress_of_a_batch_appears_reaches_1_and_disappears_and_its_counter_stays() {
        let metrics = Metrics::new();
        let mut workload = Workload::new(0, &metrics);
        let (mut appeared, mut disappeared) = (0, 0);
        let mut before: BTreeMap<String, f64> = BTreeMap::new();
        for _ in 0..1000 {
            workload.tick(&metrics);
            let mut after = series(&metrics);
            after.retain(|name, _| name.starts_with("demo_batch_progress_ratio"));
            appeared += after.keys().filter(|name| !before.contains_key(*name)).count();
            for (name, value) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
                disappeared += 1;
                assert_eq!(*value, 1.0, "{name} was removed before it ended");
            }
            assert!(after.len() <= BATCHES.len());
            let items = series(&metrics).into_keys();
            let items = items.filter(|name| name.starts_with("demo_batch_items_total"));
            assert_eq!(items.count(), BATCHES.len());
            before = after;
        }
        assert!(appeared > 3 && disappeared > 3, "{appeared}, {disappeared}");
    }

    /// The parts of the observations in each bucket, the last one is +Inf. All ranks are equally
    /// frequent.
    fn parts(bounds: &[f64], value: fn(f64) -> f64) -> Vec<f64> {
        let observations = 10_000;
        let mut parts = vec![0.0; bounds.len() + 1];
        for i in 0..observations {
            let value = value((f64::from(i) + 0.5) / f64::from(observations));
            parts[bounds.partition_point(|bound| *bound < value)] += 1.0;
        }
        parts.iter().map(|count| count / f64::from(observations)).collect()
    }

    #[test]
    fn the_bounds_of_histograms_fit_the_durations_of_the_workload() {
        for (bounds, value) in [
            (JOB_SECONDS.as_slice(), job_seconds as fn(f64) -> f64),
            (REQUEST_SECONDS.as_slice(), page_seconds),
        ] {
            let parts = parts(bounds, value);
            let (above, within) = parts.split_last().unwrap();
            assert!(*above < 0.01, "{parts:?}");
            assert!(within.iter().all(|part| (0.02..0.6).contains(part)), "{parts:?}");
        }
        // The interpolation in the last bucket is close to the largest values.
        assert!(job_seconds(1.0) > 0.95 * JOB_SECONDS[JOB_SECONDS.len() - 1]);
        // A request also takes the time of the timer and of the answer.
        assert!(page_seconds(1.0) < 0.9 * REQUEST_SECONDS[REQUEST_SECONDS.len() - 1]);
    }

    #[test]
    fn a_histogram_is_cumulative_and_matches_its_count() {
        let metrics = Metrics::new();
        let mut workload = Workload::new(1, &metrics);
        (0..1000).for_each(|_| workload.tick(&metrics));
        let text = text(&metrics);
        let buckets: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("demo_job_duration_seconds_bucket"))
            .filter(|line| line.contains("queue=\"mail\""))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert_eq!(buckets.len(), JOB_SECONDS.len() + 1, "{text}");
        assert!(buckets.is_sorted(), "{buckets:?}");
        let series = series(&metrics);
        for counted in [
            "demo_job_duration_seconds_count{queue=\"mail\"}",
            "demo_job_wait_seconds_count{queue=\"mail\"}",
            "demo_jobs_done_total{queue=\"mail\"}",
        ] {
            assert_eq!(buckets.last(), Some(&series[counted]), "{counted}");
        }
    }

    #[test]
    fn queues_are_bounded_and_refused_jobs_are_counted() {
        let (metrics, mut queue) = (Metrics::new(), Queue::default());
        let random = &mut Random(1);
        let label = QueueLabel { queue: QUEUES[0] };
        let refused = || metrics.jobs_refused.get_or_create(&label).get();
        assert!(text(&metrics).contains("demo_jobs_refused_total{queue=\"images\"} 0\n"));
        for now in 1..10 {
            // It is full at the start of each second, so a job is refused unless none arrives.
            (queue.0.len()..MAX_WAITING).for_each(|_| queue.0.push_back(0));
            queue.tick(now, random, QueueMetrics { metrics: &metrics, i: 0, label: label.clone() });
        }
        assert!((9..=9 * 5).contains(&refused()), "{}", refused());
        let before = refused();
        for now in 10..1000 {
            queue.tick(now, random, QueueMetrics { metrics: &metrics, i: 0, label: label.clone() });
            assert!(queue.0.len() <= MAX_WAITING);
        }
        assert!(refused() >= before);
        assert!(metrics.queue_length.get_or_create(&label).get() < MAX_WAITING as i64);
    }

    #[test]
    fn instances_have_different_values() {
        let values = |index| {
            let metrics = Metrics::new();
            Workload::new(index, &metrics);
            let mut series = series(&metrics);
            series.retain(|name, _| {
                !["process_start", "demo_job_last"].iter().any(|time| name.starts_with(time))
            });
            // NaN is not equal to itself.
            format!("{series:?}")
        };
        assert_eq!(values(0), values(0));
        assert_ne!(values(0), values(1));
    }
}
