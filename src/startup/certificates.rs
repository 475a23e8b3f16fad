//! Hands the certificates of the configuration to those who use them.

use super::StartError;
use crate::{
    config::{self, Config},
    tls::{Backends, BackendsSettings, Keeper, Listener, ListenerSettings, Pem, Source, TlsError},
};

pub(super) fn failure(error: TlsError) -> StartError {
    StartError::Configuration(error.into())
}

/// What instances are reached with.
pub(super) fn backends(config: &Config) -> Result<(Backends, Keeper), TlsError> {
    let backends = &config.backends;
    Backends::open(BackendsSettings {
        ca: backends.ca.as_ref().map(|ca| pem("backends.ca", ca)),
        identity: backends
            .identity
            .as_ref()
            .map(|(cert, key)| (pem("backends.cert", cert), pem("backends.key", key))),
        skip_verify: backends.skip_verify,
    })
}

/// What the main listener shows, if it speaks HTTPS.
pub(super) fn listener(config: &Config) -> Result<Option<(Listener, Keeper)>, TlsError> {
    let settings = config.tls.as_ref().map(|tls| ListenerSettings {
        cert: pem("tls.cert", &tls.cert),
        key: pem("tls.key", &tls.key),
        client_ca: tls.client_ca.as_ref().map(|ca| pem("tls.client_ca", ca)),
    });
    settings.map(Listener::open).transpose()
}

/// Reads the certificates that `config` names, without using them.
///
/// # Errors
/// The first that cannot be used of the listener's, then of the instances'.
pub fn check(config: &Config) -> Result<(), TlsError> {
    listener(config)?;
    backends(config)?;
    Ok(())
}

fn pem(key: &'static str, pem: &config::Pem) -> Pem {
    let source = match pem {
        config::Pem::Inline(text) => Source::Inline(text.clone()),
        config::Pem::File(path) => Source::File(path.clone()),
    };
    Pem { key, source }
}
