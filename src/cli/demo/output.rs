//! What the demo prints: progress while it starts, then a summary. Both fit into a terminal of 80
//! columns and 24 lines, together with the four lines of `scripts/run-demo`.

use super::{login::DemoLogin, prometheus::DemoPrometheus};
use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
};

/// Maximum length of the reason why there is no Prometheus, in characters.
const MAX_REASON: usize = 160;

/// A line on standard error that names the steps of the start. It ends when this is dropped.
pub(super) struct StartProgress(());

impl StartProgress {
    pub(super) fn begin(step: &str) -> Self {
        write_progress(&format!("Starting: {step} …"));
        Self(())
    }

    pub(super) fn step(&self, step: &str) {
        write_progress(&format!(" {step} …"));
    }
}

impl Drop for StartProgress {
    fn drop(&mut self) {
        write_progress("\n");
    }
}

/// Progress is not essential, so a closed standard error is not a failure.
fn write_progress(text: &str) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// A summary for the terminal: what runs, and what to try.
pub(super) struct DemoSummary {
    /// The main listener.
    pub(super) address: SocketAddr,
    pub(super) login: DemoLogin,
    /// The listener of events.
    pub(super) events: SocketAddr,
    /// The listener of the query pool.
    pub(super) pool: SocketAddr,
    pub(super) prometheus: DemoPrometheus,
}

impl DemoSummary {
    /// The pages, each with the question that it answers.
    fn pages(&self) -> Vec<(String, &'static str)> {
        let mut pages = vec![
            ("/apps/acme/demo/shop", "why one instance fails"),
            ("/apps/acme/demo/shop/metrics", "what the app exposes"),
            ("/events", "an event every minute"),
        ];
        if self.has_prometheus() {
            pages.push(("/prometheus", "Prometheus and its alerts"));
            pages.push(("/pools/demo/", "a pool of its two servers"));
        }
        let address = self.address;
        let url = |(path, content)| (format!("http://{address}{path}"), content);
        pages.into_iter().map(url).collect()
    }

    fn has_prometheus(&self) -> bool {
        matches!(self.prometheus, DemoPrometheus::Runs)
    }
}

impl fmt::Display for DemoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, login, events, pool, prometheus } = self;
        let (user, password) = (DemoLogin::USER, &login.password);
        writeln!(f, "Open http://{address}/?details    user {user}, password {password}")?;
        writeln!(f, "\nThe app acme/demo/shop has three instances. One fails on purpose.")?;
        let pages = self.pages();
        let width = pages.iter().map(|(url, _)| url.len()).max().unwrap_or_default();
        for (url, content) in &pages {
            writeln!(f, "  {url:width$}  {content}")?;
        }
        writeln!(f, "\nIn a shell:")?;
        writeln!(f, "  curl 'http://{address}/v1/apps/metrics?route_url=shop.example.com'")?;
        writeln!(f, "  curl http://{address}/v1/apps/acme/demo/shop")?;
        writeln!(f, "  curl -X POST 'http://{events}/event?type=deploy&app=shop'")?;
        if self.has_prometheus() {
            writeln!(f, "  curl 'http://{pool}/api/v1/query?query=demo_http_requests_total'")?;
        }
        writeln!(f, "\nThe page of the app has snippets for your own Prometheus, Grafana and cf.")?;
        writeln!(f, "{prometheus}")?;
        f.write_str("Ctrl-C stops it.")
    }
}

impl fmt::Display for DemoPrometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs => f.write_str(
                "Kill one of the two prometheus processes: the pool answers without a gap.",
            ),
            Self::NoProgram => f.write_str(
                "\
The program prometheus is not in the PATH, so there is no dedicated Prometheus,
alert or query pool: apt-get install prometheus, then start the demo again.",
            ),
            Self::Failed(reason) => {
                let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                let shown: String = reason.chars().take(MAX_REASON).collect();
                write!(f, "There is no dedicated Prometheus: {shown}.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(prometheus: DemoPrometheus) -> Vec<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], 65535));
        let login = DemoLogin::random().unwrap();
        let (events, pool) = (address, address);
        let summary = DemoSummary { address, login, events, pool, prometheus }.to_string();
        summary.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_summary_fits_into_a_small_terminal_and_begins_with_the_url() {
        for prometheus in [DemoPrometheus::Runs, DemoPrometheus::NoProgram] {
            let lines = lines(prometheus);
            assert!(lines[0].starts_with("Open http://127.0.0.1:65535/"), "{lines:?}");
            assert!(lines.len() <= 20, "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
        }
    }

    #[test]
    fn the_summary_says_how_to_get_prometheus_or_why_it_failed() {
        let text = lines(DemoPrometheus::NoProgram).join("\n");
        assert!(text.contains("apt-get install prometheus") && text.contains("PATH"), "{text}");
        assert!(!text.contains("/prometheus") && !text.contains("/api/v1/query"), "{text}");
        let text = lines(DemoPrometheus::Failed("no port\nis free".to_owned())).join("\n");
        assert!(text.contains("no dedicated Prometheus: no port is free.\n"), "{text}");
        let long = DemoPrometheus::Failed("x".repeat(3000)).to_string();
        assert!(long.len() <= 200, "{long}");
    }
}
