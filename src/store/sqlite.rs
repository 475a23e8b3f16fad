//! SQLite, and the file it lives in.
//!
//! An open file can be deleted, moved or replaced, and SQLite would go on
//! writing into what nobody can find any more. So each transaction looks at the
//! path before it begins and after it has committed:
//!
//! * **No file:** an error, and nothing is created. Whoever took it away can put
//!   it back (the same file: we go on; another one: we open it), put an empty
//!   file there to begin anew, or restart us, which also begins anew.
//! * **Another file**, or another write-ahead log beside it: ours is closed and
//!   the new one opened and migrated.

use super::{ACQUIRE, StoreError, migrate, private};
use arc_swap::ArcSwap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::{
    AnyConnection, AnyPool, ConnectOptions, Connection, Executor,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};
use tokio::{fs, sync::Mutex};

/// What each connection is told. `FULL`: an acknowledged binding survives a power cut.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                      PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000";
const READER: &str = "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000";

/// Characters that mean nothing in a URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// One database file at one path, whatever file that is at the moment.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    max_readers: u32,
    opened: ArcSwap<Opened>,
    reopening: Mutex<()>,
}

/// A file that is or was at the path.
#[derive(Debug)]
pub(super) struct Opened {
    path: PathBuf,
    writer: AnyPool,
    reader: AnyPool,
    /// Never used: with the last connection SQLite would remove the write-ahead log, by which we
    /// know the database, and those of the pools come and go.
    anchor: Mutex<Option<AnyConnection>>,
    files: Files,
}

/// Each connection opens the file, its write-ahead log, and the index of that.
const PER_CONNECTION: usize = 3;
/// The writer, the anchor, and a backup.
const BESIDE_READERS: usize = 3;

pub(super) fn max_descriptors(readers: usize) -> usize {
    readers.saturating_add(BESIDE_READERS).saturating_mul(PER_CONNECTION)
}

impl Sqlite {
    /// Opens `path`, as it stands in a URL behind `sqlite:`; creates the file but no directory.
    pub(super) async fn open(url: &str, max_readers: u32) -> Result<Self, StoreError> {
        let path = path_of(url)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        if !fs::metadata(directory).await.is_ok_and(|found| found.is_dir()) {
            let reason = format!("there is no directory {} to keep it in", directory.display());
            return Err(StoreError::away(reason));
        }
        let opened = Opened::open(&path, Mode::Create, max_readers).await?;
        Ok(Self {
            path,
            max_readers,
            opened: ArcSwap::from_pointee(opened),
            reopening: Mutex::new(()),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file at the path, opened again if it is another one than before.
    pub(super) async fn current(&self) -> Result<Arc<Opened>, StoreError> {
        let opened = self.opened.load_full();
        if opened.is_in_place().await? {
            return Ok(opened);
        }
        let _one_at_a_time = self.reopening.lock().await;
        let opened = self.opened.load_full();
        if opened.is_in_place().await? {
            return Ok(opened);
        }
        opened.abandon().await;
        let opened = Opened::open(&self.path, Mode::Existing, self.max_readers).await?;
        let opened = Arc::new(opened);
        self.opened.store(Arc::clone(&opened));
        tracing::warn!(
            path = %self.path.display(),
            "the database file was replaced; the new one is open"
        );
        Ok(opened)
    }

    pub(super) async fn close(&self) {
        self.opened.load().close().await;
    }
}

#[derive(Clone, Copy)]
pub(super) enum Mode {
    Create,
    Existing,
}

impl Opened {
    async fn open(path: &Path, mode: Mode, max_readers: u32) -> Result<Self, StoreError> {
        let options = options(path, mode)?;
        let pool = |pragmas: &'static str| {
            AnyPoolOptions::new()
                .acquire_timeout(ACQUIRE)
                // On a full disk SQLite rolls back by itself; the driver then believes to be in a
                // transaction for ever.
                .before_acquire(|connection, _| {
                    let clean = !connection.is_in_transaction();
                    Box::pin(async move { Ok(clean) })
                })
                .after_connect(move |connection, _| {
                    Box::pin(async move { connection.execute(pragmas).await.map(drop) })
                })
        };
        if let Mode::Create = mode
            && let Err(error) = private::create(path)
        {
            tracing::debug!(%error, "the database file could not be made; SQLite says why");
        }
        // SQLite gives the files beside it the permissions of the database.
        for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
            private::protect(&file);
        }
        // On a connection of its own: unlike a pool it says why it cannot connect.
        let mut anchor = options.connect().await?;
        anchor.execute(WRITER).await?;
        migrate(&mut anchor).await?;
        let writer = pool(WRITER).max_connections(1).connect_with(options.clone()).await?;
        let reader = pool(READER).max_connections(max_readers.max(1)).connect_lazy_with(options);
        let files = Files::at(path).await?;
        let anchor = Mutex::new(Some(anchor));
        Ok(Self { path: path.to_owned(), writer, reader, anchor, files })
    }

    pub(super) fn writer(&self) -> &AnyPool {
        &self.writer
    }

    pub(super) fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Whether what is open is what stands at the path.
    async fn is_in_place(&self) -> Result<bool, StoreError> {
        Ok(Files::at(&self.path).await? == self.files && !self.writer.is_closed())
    }

    /// For the moment after a commit: what was committed must be findable.
    pub(super) async fn check_in_place(&self) -> Result<(), StoreError> {
        match self.is_in_place().await? {
            true => Ok(()),
            false => Err(StoreError::away(format!(
                "the file {} was replaced while it was written to",
                self.path.display()
            ))),
        }
    }

    /// Leaves a file that is no longer ours to write.
    ///
    /// What its write-ahead log holds goes into the file, wherever that is now.
    /// A log of ours that is left at the path must go: SQLite would take it for
    /// that of the new file.
    async fn abandon(&self) {
        if !self.writer.is_closed() {
            let checkpoint = self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
            if let Err(error) = checkpoint {
                tracing::warn!(%error, "the replaced database file could not be completed");
            }
        }
        self.close().await;
        let log = beside(&self.path, "-wal");
        if self.files.log.is_some() && FileId::of(&log).await.ok() == self.files.log {
            // Its index is of no use without it, and is built anew when missing.
            for file in [log, beside(&self.path, "-shm")] {
                if let Err(error) = fs::remove_file(&file).await {
                    tracing::warn!(%error, path = %file.display(), "cannot be removed");
                }
            }
        }
    }

    async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
        if let Some(anchor) = self.anchor.lock().await.take()
            && let Err(error) = anchor.close().await
        {
            tracing::warn!(%error, "the database file was not closed cleanly");
        }
    }
}

