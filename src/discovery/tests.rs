//! Tests of the whole module with real sockets and files, or with a paused clock.

use super::{
    gorouter::testing::{Behaviour, TestRouter, http},
    *,
};
use crate::discovery::{error::SourceError, sources::Report};
use crate::domain::{AppKey, Prefer};
use serde_json::json;
use std::{fs, sync::Arc};
use tokio::{task::LocalSet, time::sleep};

fn document(apps: &[&str]) -> String {
    let endpoint = |app: &&str| {
        let address = format!("10.0.0.{}:1", app.as_bytes()[0]);
        let tags = json!({"app_id": app, "app_name": app});
        (format!("{app}.test"), json!([{"address": address, "tags": tags}]))
    };
    serde_json::Value::Object(apps.iter().map(endpoint).collect()).to_string()
}

fn settings(routers: &[&TestRouter]) -> Settings {
    let gorouter = |router: &&TestRouter| Gorouter { url: router.url(), credentials: None };
    Settings {
        stale_after: Duration::from_secs(120),
        keep: Duration::from_secs(3600),
        refresh_interval: Duration::from_millis(5),
        gorouters: routers.iter().map(gorouter).collect(),
        file: None,
        nats: None,
        tsuru: None,
        limits: Limits { timeout: Duration::from_millis(500), body_bytes: 1 << 20 },
    }
}

fn apps(table: &RouteTable) -> Vec<String> {
    table.snapshot().apps().map(|found| found.app.id.to_string()).collect()
}

/// Waits for a condition and panics after a timeout.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        for _ in 0..5000 {
            if is_so() {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
        panic!("condition not met in time: {caller}");
    }
}

