use super::*;
use crate::{
    discovery,
    domain::{AppKey, Prefer, ScrapeOptions},
    scrape::{
        failure::FailureReason,
        instances,
        outcome::MeasuredBody,
        request::OwnSeries,
        scraped_by::{ScrapedBy, ScraperRole},
    },
};
use exposition::{AddedLabels, Limits, OutputFormat, Reader};
use std::{thread, time::Instant};

/// A route table of apps, each with this number of instances, at ports from 1.
fn table(apps: &[(&str, u16)]) -> Snapshot {
    let routes = apps.iter().map(|(app, instances)| {
        let endpoint = |port| {
            let tags = serde_json::json!({"app_id": app, "app_name": app});
            serde_json::json!({"address": address(port).to_string(), "tags": tags})
        };
        let endpoints: Vec<_> = (1..=*instances).map(endpoint).collect();
        (format!("{app}.example.com"), endpoints.into())
    });
    let table = serde_json::Value::Object(routes.collect()).to_string();
    Snapshot::from(&discovery::parse(table.as_bytes()).unwrap())
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn guid(app: &str) -> AppGuid {
    app.parse().unwrap()
}

fn request(role: ScraperRole) -> ScrapeRequest {
    let scraper = ScrapedBy { address: None, agent: "".into(), role, at: SystemTime::now() };
    ScrapeRequest {
        deadline: Instant::now().into(),
        negotiated: NegotiatedFormats::new(None, false),
        metric_path: None,
        query: Vec::new(),
        headers: Vec::new(),
        forwarded_for: None,
        public_scheme: "http",
        via: String::new(),
        series: OwnSeries::All,
        scraper: Arc::new(scraper),
    }
}

/// The samples of an instance, or the reason of its failure.
type Outcome = Result<usize, FailureReason>;

fn outcome(port: u16, outcome: &Outcome) -> TargetOutcome {
    let duration = Duration::from_millis(port.into());
    let result = match outcome {
        Ok(samples) => {
            let body: String =
                (0..*samples).map(|index| format!("m{{i=\"{index}\"}} 1\n")).collect();
            let reader = Reader::new(OutputFormat::new(Format::Text004), Limits::default());
            let labels = AddedLabels::new([]);
            let body = reader.parse(body, Format::Text004, labels).unwrap();
            let bytes = 100 * *samples as u64;
            Ok(MeasuredBody { body, bytes, memory: 3 * bytes })
        }
        Err(reason) => Err(ScrapeFailure::new(*reason, "ü".repeat(300))),
    };
    TargetOutcome::new(duration, result)
}

impl ScrapeHistory {
    /// Records a scrape of the instances of an app, in the order of their ports.
    fn scraped(&self, table: &Snapshot, app: &str, request: &ScrapeRequest, outcomes: &[Outcome]) {
        let key = AppKey::parse(app, Prefer::Name).unwrap();
        let found = table.find(&key);
        let options = ScrapeOptions::default();
        let targets = instances::targets(&found[0], &options, request, false, 0);
        let scraped = targets.into_iter().zip(outcomes).map(|(target, one)| {
            let port = target.endpoint().unwrap().address.port();
            ScrapedTarget { target, outcome: outcome(port, one) }
        });
        self.record(&scraped.collect::<Vec<_>>(), request);
    }
}

#[test]
fn a_summary_counts_the_last_scrape_of_each_instance() {
    let (history, table) = (ScrapeHistory::default(), table(&[("a", 3), ("b", 1)]));
    let by_prometheus = request(ScraperRole::Prometheus("p".parse().unwrap()));
    assert!(history.summary(&guid("a")).is_none());
    history.scraped(&table, "a", &by_prometheus, &[Ok(2), Ok(3), Err(FailureReason::Connect)]);
    let failed = [Ok(5), Err(FailureReason::Status5xx), Err(FailureReason::Timeout)];
    history.scraped(&table, "a", &by_prometheus, &failed);
    history.scraped(&table, "b", &by_prometheus, &[Err(FailureReason::Tls)]);
    let summary = history.summary(&guid("a")).unwrap();
    assert_eq!((summary.up, summary.failing, summary.samples, summary.bytes), (1, 2, 5, 500));
    assert_eq!(summary.slowest, Duration::from_millis(3));
    assert_eq!(summary.failure.unwrap().reason, FailureReason::Status5xx);
    let all = history.summaries();
    assert_eq!(all.len(), 2);
    assert_eq!((all[&guid("b")].up, all[&guid("b")].failing), (0, 1));
    let count = |app| AppCount { count: 1, examples: vec![guid(app)] };
    let totals = ScrapeTotals {
        up: 1,
        failing: 3,
        apps_up: 0,
        apps_down: count("b"),
        apps_degraded: count("a"),
    };
    assert_eq!(history.totals(), totals);
}

#[test]
fn a_scrape_by_a_page_does_not_hide_the_scraper() {
    let (history, table) = (ScrapeHistory::default(), table(&[("a", 1)]));
    let role = || history.summary(&guid("a")).unwrap().scraped_by.role.clone();
    for (by, shown) in [
        (ScraperRole::Page, ScraperRole::Page),
        (ScraperRole::Anonymous, ScraperRole::Anonymous),
        (ScraperRole::Page, ScraperRole::Anonymous),
        (ScraperRole::Token, ScraperRole::Token),
    ] {
        history.scraped(&table, "a", &request(by), &[Ok(1)]);
        assert_eq!(role(), shown);
    }
}

#[test]
fn a_failure_keeps_size_and_format_and_its_detail_is_short() {
    let (history, table) = (ScrapeHistory::default(), table(&[("a", 1)]));
    let request = request(ScraperRole::Anonymous);
    history.scraped(&table, "a", &request, &[Err(FailureReason::Connect)]);
    let last = history.of(&guid("a"), address(1)).unwrap();
    assert_eq!((last.size(), last.format()), (None, None));
    history.scraped(&table, "a", &request, &[Ok(7)]);
    history.scraped(&table, "a", &request, &[Err(FailureReason::Connect)]);
    let last = history.of(&guid("a"), address(1)).unwrap();
    assert_eq!((last.size(), last.format()), (Some(700), Some(Format::Text004)));
    assert_eq!(last.result.unwrap_err().detail, format!("{}…", "ü".repeat(MAX_DETAIL / 2)));
}

#[test]
fn points_are_scrapes_with_the_path_of_the_binding() {
    let (history, table) = (ScrapeHistory::default(), table(&[("a", 2)]));
    let own = request(ScraperRole::Anonymous);
    let with_path = |path: &str| ScrapeRequest {
        metric_path: Some(path.parse().unwrap()),
        ..request(ScraperRole::Anonymous)
    };
    history.scraped(&table, "a", &own, &[Ok(1), Ok(1)]);
    history.scraped(&table, "a", &with_path("/other"), &[Ok(9), Ok(9)]);
    history.scraped(&table, "a", &with_path("/metrics"), &[Ok(2), Err(FailureReason::Connect)]);
    let samples = |port| {
        let points = history.points(&guid("a"), address(port));
        points.iter().map(|point| point.samples).collect::<Vec<_>>()
    };
    assert_eq!(samples(1), [Some(1), Some(2)]);
    assert_eq!(samples(2), [Some(1), None]);
    assert_eq!(samples(3), []);
    (0..100).for_each(|_| history.scraped(&table, "a", &own, &[Ok(3), Ok(3)]));
    assert_eq!(samples(1), [Some(3); 60]);
}

#[test]
fn instances_that_left_the_route_table_are_removed() {
    let (history, before) = (ScrapeHistory::default(), table(&[("a", 3), ("b", 1)]));
    let request = request(ScraperRole::Anonymous);
    history.scraped(&before, "a", &request, &[Ok(1), Err(FailureReason::Tls), Ok(1)]);
    history.scraped(&before, "b", &request, &[Ok(1)]);
    history.prune(&table(&[("a", 1)]));
    assert_eq!(history.summaries().len(), 1);
    let summary = history.summary(&guid("a")).unwrap();
    assert_eq!((summary.up, summary.failing), (1, 0));
    assert!(history.of(&guid("a"), address(2)).is_none());
    assert!(history.of(&guid("b"), address(1)).is_none());
    assert_eq!(history.points(&guid("a"), address(2)), []);
}

#[test]
fn threads_record_and_read_at_the_same_time() {
    let names: Vec<_> = (0..8).map(|index| format!("app-{index}")).collect();
    let apps: Vec<_> = names.iter().map(|name| (name.as_str(), 2)).collect();
    let (history, table) = (ScrapeHistory::default(), table(&apps));
    thread::scope(|scope| {
        for name in &names {
            let (history, table) = (&history, &table);
            scope.spawn(move || {
                let request = request(ScraperRole::Anonymous);
                for _ in 0..50 {
                    history.scraped(table, name, &request, &[Ok(1), Err(FailureReason::Tls)]);
                    assert!(history.totals().up <= 8);
                    assert_eq!(history.summary(&guid(name)).unwrap().failing, 1);
                    history.prune(table);
                }
            });
        }
    });
    let totals = history.totals();
    assert_eq!((totals.up, totals.failing, totals.apps_degraded.count), (8, 8, 8));
    assert_eq!(history.points(&guid("app-0"), address(1)).len(), 50);
}
