//! A file in gorouter's format, read again when it changes.
//!
//! Looked at rather than watched: a look costs one system call, and sees what
//! notifications miss (network disks, a config map's exchanged link).

use super::{
    Limits, document::parse_into, error::SourceError, intern::Interner, sources::Report,
    writer::Reporter,
};
use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Asks for file sources to be read again now, changed or not.
#[derive(Clone, Debug, Default)]
pub struct Reload(Arc<Notify>);

impl Reload {
    /// Asks; the reading happens soon after.
    pub fn trigger(&self) {
        self.0.notify_one();
    }
}

/// Reports the file until `shutdown`: at once, and then whenever it changes.
pub(super) async fn watch(
    path: PathBuf,
    limits: Limits,
    reporter: Reporter,
    reload: Reload,
    shutdown: CancellationToken,
) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let watching = async {
        // A stamp counts when two readings in a row found it: a second change
        // within one tick of the disk's clock leaves it as it was.
        let (mut read, mut seen): (Option<Stamp>, Option<Stamp>) = (None, None);
        let mut failure: Option<String> = None;
        loop {
            let asked = tokio::select! {
                _ = ticks.tick() => false,
                () = reload.0.notified() => {
                    (seen, failure) = (None, None);
                    true
                }
            };
            let path = path.clone();
            let known = seen;
            let look = spawn_blocking(move || {
                let looked = look(&path, known, limits.body_bytes);
                if asked {
                    answer_whoever_asked(&path, &looked);
                }
                looked
            });
            // An error of the task itself: the runtime is going away.
            let Ok(looked) = look.await else { return };
            let report = match looked {
                Ok(Some((stamp, body))) => {
                    seen = Some(stamp).filter(|_| read == Some(stamp));
                    (read, failure) = (Some(stamp), None);
                    Report::Answer(body)
                }
                Ok(None) => Report::Unchanged,
                Err(error) => {
                    seen = None;
                    let text = Some(error.to_string());
                    // Once is enough: a look a second is no poll.
                    if failure == text {
                        continue;
                    }
                    failure = text;
                    Report::Failure(error)
                }
            };
            reporter.report(report).await;
        }
    };
    shutdown.run_until_cancelled(watching).await;
}

/// Logs what came of a reload, also when the file is as bad as it was before: the source itself
/// is heard only when that changes.
fn answer_whoever_asked(path: &Path, looked: &Result<Option<(Stamp, Vec<u8>)>, SourceError>) {
    let path = tracing::field::display(path.display());
    let outcome = match looked {
        Ok(Some((_, body))) => parse_into(body, &mut Interner::default()).map(drop),
        Ok(None) => Ok(()),
        Err(error) => return tracing::error!(path, %error, "keeping the routes from before"),
    };
    match outcome {
        Ok(()) => tracing::info!(path, "the route file was read again"),
        Err(error) => tracing::error!(path, %error, "keeping the routes from before"),
    }
}

/// What changes when a file is written or exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    /// Also when a tool sets `modified` back to what it was.
    changed: (i64, i64),
}

/// The content, unless it is what was seen already.
fn look(
    path: &Path,
    seen: Option<Stamp>,
    limit: u64,
) -> Result<Option<(Stamp, Vec<u8>)>, SourceError> {
    // Before it is read: what changes meanwhile is seen at the next look.
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
