//! SQLite databases and their files.
//!
//! An open file can be deleted, moved or replaced. SQLite would continue to write into a file that
//! cannot be found. Therefore each transaction checks the path before it begins and after it has
//! committed:
//!
//! * **No file:** returns an error and creates nothing. The operator can restore the file, create
//!   an empty file, or restart Scrapebroker. The last two begin with an empty database.
//! * **Another file**, or another write-ahead log: the old database is closed, and the new one is
//!   opened and migrated.

use super::{ACQUIRE_TIMEOUT, StoreError, migrate, private};
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

/// Settings of each connection. With `FULL`, a committed transaction survives a power failure.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                      PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000";
const READER: &str = "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000";

/// Characters that need no encoding in the path of a URL.
const URL_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// The database at a path, even if its file is replaced.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    max_readers: u32,
    opened: ArcSwap<OpenDatabase>,
    reopening: Mutex<()>,
}

/// Connections to a file that is or was at the path.
#[derive(Debug)]
pub(super) struct OpenDatabase {
    path: PathBuf,
    writer: AnyPool,
    reader: AnyPool,
    /// Not used for queries. SQLite removes the write-ahead log with the last connection, the pools
    /// open and close connections, and the log identifies the database.
    anchor: Mutex<Option<AnyConnection>>,
    files: FileIds,
}

/// Each connection opens the file, its write-ahead log and the index of the log.
const FILES_PER_CONNECTION: usize = 3;
/// The writer, the anchor and a backup.
const OTHER_CONNECTIONS: usize = 3;

pub(super) fn max_descriptors(readers: usize) -> usize {
    readers.saturating_add(OTHER_CONNECTIONS).saturating_mul(FILES_PER_CONNECTION)
}

impl Sqlite {
    /// Opens the path of a URL without its `sqlite:`. Creates the file but no directory.
    pub(super) async fn open(url: &str, max_readers: u32) -> Result<Self, StoreError> {
        let path = path_of(url)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        if !fs::metadata(directory).await.is_ok_and(|found| found.is_dir()) {
            let reason = format!("there is no directory {} to keep it in", directory.display());
            return Err(StoreError::unavailable(reason));
        }
        let opened = OpenDatabase::open(&path, OpenMode::Create, max_readers).await?;
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

    /// Returns the open database. Opens the path again if its file was replaced.
    pub(super) async fn current(&self) -> Result<Arc<OpenDatabase>, StoreError> {
        let opened = self.opened.load_full();
        if opened.is_in_place().await? {
            return Ok(opened);
        }
        let _one_at_a_time = self.reopening.lock().await;
        let opened = self.opened.load_full();
        if opened.is_in_place().await? {
            return Ok(opened);
        }
        opened.close_replaced().await;
        let opened = OpenDatabase::open(&self.path, OpenMode::Existing, self.max_readers).await?;
        let opened = Arc::new(opened);
        self.opened.store(Arc::clone(&opened));
        tracing::warn!(
            path = %self.path.display(),
            "database file replaced; opened the new one"
        );
        Ok(opened)
    }

    pub(super) async fn close(&self) {
        self.opened.load().close().await;
    }
}

#[derive(Clone, Copy)]
pub(super) enum OpenMode {
    Create,
    Existing,
}

impl OpenDatabase {
    async fn open(path: &Path, mode: OpenMode, max_readers: u32) -> Result<Self, StoreError> {
        let options = options(path, mode)?;
        let pool = |pragmas: &'static str| {
            AnyPoolOptions::new()
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // On a full disk SQLite rolls back by itself, but the driver still assumes an open
                // transaction.
                .before_acquire(|connection, _| {
                    let clean = !connection.is_in_transaction();
                    Box::pin(async move { Ok(clean) })
                })
                .after_connect(move |connection, _| {
                    Box::pin(async move { connection.execute(pragmas).await.map(drop) })
                })
        };
        if let OpenMode::Create = mode
            && let Err(error) = private::create(path)
        {
            tracing::debug!(%error, "cannot create the database file");
        }
        // SQLite creates companion files with the permissions of the database.
        for file in [path.to_owned(), companion_path(path, "-wal"), companion_path(path, "-shm")] {
            private::restrict_permissions(&file);
        }
        // Uses a separate connection, because a pool hides why it cannot connect.
        let mut anchor = options.connect().await?;
        anchor.execute(WRITER).await?;
        migrate(&mut anchor).await?;
        let writer = pool(WRITER).max_connections(1).connect_with(options.clone()).await?;
        let reader = pool(READER).max_connections(max_readers.max(1)).connect_lazy_with(options);
        let files = FileIds::at(path).await?;
        let anchor = Mutex::new(Some(anchor));
        Ok(Self { path: path.to_owned(), writer, reader, anchor, files })
    }

