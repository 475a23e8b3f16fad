//! The web configuration file: its settings, which several listeners use, and how a change of it is
//! applied. If the new content is invalid, the previous settings stay active.

use super::{
    StartError, certificates,
    file_watcher::{Contents, WatchedFiles},
};
use crate::{
    config::{Config, ConfigError, Mistakes, WebFile},
    http::access::gate::Gate,
    telemetry,
    tls::{Alpn, CurrentAcceptor, Pem, PemSource, WebTls},
};
use arc_swap::ArcSwap;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::field;

/// The key of the configuration that names the file.
const KEY: &str = "web_config_file";

/// The settings of the file. Clones share them.
#[derive(Clone)]
pub(super) struct WebConfig {
    pub(super) gate: Gate,
    tls: Option<WebTls>,
    /// The file and its certificates, as they were read last.
    paths: Arc<ArcSwap<Vec<PathBuf>>>,
}

impl WebConfig {
    /// `gate` has the settings of the file already. Also returns the files to watch.
    pub(super) fn open(
        config: &Config,
        gate: Gate,
    ) -> Result<(Self, Option<WatchedFiles>), StartError> {
        let file = config.web_file.as_ref();
        // They are taken before the certificates are read, so that no change is missed.
        let first = file.map(|file| contents(Ok(file.digest.clone()), Some(file)));
        let tls = file.and_then(|file| Some((file.tls.as_ref()?, file.has_http2)));
        let tls = tls.map(|(tls, has_http2)| WebTls::open(tls, has_http2)).transpose();
        let tls = tls.map_err(|error| match file {
            Some(file) => certificates::of_web_file(file, error),
            None => error,
        });
        let paths = file.map(paths).unwrap_or_default();
        let opened = Self {
            gate,
            tls: tls.map_err(certificates::failure)?,
            paths: Arc::new(ArcSwap::from_pointee(paths)),
        };
        let files = file.zip(first).map(|(file, first)| opened.files(&file.path, first));
        Ok((opened, files))
    }

    /// The acceptor of a listener, if the file enables TLS.
    pub(super) fn acceptor(&self, alpn: Alpn) -> Option<CurrentAcceptor> {
        self.tls.as_ref().map(|tls| tls.acceptor(alpn))
    }

    fn files(&self, path: &Path, first: Contents) -> WatchedFiles {
        let (of_contents, of_apply) = (path.to_owned(), path.to_owned());
        let (paths, own) = (Arc::clone(&self.paths), self.clone());
        WatchedFiles {
            section: KEY.to_owned(),
            first,
            paths: Box::new(move || paths.load().to_vec()),
            contents: Box::new(move || {
                let digest = WebFile::digest(&of_contents).map_err(|error| error.to_string());
                contents(digest, WebFile::read(&of_contents).ok().as_ref())
            }),
            apply: Box::new(move || {
                let file = WebFile::read(&of_apply).map_err(|error| one_line(&error))?;
                own.apply(&file)
            }),
        }
    }

    /// Applies all of `file`, or nothing.
    fn apply(&self, file: &WebFile) -> Result<(), String> {
        match (&self.tls, &file.tls) {
            (Some(tls), Some(settings)) => {
                tls.replace(settings, file.has_http2).map_err(|error| error.to_string())?;
            }
            (None, None) => {}
            (Some(_), None) => {
                return Err("tls_server_config: TLS cannot be disabled without a restart".into());
            }
            (None, Some(_)) => {
                return Err("tls_server_config: TLS cannot be enabled without a restart".into());
            }
        }
        let had_users = self.gate.has_users();
        self.gate.replace(file.gate.clone());
        self.paths.store(Arc::new(paths(file)));
        tracing::info!(
            path = %file.path.display(),
            tls = file.tls.is_some(),
            http2 = file.tls.is_some() && file.has_http2,
            users = file.gate.users.len(),
            rate_limit = file.gate.rate_limit.map(field::display),
            "web configuration applied"
        );
        if had_users && file.gate.users.is_empty() {
            tracing::warn!(
                path = %file.path.display(),
                "the last user was removed from the web configuration file; requests need no password now"
            );
        }
        Ok(())
    }
}

fn paths(file: &WebFile) -> Vec<PathBuf> {
    let path = |pem: &Pem| match &pem.source {
        PemSource::File(path) => Some(path.clone()),
        PemSource::Inline(_) => None,
    };
    let pems = file.tls.iter().flat_map(|tls| tls.pems()).filter_map(path);
    [file.path.clone()].into_iter().chain(pems).collect()
}

/// Digests of the file and its certificates.
fn contents(digest: Result<Vec<u8>, String>, file: Option<&WebFile>) -> Contents {
    let pems = file.into_iter().filter_map(|file| file.tls.as_ref()).flat_map(|tls| tls.pems());
    let pems = pems.filter_map(Pem::fingerprint);
    [digest].into_iter().chain(pems.map(|it| it.map_err(|error| error.to_string()))).collect()
}

/// All mistakes, in one line of the log.
fn one_line(error: &ConfigError) -> String {
    match error {
        ConfigError::Mistakes(Mistakes(mistakes)) => {
            let line = |it: &crate::config::Mistake| format!("{}: {}", it.key, it.problem);
            mistakes.iter().map(line).collect::<Vec<_>>().join("; ")
        }
        ConfigError::Unreadable { path, source } => {
            format!("cannot read the web configuration file {}: {source}", path.display())
        }
        error @ ConfigError::NotYaml { .. } => telemetry::causes(error),
    }
}
