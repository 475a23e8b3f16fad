//! Tests of the whole module with real sockets and files, or with a paused clock.

use super::{
    sources::gorouter::testing::{Behaviour, TestRouter, http},
    testing::{apps, document, until},
    *,
};
use std::{fs, path::Path};
use tokio::{task::LocalSet, time::sleep};

const SETTINGS: Settings = Settings {
    stale_after: Duration::from_secs(120),
    keep: Duration::from_secs(3600),
    refresh_interval: Duration::from_millis(5),
    limits: Limits { timeout: Duration::from_millis(500), body_bytes: 1 << 20 },
};

fn start(routers: &[&TestRouter], shutdown: &CancellationToken) -> Discovery {
    let gorouter = |router: &&TestRouter| -> Box<dyn RouteSource> {
        Box::new(Gorouter { url: router.url(), credentials: None })
    };
    Discovery::start(SETTINGS, routers.iter().map(gorouter).collect(), shutdown)
}

fn start_file(path: &Path, shutdown: &CancellationToken) -> Discovery {
    let file = RouteFile { path: path.to_owned() };
    Discovery::start(SETTINGS, vec![Box::new(file)], shutdown)
}

#[tokio::test]
async fn the_table_merges_all_routers_and_follows_changes() {
    let one = TestRouter::start(Behaviour::Answer(http(200, "", &document(&["a", "b"])))).await;
    let two =
        TestRouter::start(Behaviour::Answer(http(200, "", &document(&["a", "b", "c"])))).await;
    let shutdown = CancellationToken::new();
    let script = async {
        let discovery = start(&[&one, &two], &shutdown);
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
        let discovery = start(&[&good, &other, &mad], &shutdown);
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
            until(|| is_told(table.snapshot().sources().nth(2).unwrap())).await;
            assert_eq!(apps(table), ["a", "b"], "{reason}");
            assert!(!table.snapshot().is_complete());
        }
        assert!(table.snapshot().failed_polls() >= 7);
        mad.now_says(&document(&["c"]));
        until(|| table.snapshot().sources().nth(2).unwrap().failure.is_none()).await;
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
        let discovery = start(&[&router], &shutdown);
        let table = &discovery.table;
        until(|| apps(table).len() == 2).await;
        router.now_says("{}");
        until(|| table.snapshot().sources().next().unwrap().retained == 2).await;
        assert_eq!(apps(table), ["a", "b"]);
        router.now_says(&document(&["a", "b"]));
        until(|| table.snapshot().sources().next().unwrap().retained == 0).await;
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
        let discovery = start_file(&path, &shutdown);
        let table = &discovery.table;
        let failure =
            || table.snapshot().sources().next().unwrap().failure.clone().unwrap_or_default();
        until(|| failure().contains("cannot be read")).await;
        assert!(!table.snapshot().is_complete());
        sleep(Duration::from_secs(10)).await;
        assert_eq!(
            table.snapshot().sources().next().unwrap().failed,
            1,
            "reported once, not with every poll"
        );

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
        let discovery = start_file(&path, &shutdown);
        let failed = || discovery.table.snapshot().sources().next().unwrap().failed;
        // Read twice, because a stamp is trusted after the second read.
        until(|| failed() == 2).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(failed(), 2);
        let reload = async || discovery.reload.file().unwrap().1.await;
        assert!(reload().await.unwrap_err().contains("is not"), "{:?}", reload().await);
        until(|| failed() > 2).await;
        fs::write(&path, document(&["a"])).unwrap();
        assert_eq!(reload().await, Ok(()));
        until(|| apps(&discovery.table) == ["a"]).await;
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
        let discovery = start_file(&path, &shutdown);
        sleep(Duration::from_secs(300)).await;
        let age = discovery.table.snapshot().age().unwrap();
        assert!(age <= Duration::from_secs(2), "{age:?}");
        assert_eq!(apps(&discovery.table), ["a"]);
        shutdown.cancel();
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test]
async fn without_a_source_the_table_is_empty_and_complete() {
    let shutdown = CancellationToken::new();
    let script = async {
        let discovery = start(&[], &shutdown);
        assert!(discovery.table.snapshot().is_complete());
        assert_eq!(discovery.table.snapshot().age(), None);
        discovery.stopped().await;
    };
    LocalSet::new().run_until(script).await;
}
