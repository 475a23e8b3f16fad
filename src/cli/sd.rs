//! `scrapebroker sd`: writes the target list of a running server to a file, for a Prometheus
//! without HTTP service discovery (`file_sd_configs`).
//!
//! Prometheus reads the file whenever it changes. So the file is replaced atomically, and only
//! after the list was received completely.

use super::{
    block_on,
    failure::Failure,
    log, print,
    request::{InstallationClient, RequestError, TokenFile, body_of, installation_url},
};
use crate::{config::LogFormat, net};
use awc::http::Method;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Timeout of the whole request.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum size of a list in bytes: enough for half a million targets.
const MAX_LIST: u64 = 512 << 20;

#[derive(clap::Args)]
pub(super) struct Sd {
    // Not a doc comment: rustdoc requires brackets around the URL, which the help text would
    // contain.
    #[arg(
        long,
        value_name = "URL",
        help = "That of /sd, as in https://scrapebroker.example.com/sd?mode=direct"
    )]
    url: String,
    #[command(flatten)]
    token: TokenFile,
    /// The file; it is replaced as a whole, and kept when there is no answer
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Sd {
    pub(super) fn run(self) -> Result<(), Failure> {
        log("warn", LogFormat::Text)?;
        let targets = block_on(export(&self))?;
        print(&format_args!("{targets} targets in {}", self.out.display()))
    }
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the answer is not a list of targets: {0}")]
    NoList(serde_json::Error),
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, io::Error),
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Request(error) => error.into(),
            error => Self::other(error),
        }
    }
}

/// A target group in the format of Prometheus HTTP service discovery.
#[derive(Debug, Deserialize)]
struct Group {
    targets: Vec<String>,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
}

/// Writes the file, and returns the number of its targets. After an error the file is unchanged.
async fn export(export: &Sd) -> Result<usize, ExportError> {
    let body = tokio::time::timeout(TIMEOUT, fetch(export)).await.unwrap_or_else(|_| {
        let text = format!("not within {} s", TIMEOUT.as_secs());
        Err(RequestError::Unreachable(text))
    })?;
    let groups: Vec<Group> = serde_json::from_slice(&body).map_err(ExportError::NoList)?;
    write(&export.out, &body).map_err(|error| ExportError::Write(export.out.clone(), error))?;
    Ok(groups.iter().map(|group| group.targets.len()).sum())
}

async fn fetch(export: &Sd) -> Result<Vec<u8>, RequestError> {
    let url = installation_url(&export.url, "/sd")?;
    let client = InstallationClient::new(&url, export.token.read()?, TIMEOUT)?;
    body_of(net::send(client.request(Method::GET, &url)), MAX_LIST).await
}

/// Writes a temporary file first, so that Prometheus never reads a partial list.
fn write(out: &Path, body: &[u8]) -> io::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut temporary = tempfile::Builder::new()
        .prefix(".targets-")
        .suffix(".draft")
        // Prometheus usually runs as another user. The umask may restrict the mode further.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    temporary.write_all(body)?;
    temporary.as_file().sync_all()?;
    temporary.persist(out).map(drop).map_err(|error| error.error)
}
