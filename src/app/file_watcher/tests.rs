use super::*;
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::task::LocalSet;

/// Counts how often the content of `path` was applied. The content `broken` is invalid.
fn watched(path: &Path, applied: &Arc<AtomicU64>) -> WatchedFiles {
    let contents = |path: &Path| vec![fs::read(path).map_err(|error| error.to_string())];
    let (of_paths, of_contents, of_apply) = (path.to_owned(), path.to_owned(), path.to_owned());
    let applied = Arc::clone(applied);
    WatchedFiles {
        section: "tls".to_owned(),
        first: contents(path),
        paths: Box::new(move || vec![of_paths.clone()]),
        contents: Box::new(move || contents(&of_contents)),
        apply: Box::new(move || match fs::read_to_string(&of_apply) {
            Ok(text) if text != "broken" => {
                applied.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(text) => Err(format!("it is {text}")),
            Err(error) => Err(error.to_string()),
        }),
    }
}

/// Advances the paused clock so that the watcher checks the files this many times.
async fn wait_for_checks(times: u32) {
    for _ in 0..times * 4 {
        tokio::time::advance(Duration::from_millis(250)).await;
        // Files are read on other threads, in real time.
        for _ in 0..20 {
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

async fn reaches(value: impl Fn() -> u64, expected: u64) {
    for _ in 0..200 {
        if value() == expected {
            return;
        }
        wait_for_checks(1).await;
    }
    panic!("{} instead of {expected}", value());
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_applied_once_and_invalid_ones_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "a").unwrap();
    let applied = Arc::default();
    let (loops, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let metrics = ReloadMetrics::default();
    let section = metrics.of_section("tls".to_owned());
    LocalSet::new()
        .run_until(async {
            let watcher = FileWatcher::start(watched(&path, &applied), &metrics, &loops, &shutdown);
            let count = || applied.load(Ordering::Relaxed);
            let failed = || section.failed.get();

            wait_for_checks(5).await;
            assert_eq!(count(), 0, "nothing has changed");
            fs::write(&path, "b").unwrap();
            reaches(count, 1).await;
            fs::write(&path, "broken").unwrap();
            reaches(failed, 1).await;
            assert_eq!(section.last_successful.get(), 0);
            wait_for_checks(5).await;
            assert_eq!((count(), failed()), (1, 1), "the same content is tried once");
            fs::remove_file(&path).unwrap();
            reaches(failed, 2).await;
            fs::write(&path, "c").unwrap();
            reaches(count, 2).await;
            assert_eq!((section.applied.get(), section.last_successful.get()), (2, 1));

            // A request reads the files even if they have not changed, and returns the outcome.
            assert_eq!(watcher.reload().await, Ok(()));
            assert_eq!(count(), 3);
            fs::write(&path, "broken").unwrap();
            assert_eq!(watcher.reload().await, Err("it is broken".to_owned()));
            assert_eq!(failed(), 3);
            assert_eq!((watcher.section(), watcher.paths()), ("tls", vec![path.clone()]));

            shutdown.cancel();
            loops.close();
            loops.wait().await;
            assert_eq!(watcher.reload().await, Err("the program stops".to_owned()));
        })
        .await;
}
