//! The metrics of a sample instance, and their simulation.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

/// The pages whose visits are counted.
pub(super) const HANDLERS: [&str; 3] = ["/", "/path1", "/path2"];

/// The simulated queues.
const QUEUES: [&str; 2] = ["images", "mail"];

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 6] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Number of recent waiting times in the summary.
const WINDOW: usize = 200;

/// All metrics of one instance.
pub(super) struct Sample {
    random: Random,
    started: SystemTime,
    /// Numbers of `GET` and `HEAD` requests per handler.
    visits: [[u64; HANDLERS.len()]; 2],
    queues: [Queue; QUEUES.len()],
    /// Ids of logged-in users, and their remaining ticks.
    sessions: BTreeMap<u64, u64>,
}

/// A queue of jobs.
#[derive(Default)]
struct Queue {
    length: u64,
    done: u64,
    /// Number of jobs per bucket of [`BOUNDS`], not cumulative. The last one is `+Inf`.
    durations: [u64; BOUNDS.len() + 1],
    durations_sum: f64,
    waits: VecDeque<f64>,
    waits_sum: f64,
}

impl Sample {
    /// Instances with different indexes have different values.
    pub(super) fn new(index: u32) -> Self {
        let mut sample = Self {
            random: Random(0x5eed_0000_0000_0001 + u64::from(index)),
            started: SystemTime::now(),
            visits: Default::default(),
            queues: Default::default(),
            sessions: BTreeMap::new(),
        };
        // The counters start above 0, so that graphs are useful immediately.
        (0..10).for_each(|_| sample.tick());
        sample
    }

    /// Counts a request to one of [`HANDLERS`].
    pub(super) fn count(&mut self, head: bool, handler: &str) {
        for (visits, name) in self.visits[usize::from(head)].iter_mut().zip(HANDLERS) {
            *visits += u64::from(name == handler);
        }
    }

    /// Simulates one second.
    pub(super) fn tick(&mut self) {
        let Self { random, queues, sessions, .. } = self;
        for queue in queues {
            queue.length += random.below(6);
            // Jobs finish slightly faster than they arrive, so that the queue does not grow.
            for _ in 0..queue.length.min(random.below(7)) {
                queue.finish_job(random);
            }
        }
        sessions.retain(|_, ticks| {
            *ticks -= 1;
            *ticks > 0
        });
        if random.below(4) == 0 {
            sessions.insert(random.below(20), 5 + random.below(60));
        }
    }

    /// All metrics in text format 0.0.4.
    pub(super) fn expose(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        head(out, "api_http_requests_total", "counter", "Visits of this app's pages")?;
        for (method, visits) in ["GET", "HEAD"].iter().zip(self.visits) {
            for (handler, visits) in HANDLERS.iter().zip(visits) {
                let labels = format!("method=\"{method}\",handler=\"{handler}\"");
                writeln!(out, "api_http_requests_total{{{labels}}} {visits}")?;
            }
        }
        let queues = || QUEUES.iter().zip(&self.queues);

        head(out, "demo_jobs_done_total", "counter", "Jobs that were pretended to be done")?;
        for (name, queue) in queues() {
            writeln!(out, "demo_jobs_done_total{{queue=\"{name}\"}} {}", queue.done)?;
        }
        head(out, "demo_queue_length", "gauge", "Jobs that wait")?;
        for (name, queue) in queues() {
            writeln!(out, "demo_queue_length{{queue=\"{name}\"}} {}", queue.length)?;
        }
        head(out, "demo_job_duration_seconds", "histogram", "How long jobs took")?;
        for (name, queue) in queues() {
            queue.write_durations(name, out)?;
        }
        head(out, "demo_job_wait_seconds", "summary", "How long jobs waited for their turn")?;
        for (name, queue) in queues() {
            queue.write_waits(name, out)?;
        }
        head(out, "demo_session_active", "gauge", "1 for each user that is logged in")?;
        for user in self.sessions.keys() {
            writeln!(out, "demo_session_active{{user=\"user-{user}\"}} 1")?;
        }
        head(out, "demo_app_info", "gauge", "1, with the version of this app")?;
        writeln!(out, "demo_app_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        head(out, "process_start_time_seconds", "gauge", "When this app started, since 1970")?;
        writeln!(out, "process_start_time_seconds {started}")
    }
}

impl Queue {
    /// Finishes the first job of the queue.
    fn finish_job(&mut self, random: &mut Random) {
        // Squared, so that most jobs are fast and a few are slow.
        let duration = random.fraction().powi(2) * 3.0;
        let wait = random.fraction().powi(2) * 10.0;
        self.length -= 1;
        self.done += 1;
        self.durations_sum += duration;
        self.waits_sum += wait;
        let bucket = BOUNDS.iter().position(|bound| duration <= *bound).unwrap_or(BOUNDS.len());
        self.durations[bucket] += 1;
        self.waits.push_back(wait);
        if self.waits.len() > WINDOW {
            self.waits.pop_front();
        }
    }

