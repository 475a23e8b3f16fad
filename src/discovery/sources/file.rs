//! A route file in gorouter's format. It is read again when it changes.
//!
//! The file is polled, because one system call is cheap and file notifications miss changes on
//! network disks and swapped links of a Kubernetes ConfigMap.

use crate::discovery::{
    Reporting, RouteSource, SourceContext, SourceKind, document::parse_into, error::SourceError,
    intern::Interner, report::Report,
};
use futures_util::future::LocalBoxFuture;
use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

pub(in crate::discovery) const KIND: SourceKind = SourceKind {
    key: "routes.file",
    is_list: false,
    is_configured: true,
    is_tsuru: false,
    reporting: Reporting::Full,
};

/// Interval between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A route file.
#[derive(Clone, Debug)]
pub struct RouteFile {
    pub path: PathBuf,
}

impl RouteSource for RouteFile {
    fn name(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn kind(&self) -> SourceKind {
        KIND
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn run(self: Box<Self>, context: SourceContext) -> LocalBoxFuture<'static, ()> {
        Box::pin(watch(self.path, context))
    }
}

/// Reports the file at startup and whenever it changes.
async fn watch(path: PathBuf, context: SourceContext) {
    let SourceContext { settings, reporter, mut reload } = context;
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The stamp is trusted after two reads with the same stamp: a second change within one tick of
    // the disk's clock does not change it.
    let (mut read, mut seen): (Option<Stamp>, Option<Stamp>) = (None, None);
    let mut failure: Option<String> = None;
    loop {
        let request = tokio::select! {
            _ = ticks.tick() => None,
            Some(request) = reload.recv() => {
                (seen, failure) = (None, None);
                Some(request)
            }
        };
        let path = path.clone();
        let known = seen;
        let reading = spawn_blocking(move || {
            let outcome = read_if_changed(&path, known, settings.limits.body_bytes);
            if let Some(request) = request {
                // A client may have stopped waiting.
                let _ = request.send(log_reload(&path, &outcome));
            }
            outcome
        });
        // The task fails only if the runtime shuts down.
        let Ok(outcome) = reading.await else { return };
        let report = match outcome {
            Ok(Some((stamp, body))) => {
                seen = Some(stamp).filter(|_| read == Some(stamp));
                (read, failure) = (Some(stamp), None);
                Report::Full(body)
            }
            Ok(None) => Report::Unchanged,
            Err(error) => {
                seen = None;
                let text = Some(error.to_string());
                // The same failure is reported once, not every second.
                if failure == text {
                    continue;
                }
                failure = text;
                Report::Failure(error)
            }
        };
        reporter.report(report).await;
    }
}

/// Logs and returns the result of a requested reload. The source itself logs a failure only once.
fn log_reload(
    path: &Path,
    outcome: &Result<Option<(Stamp, Vec<u8>)>, SourceError>,
) -> Result<(), String> {
    let outcome = match outcome {
        Ok(Some((_, body))) => {
            let parsed = parse_into(body, &mut Interner::default());
            parsed.map(drop).map_err(|error| error.to_string())
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let path = path.display();
    match &outcome {
        Ok(()) => tracing::info!(%path, "route file reloaded"),
        Err(error) => {
            tracing::error!(%path, error, "route file not reloaded; keeping the previous routes");
        }
    }
    outcome
}

/// Metadata that changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    /// Detects changes even if a tool restores `modified`.
    changed: (i64, i64),
}

/// Returns the content unless the stamp is still `seen`.
fn read_if_changed(
    path: &Path,
    seen: Option<Stamp>,
    limit: u64,
) -> Result<Option<(Stamp, Vec<u8>)>, SourceError> {
    // Read before the content, so that a change in between is noticed by the next poll.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    let stamp = Stamp {
        inode: (metadata.dev(), metadata.ino()),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    if seen == Some(stamp) {
        return Ok(None);
    }
    let expected = stamp.bytes.min(limit);
    let mut body = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut body)?;
    if body.len() as u64 > limit {
        return Err(SourceError::TooLarge(limit));
    }
    Ok(Some((stamp, body)))
}
