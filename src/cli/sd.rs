//! `scrapebroker sd`: writes the target list of a running server to a file, for a Prometheus
//! without HTTP service discovery (`file_sd_configs`).
//!
//! Prometheus reads the file whenever it changes. So the file is replaced atomically, and only
//! after the list was received completely.

use super::{block_on, failure::Failure, log, print};
use crate::{
    config::LogFormat,
    net,
    tls::{ClientSettings, TlsError},
};
use awc::{error::SendRequestError, http::StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use url::Url;

/// Timeout of the whole request.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum size of a list in bytes: enough for half a million targets.
const MAX_LIST: u64 = 512 << 20;
/// Maximum length of an error text, in characters.
const MAX_ERROR: usize = 500;

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
    /// Holds a token, or USER:PASSWORD of an operator
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
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
    #[error(
        "--url must be a URL like https://scrapebroker.example.com/sd, without user and password; those belong into --token-file"
    )]
    Url,
    #[error("cannot read {0}: {1}")]
    TokenFile(PathBuf, io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("answered {0}: {1}")]
    Status(StatusCode, String),
    #[error("the answer is not a list of targets: {0}")]
    NoList(serde_json::Error),
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, io::Error),
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match &error {
            ExportError::Url | ExportError::TokenFile(..) => Self::usage(error),
            ExportError::Unreachable(_) => Self::unavailable(error),
            ExportError::Status(status, _)
                if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Self::unavailable(error)
            }
            _ => Self::other(error),
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
    let url = url(&export.url)?;
    let secret = match &export.token_file {
        None => None,
        Some(file) => Some(secret(file)?),
    };
    let fetched = tokio::time::timeout(TIMEOUT, fetch(&url, secret.as_ref())).await;
    let body = fetched.unwrap_or_else(|_| {
        let text = format!("not within {} s", TIMEOUT.as_secs());
        Err(ExportError::Unreachable(text))
    })?;
    let groups: Vec<Group> = serde_json::from_slice(&body).map_err(ExportError::NoList)?;
    write(&export.out, &body).map_err(|error| ExportError::Write(export.out.clone(), error))?;
    Ok(groups.iter().map(|group| group.targets.len()).sum())
}

fn url(text: &str) -> Result<Url, ExportError> {
    let mut url: Url = text.parse().map_err(|_| ExportError::Url)?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || has_user {
        return Err(ExportError::Url);
    }
    if url.path() == "/" {
        url.set_path("/sd");
    }
    url.set_fragment(None);
    Ok(url)
}

fn secret(file: &Path) -> Result<SecretString, ExportError> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| ExportError::TokenFile(file.to_owned(), error))?;
    Ok(text.trim().into())
}

async fn fetch(url: &Url, secret: Option<&SecretString>) -> Result<Vec<u8>, ExportError> {
    let (url, tls) = match net::plain_http_url(url.as_str()) {
        None => (url.to_string(), None),
        Some(url) => (url, Some(Arc::new(ClientSettings::default().config()?))),
    };
    let client = net::client(net::connector(tls).timeout(TIMEOUT));
    let mut request = client.get(url).insert_header(("Accept", "application/json"));
    if let Some(secret) = secret.map(ExposeSecret::expose_secret) {
        request = match secret.split_once(':') {
            Some((username, password)) => request.basic_auth(username, password),
            None => request.bearer_auth(secret),
        };
    }
    let mut response = net::send(request).await.map_err(|error| match error {
        SendRequestError::Url(_) => ExportError::Url,
        error => ExportError::Unreachable(net::reason(&error)),
    })?;
    let body = net::read_body(&mut response, MAX_LIST).await;
    let body = body.map_err(|error| ExportError::Unreachable(error.to_string()))?;
    if response.status() != StatusCode::OK {
        let text = String::from_utf8_lossy(&body);
        let text = text.trim().chars().filter(|c| !c.is_control()).take(MAX_ERROR).collect();
        return Err(ExportError::Status(response.status(), text));
    }
    Ok(body)
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
