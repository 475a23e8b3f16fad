//! Loads the certificates of the configuration for clients and listener.

use super::StartError;
use crate::{
    config::{self, Config},
    discovery::NatsTls,
    tls::{
        ClientSettings, ClientTls, ListenerSettings, ListenerTls, Pem, PemSource, Reloader,
        TlsError,
    },
};

pub(super) fn failure(error: TlsError) -> StartError {
    StartError::Configuration(error.into())
}

/// What instances are reached with.
pub(super) fn backends(config: &Config) -> Result<(ClientTls, Reloader), TlsError> {
    let backends = &config.backends;
    ClientTls::open(ClientSettings {
        ca: backends.ca.as_ref().map(|ca| pem("backends.ca", ca)),
        identity: backends
            .identity
            .as_ref()
            .map(|(cert, key)| (pem("backends.cert", cert), pem("backends.key", key))),
        skip_verify: backends.skip_verify,
    })
}

/// What the main listener shows, if it speaks HTTPS.
pub(super) fn listener(config: &Config) -> Result<Option<(ListenerTls, Reloader)>, TlsError> {
    let settings = config.tls.as_ref().map(|tls| ListenerSettings {
        cert: pem("tls.cert", &tls.cert),
        key: pem("tls.key", &tls.key),
        client_ca: tls.client_ca.as_ref().map(|ca| pem("tls.client_ca", ca)),
    });
    settings.map(ListenerTls::open).transpose()
}

/// What the servers of NATS are reached with.
pub(super) fn nats(tls: &config::NatsTls) -> Result<NatsTls, TlsError> {
    NatsTls::new(&ClientSettings {
        ca: tls.ca.as_ref().map(|ca| pem("routes.nats.tls.ca", ca)),
        identity: tls.identity.as_ref().map(|(cert, key)| {
            (pem("routes.nats.tls.cert", cert), pem("routes.nats.tls.key", key))
        }),
        skip_verify: false,
    })
}

/// Reads the certificates that `config` names, without using them.
///
/// # Errors
/// The first that cannot be used of the listener's, the instances', the routes'.
pub(crate) fn check(config: &Config) -> Result<(), TlsError> {
    listener(config)?;
    backends(config)?;
    if let Some(wanted) = &config.routes.nats {
        nats(&wanted.tls)?;
    }
    Ok(())
}

fn pem(key: &'static str, pem: &config::Pem) -> Pem {
    let source = match pem {
        config::Pem::Inline(text) => PemSource::Inline(text.clone()),
        config::Pem::File(path) => PemSource::File(path.clone()),
    };
    Pem { key, source }
}