    fn write_durations(&self, name: &str, out: &mut String) -> fmt::Result {
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut cumulated = 0;
        for (bound, count) in bounds.zip(self.durations) {
            cumulated += count;
            let labels = format!("queue=\"{name}\",le=\"{bound}\"");
            writeln!(out, "demo_job_duration_seconds_bucket{{{labels}}} {cumulated}")?;
        }
        writeln!(out, "demo_job_duration_seconds_sum{{queue=\"{name}\"}} {}", self.durations_sum)?;
        writeln!(out, "demo_job_duration_seconds_count{{queue=\"{name}\"}} {}", self.done)
    }

    fn write_waits(&self, name: &str, out: &mut String) -> fmt::Result {
        let mut waits: Vec<f64> = self.waits.iter().copied().collect();
        waits.sort_by(f64::total_cmp);
        for (quantile, percent) in [("0.5", 50), ("0.9", 90), ("0.99", 99)] {
            let wait = waits.get(waits.len() * percent / 100).copied().unwrap_or(f64::NAN);
            let labels = format!("queue=\"{name}\",quantile=\"{quantile}\"");
            writeln!(out, "demo_job_wait_seconds{{{labels}}} {wait}")?;
        }
        writeln!(out, "demo_job_wait_seconds_sum{{queue=\"{name}\"}} {}", self.waits_sum)?;
        writeln!(out, "demo_job_wait_seconds_count{{queue=\"{name}\"}} {}", self.done)
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}")
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn series(text: &str) -> BTreeMap<&str, f64> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn ticks_change_metrics_of_every_type() {
        let mut sample = Sample::new(0);
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for _ in 0..30 {
            sample.tick();
            for (name, value) in series(&sample.expose()) {
                seen.entry(name.to_owned()).or_default().insert(value.to_string());
            }
        }
        let changing = [
            "demo_jobs_done_total{queue=\"mail\"}",
            "demo_queue_length{queue=\"mail\"}",
            "demo_job_duration_seconds_bucket{queue=\"mail\",le=\"+Inf\"}",
            "demo_job_wait_seconds{queue=\"mail\",quantile=\"0.5\"}",
        ];
        for name in changing {
            assert!(seen[name].len() > 5, "{name}: {:?}", seen[name]);
        }
    }

    #[test]
    fn series_appear_and_disappear() {
        let mut sample = Sample::new(0);
        let mut seen: Vec<BTreeSet<u64>> = Vec::new();
        for _ in 0..300 {
            sample.tick();
            seen.push(sample.sessions.keys().copied().collect());
        }
        assert!(seen.windows(2).any(|two| two[1].difference(&two[0]).next().is_some()));
        assert!(seen.windows(2).any(|two| two[0].difference(&two[1]).next().is_some()));
    }

    #[test]
    fn a_histogram_is_cumulative_and_matches_its_count() {
        let mut sample = Sample::new(1);
        (0..1000).for_each(|_| sample.tick());
        let text = sample.expose();
        let buckets: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("demo_job_duration_seconds_bucket{queue=\"mail\""))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert_eq!(buckets.len(), BOUNDS.len() + 1);
        assert!(buckets.is_sorted(), "{buckets:?}");
        let count = series(&text)["demo_job_duration_seconds_count{queue=\"mail\"}"];
        assert_eq!(buckets.last(), Some(&count));
    }

    #[test]
    fn instances_have_different_values() {
        assert_ne!(Sample::new(0).expose(), Sample::new(1).expose());
    }

    #[test]
    fn visits_are_counted_by_method_and_handler() {
        let mut sample = Sample::new(0);
        sample.count(false, "/path1");
        sample.count(true, "/");
        sample.count(false, "/path1");
        let text = sample.expose();
        let series = series(&text);
        assert_eq!(series["api_http_requests_total{method=\"GET\",handler=\"/path1\"}"], 2.0);
        assert_eq!(series["api_http_requests_total{method=\"HEAD\",handler=\"/\"}"], 1.0);
        assert_eq!(series["api_http_requests_total{method=\"GET\",handler=\"/\"}"], 0.0);
    }
}
