//! Loads the certificates of the configuration.

use super::StartError;
use crate::{
    config::Config,
    query::LocatorSettings,
    tls::{ClientTls, ListenerTls, Reloader, TlsError, WebTls},
};

pub(super) fn failure(error: TlsError) -> StartError {
    StartError::Configuration(error.into())
}

/// TLS of connections to instances.
pub(super) fn backends(config: &Config) -> Result<(ClientTls, Reloader), TlsError> {
    ClientTls::open(config.backends.tls.clone())
}

/// TLS of the main listener, if it is configured.
pub(super) fn listener(config: &Config) -> Result<Option<(ListenerTls, Reloader)>, TlsError> {
    config.tls.clone().map(ListenerTls::open).transpose()
}

/// Reads the certificates that `config` names, without using them.
///
/// # Errors
/// The first that cannot be used, of the listener, of instances, of NATS, and of query pools.
pub(crate) fn check(config: &Config) -> Result<(), TlsError> {
    listener(config)?;
    if let Some(file) = &config.web_file
        && let Some(tls) = &file.tls
    {
        WebTls::open(tls, file.has_http2)?;
    }
    backends(config)?;
    if let Some(nats) = &config.routes.nats {
        nats.tls.config()?;
    }
    for pool in &config.query.pools {
        pool.tls.config()?;
        for locator in &pool.locators {
            if let LocatorSettings::Marathon(marathon) = locator {
                marathon.tls.config()?;
            }
        }
    }
    Ok(())
}