    pub(super) fn writer(&self) -> &AnyPool {
        &self.writer
    }

    pub(super) fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Whether the open files are those at the path.
    async fn is_in_place(&self) -> Result<bool, StoreError> {
        Ok(FileIds::at(&self.path).await? == self.files && !self.writer.is_closed())
    }

    /// Checks after a commit that the file is still at the path.
    pub(super) async fn check_in_place(&self) -> Result<(), StoreError> {
        match self.is_in_place().await? {
            true => Ok(()),
            false => Err(StoreError::unavailable(format!(
                "the file {} was replaced during a write",
                self.path.display()
            ))),
        }
    }

    /// Closes a database whose file was replaced.
    ///
    /// The content of its write-ahead log is moved into the file, wherever that is now. If its log
    /// is still at the path, it is removed: SQLite would apply it to the new file.
    async fn close_replaced(&self) {
        if !self.writer.is_closed() {
            let checkpoint = self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
            if let Err(error) = checkpoint {
                tracing::warn!(%error, "cannot checkpoint the replaced database file");
            }
        }
        self.close().await;
        let log = companion_path(&self.path, "-wal");
        if self.files.log.is_some() && FileId::of(&log).await.ok() == self.files.log {
            // The index belongs to the log, and SQLite recreates it when it is missing.
            for file in [log, companion_path(&self.path, "-shm")] {
                if let Err(error) = fs::remove_file(&file).await {
                    tracing::warn!(%error, path = %file.display(), "cannot remove a file of the replaced database");
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
            tracing::warn!(%error, "database file not closed cleanly");
        }
    }
}

/// Identity of the files of a database.
#[derive(Debug, PartialEq, Eq)]
struct FileIds {
    database: FileId,
    /// None on file systems that do not support a write-ahead log.
    log: Option<FileId>,
}

impl FileIds {
    async fn at(path: &Path) -> Result<Self, StoreError> {
        let database = FileId::of(path).await.map_err(|error| {
            let path = path.display();
            let reason = match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "the file {path} is missing; restore it, or restart to begin with an empty one"
                ),
                _ => format!("the file {path}: {error}"),
            };
            StoreError::unavailable(reason)
        })?;
        Ok(Self { database, log: FileId::of(&companion_path(path, "-wal")).await.ok() })
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

fn companion_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// URL for the driver: an encoded path and a mode of SQLite.
fn driver_url(path: &Path, mode: &str) -> String {
    let encoded = utf8_percent_encode(path.to_str().unwrap_or_default(), URL_SAFE);
    format!("sqlite://{encoded}?mode={mode}")
}

/// Converts the part of a user's URL after `sqlite:`.
pub(super) fn url_of(url: &str, mode: &str) -> Result<String, StoreError> {
    Ok(driver_url(&path_of(url)?, mode))
}

pub(super) fn options(path: &Path, mode: OpenMode) -> Result<AnyConnectOptions, StoreError> {
    let mode = match mode {
        OpenMode::Create => "rwc",
        OpenMode::Existing => "rw",
    };
    Ok(AnyConnectOptions::from_str(&driver_url(path, mode))?)
}

/// Returns the absolute path in a URL after `sqlite:`, with or without two slashes.
pub(super) fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    let text = url.strip_prefix("//").unwrap_or(url);
    let wrong = |problem: &str| Err(StoreError::Url(problem.to_owned()));
    if text.contains(['?', '#']) {
        return wrong("takes no options after the path of an SQLite file");
    }
    let Ok(path) = percent_decode_str(text).decode_utf8() else {
        return wrong("must name a file with a UTF-8 name");
    };
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return wrong("must name a file, as in sqlite://scrapebroker.db");
    }
    if path.starts_with(":memory:") {
        return wrong("must name a file: a database in memory does not survive a restart");
    }
    // A relative path must not change with the working directory.
    std::path::absolute(&*path).map_err(|error| {
        StoreError::unavailable(format!("the working directory is not known: {error}"))
    })
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