#[tokio::test]
async fn the_table_merges_all_routers_and_follows_changes() {
    let one = TestRouter::start(Behaviour::Answer(http(200, "", &document(&["a", "b"])))).await;
    let two =
        TestRouter::start(Behaviour::Answer(http(200, "", &document(&["a", "b", "c"])))).await;
    let shutdown = CancellationToken::new();
    let script = async {
        let discovery = Discovery::start(settings(&[&one, &two]), &shutdown);
        assert!(!discovery.table.snapshot().is_complete());
        assert_eq!(discovery.table.snapshot().age(), None);
        until(|| discovery.table.snapshot().is_complete()).await;
        until(|| apps(&discovery.table) == ["a", "b", "c"]).await;
        let held = discovery.table.snapshot();
        one.now_says(&document(&["a", "b", "d"]));
        two.now_says(&document(&["a", "b"]));
        until(|| apps(&discovery.table) == ["a", "b", "d"]).await;
        assert!(held.contains_app("c"), "a reader's table never changes");
        assert!(discovery.table.snapshot().age().is_some());
        shutdown.cancel();
        discovery.stopped().await;
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test]
async fn one_failing_router_of_three_does_not_affect_the_table() {
    let good = TestRouter::start(Behaviour::Answer(http(200, "", &document(&["a"])))).await;
    let other = TestRouter::start(Behaviour::Answer(http(200, "", &document(&["b"])))).await;
    let mad = TestRouter::start(Behaviour::Hang).await;
    let shutdown = CancellationToken::new();
    let script = async {
        let discovery = Discovery::start(settings(&[&good, &other, &mad]), &shutdown);
        let table = &discovery.table;
        until(|| apps(table) == ["a", "b"]).await;
        let behaviours = [
            (Behaviour::Hang, "did not respond within 0.5 s"),
            (Behaviour::Answer(http(200, "", "<html>hi</html>")), "not a JSON object"),
            (Behaviour::Answer(http(401, "", "")), "credentials"),
            (Behaviour::Answer(http(302, "Location: /\r\n", "")), "redirect"),
            (Behaviour::Answer(http(200, "", "{\"a.test\": [")), "is incomplete"),
            (Behaviour::Endless, "more than 1048576 bytes"),
            (Behaviour::Answer(String::new()), "cannot be reached"),
        ];
        for (behaviour, reason) in behaviours {
            mad.now_does(behaviour);
            let is_told = |status: &SourceStatus| {
                status.failure.as_deref().is_some_and(|failure| failure.contains(reason))
            };
            until(|| is_told(&table.snapshot().sources()[2])).await;
            assert_eq!(apps(table), ["a", "b"], "{reason}");
            assert!(!table.snapshot().is_complete());
        }
        assert!(table.snapshot().failed_polls() >= 7);
        mad.now_says(&document(&["c"]));
        until(|| table.snapshot().sources()[2].failure.is_none()).await;
        assert!(table.snapshot().is_complete());
        shutdown.cancel();
        discovery.stopped().await;
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test]
async fn an_empty_report_after_a_full_one_does_not_empty_the_table() {
    let router = TestRouter::start(Behaviour::Answer(http(200, "", &document(&["a", "b"])))).await;
    let shutdown = CancellationToken::new();
    let script = async {
        let discovery = Discovery::start(settings(&[&router]), &shutdown);
        let table = &discovery.table;
        until(|| apps(table).len() == 2).await;
        router.now_says("{}");
        until(|| table.snapshot().sources()[0].retained == 2).await;
        assert_eq!(apps(table), ["a", "b"]);
        router.now_says(&document(&["a", "b"]));
        until(|| table.snapshot().sources()[0].retained == 0).await;
        shutdown.cancel();
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_when_it_changes_and_on_reload() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("routes.json");
    let shutdown = CancellationToken::new();
    let script = async {
        let file = Settings { file: Some(path.clone()), ..settings(&[]) };
        let discovery = Discovery::start(file, &shutdown);
        let table = &discovery.table;
        let failure = || table.snapshot().sources()[0].failure.clone().unwrap_or_default();
        until(|| failure().contains("cannot be read")).await;
        assert!(!table.snapshot().is_complete());
        sleep(Duration::from_secs(10)).await;
        assert_eq!(table.snapshot().sources()[0].failed, 1, "reported once, not with every poll");

        fs::write(&path, document(&["a"])).unwrap();
        until(|| apps(table) == ["a"]).await;
        assert!(table.snapshot().is_complete());
        // The same length, and perhaps within the same tick of the disk's clock.
        fs::write(&path, document(&["b"])).unwrap();
        until(|| apps(table) == ["b"]).await;
        fs::write(&path, "{").unwrap();
        until(|| failure().contains("is incomplete")).await;
        assert_eq!(apps(table), ["b"], "the last good one serves");
        fs::write(dir.path().join("new"), document(&["c"])).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        until(|| apps(table) == ["c"]).await;
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        until(|| failure().contains("is not a file")).await;
        assert_eq!(apps(table), ["c"]);
        shutdown.cancel();
        discovery.stopped().await;
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_reads_a_file_with_unchanged_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("routes.json");
    fs::write(&path, "[]").unwrap();
    let shutdown = CancellationToken::new();
    let script = async {
        let file = Settings { file: Some(path), ..settings(&[]) };
        let discovery = Discovery::start(file, &shutdown);
        let failed = || discovery.table.snapshot().sources()[0].failed;
        // Read twice, because a stamp is trusted after the second read.
        until(|| failed() == 2).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(failed(), 2);
        discovery.reload.trigger();
        until(|| failed() > 2).await;
        shutdown.cancel();
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn polling_an_unchanged_file_refreshes_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("routes.json");
    fs::write(&path, document(&["a"])).unwrap();
    let shutdown = CancellationToken::new();
    let script = async {
        let file = Settings { file: Some(path), ..settings(&[]) };
        let discovery = Discovery::start(file, &shutdown);
        sleep(Duration::from_secs(300)).await;
        let age = discovery.table.snapshot().age().unwrap();
        assert!(age <= Duration::from_secs(2), "{age:?}");
        assert_eq!(apps(&discovery.table), ["a"]);
        shutdown.cancel();
    };
    LocalSet::new().run_until(script).await;
}

/// Two sources controlled by the test, and the table that the writer publishes.
fn reporters_and_table(shutdown: &CancellationToken) -> (Reporter, Reporter, RouteTable) {
    let retention = Retention {
        stale_after: Duration::from_secs(120),
        keep: Duration::from_secs(3600),
        first_round: Duration::ZERO,
    };
    let named = |name: &str| SourceName {
        kind: Kind::Gorouter,
        key: Kind::Gorouter.key().into(),
        name: name.into(),
    };
    let names = [named("one"), named("two")];
    let sources = Sources::new(retention, &names, Instant::now());
    let table = RouteTable::new(Snapshot { sources: sources.status(), ..Snapshot::default() });
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(writer::write(sources, receiver, table.clone(), shutdown.clone()));
    (Reporter::new(0, sender.clone()), Reporter::new(1, sender), table)
}

#[tokio::test(start_paused = true)]
async fn the_age_is_that_of_the_newest_successful_report() {
    let (one, two, table) = reporters_and_table(&CancellationToken::new());
    one.report(Report::Full(document(&["a"]).into())).await;
    sleep(Duration::from_secs(30)).await;
    two.report(Report::Failure(SourceError::Status(502))).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(table.snapshot().age(), Some(Duration::from_secs(35)));
    two.report(Report::Full(b"{}".to_vec())).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(table.snapshot().age(), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn routes_expire_without_new_reports() {
    let (one, two, table) = reporters_and_table(&CancellationToken::new());
    one.report(Report::Full(document(&["a"]).into())).await;
    two.report(Report::Full(document(&["b"]).into())).await;
    one.report(Report::Failure(SourceError::Status(502))).await;
    sleep(Duration::from_secs(119)).await;
    assert_eq!(apps(&table), ["a", "b"]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(apps(&table), ["b"]);
    two.report(Report::Failure(SourceError::Status(502))).await;
    sleep(Duration::from_secs(3600 - 121 - 1)).await;
    assert_eq!(apps(&table), ["b"]);
    sleep(Duration::from_secs(2)).await;
    assert!(apps(&table).is_empty());
    assert_eq!(table.snapshot().failed_polls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_writer_frees_a_table_after_readers_drop_it() {
    let (one, _two, table) = reporters_and_table(&CancellationToken::new());
    one.report(Report::Full(document(&["a"]).into())).await;
    until(|| apps(&table) == ["a"]).await;
    let held = table.snapshot();
    let index = Arc::downgrade(&held.index);
    one.report(Report::Full(document(&["b"]).into())).await;
    until(|| apps(&table) == ["b"]).await;
    sleep(Duration::from_secs(5)).await;
    let key = AppKey::parse("a", Prefer::Name).unwrap();
    assert_eq!(held.find(&key).len(), 1);
    drop(held);
    assert!(index.upgrade().is_some(), "the reader was not the last to let go");
    until(|| index.upgrade().is_none()).await;
}

#[tokio::test]
async fn without_a_source_the_table_is_empty_and_complete() {
    let shutdown = CancellationToken::new();
    let script = async {
        let discovery = Discovery::start(settings(&[]), &shutdown);
        assert!(discovery.table.snapshot().is_complete());
        assert_eq!(discovery.table.snapshot().age(), None);
        discovery.stopped().await;
    };
    LocalSet::new().run_until(script).await;
}
