//! Loads the certificates of the configuration.

use super::StartError;
use crate::{
    config::{Config, Effective, Mistakes, WebFile},
    query::LocatorSettings,
    tls::{CertificateFiles, ClientTls, ListenerTls, TlsError, WebTls},
};

pub(super) fn failure(error: TlsError) -> StartError {
    StartError::Configuration(error.into())
}

/// TLS of connections to instances.
pub(super) fn backends(config: &Config) -> Result<(ClientTls, CertificateFiles), TlsError> {
    ClientTls::open(config.backends.tls.clone())
}

/// TLS of the main listener, if it is configured.
pub(super) fn listener(
    config: &Config,
) -> Result<Option<(ListenerTls, CertificateFiles)>, TlsError> {
    config.tls.clone().map(ListenerTls::open).transpose()
}

/// An error of the certificates that `file` names.
pub(super) fn of_web_file(file: &WebFile, TlsError { key, problem }: TlsError) -> TlsError {
    let problem = format!("{}: {key} {problem}", file.path.display());
    TlsError { key: "web_config_file".to_owned(), problem }
}

/// Reads the certificates that `config` names, without using them. `effective` has the origins of
/// its values.
///
/// # Errors
/// The first mistake of each part of the configuration that has certificates: the listeners,
/// instances, NATS, query pools and their locators.
pub(crate) fn check(config: &Config, effective: &Effective) -> Result<(), Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut check = |read: Result<(), TlsError>| {
        if let Err(TlsError { key, problem }) = read {
            effective.add_mistake(&mut mistakes, key, problem);
        }
    };
    check(listener(config).map(drop));
    if let Some(file) = &config.web_file
        && let Some(tls) = &file.tls
    {
        let read = WebTls::open(tls, file.has_http2).map(drop);
        check(read.map_err(|error| of_web_file(file, error)));
    }
    check(backends(config).map(drop));
    if let Some(nats) = &config.routes.nats {
        check(nats.tls.config().map(drop));
    }
    for pool in &config.query.pools {
        check(pool.tls.config().map(drop));
        for locator in &pool.locators {
            if let LocatorSettings::Marathon(marathon) = locator {
                check(marathon.tls.config().map(drop));
            }
        }
    }
    match mistakes.0.is_empty() {
        true => Ok(()),
        false => Err(mistakes),
    }
}