/// The files of a database, told apart from others that may take their place.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    database: FileId,
    /// The write-ahead log; none on a file system that cannot have one.
    log: Option<FileId>,
}

impl Files {
    async fn at(path: &Path) -> Result<Self, StoreError> {
        let database = FileId::of(path).await.map_err(|error| {
            let path = path.display();
            let reason = match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "the file {path} is gone; put it back, or restart to begin with an empty one"
                ),
                _ => format!("the file {path}: {error}"),
            };
            StoreError::away(reason)
        })?;
        Ok(Self { database, log: FileId::of(&beside(path, "-wal")).await.ok() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    async fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path).await?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What the driver understands: a path encoded whole, and one of SQLite's modes.
fn driver_url(path: &Path, mode: &str) -> String {
    let encoded = utf8_percent_encode(path.to_str().unwrap_or_default(), PLAIN);
    format!("sqlite://{encoded}?mode={mode}")
}

/// The same for what stands behind `sqlite:` in a URL that a person wrote.
pub(super) fn url_of(url: &str, mode: &str) -> Result<String, StoreError> {
    Ok(driver_url(&path_of(url)?, mode))
}

/// How to connect to the file at `path`.
pub(super) fn options(path: &Path, mode: Mode) -> Result<AnyConnectOptions, StoreError> {
    let mode = match mode {
        Mode::Create => "rwc",
        Mode::Existing => "rw",
    };
    Ok(AnyConnectOptions::from_str(&driver_url(path, mode))?)
}

/// The absolute path behind `sqlite:`, with or without the two slashes.
pub(super) fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    let text = url.strip_prefix("//").unwrap_or(url);
    let wrong = |problem: &str| Err(StoreError::Url(problem.to_owned()));
    if text.contains(['?', '#']) {
        return wrong("takes no options after the path of an SQLite file");
    }
    let Ok(path) = percent_decode_str(text).decode_utf8() else {
        return wrong("must name a file whose name is UTF-8");
    };
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return wrong("must name a file, as in sqlite://scrapebroker.db");
    }
    if path.starts_with(":memory:") {
        return wrong("must name a file: what is kept in memory would not outlive a restart");
    }
    // The working directory may change; the file must not change with it.
    std::path::absolute(&*path)
        .map_err(|error| StoreError::away(format!("the working directory is not known: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_by_an_absolute_or_relative_path() {
        let here = std::env::current_dir().unwrap();
        let cases = [
            ("//scrapebroker.db", here.join("scrapebroker.db")),
            ("scrapebroker.db", here.join("scrapebroker.db")),
            ("///var/lib/My%20Data.db", PathBuf::from("/var/lib/My Data.db")),
            ("/var/lib/100%25.db", PathBuf::from("/var/lib/100%.db")),
        ];
        for (url, path) in cases {
            assert_eq!(path_of(url).unwrap(), path, "{url}");
        }
        for url in ["", "//", ":memory:", "//:memory:", "//a.db?mode=ro", "/data/", "/%ff", "/%00"]
        {
            assert!(matches!(path_of(url), Err(StoreError::Url(_))), "{url}");
        }
    }
}
