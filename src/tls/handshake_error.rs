//! Error texts of failed TLS handshakes that explain the cause.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use std::{
    io,
    time::{Duration, UNIX_EPOCH},
};

/// A failed TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct HandshakeError {
    /// The peer's certificate is valid for another name, so the address was probably reassigned.
    pub is_name_mismatch: bool,
    /// Explanation for humans.
    pub text: String,
}

impl HandshakeError {
    pub(super) fn new(error: &io::Error) -> Self {
        let is_name_mismatch = matches!(
            tls_error(error),
            Some(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        let text = match tls_error(error) {
            Some(error) => explain(error),
            None => format!("the connection ended within the TLS handshake: {error}"),
        };
        Self { is_name_mismatch, text }
    }
}

/// A failed TLS handshake with a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHandshakeError {
    /// One of [`REASONS`](Self::REASONS).
    pub reason: &'static str,
    /// Explanation for humans.
    pub text: String,
}

const CLOSED: &str = "closed";
const CLIENT_CERTIFICATE: &str = "client_certificate";
const INCOMPATIBLE: &str = "incompatible";
const ALERT: &str = "alert";
const OTHER: &str = "other";

impl ClientHandshakeError {
    pub const REASONS: [&'static str; 5] = [CLOSED, CLIENT_CERTIFICATE, INCOMPATIBLE, ALERT, OTHER];
}

impl From<&io::Error> for ClientHandshakeError {
    fn from(error: &io::Error) -> Self {
        let reason = match tls_error(error) {
            None => CLOSED,
            Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => {
                CLIENT_CERTIFICATE
            }
            Some(Error::PeerIncompatible(_)) => INCOMPATIBLE,
            Some(Error::AlertReceived(_)) => ALERT,
            Some(_) => OTHER,
        };
        let text = match tls_error(error) {
            // Clients reject the certificate of a server, usually because its CA is not trusted.
            Some(Error::AlertReceived(alert)) => {
                format!("the client rejected the handshake ({alert:?})")
            }
            _ => HandshakeError::new(error).text,
        };
        Self { reason, text }
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The TLS alert in `error`, if the peer sent one.
pub fn alert_of(error: &io::Error) -> Option<AlertDescription> {
    match tls_error(error)? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Explains the alert of a peer.
pub fn alert_text(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            "the peer requires a client certificate; for instances set backends.cert and backends.key"
                .to_owned()
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => {
            format!("the peer rejected the client certificate ({alert:?})")
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion => {
            format!(
                "the peer supports no common TLS version or cipher, or requires a client certificate ({alert:?})"
            )
        }
        Alert::UnrecognisedName => "the peer has no certificate for this name".to_owned(),
        Alert::NoApplicationProtocol => {
            "the peer does not support the offered HTTP versions".to_owned()
        }
        alert => format!("the peer rejected the handshake ({alert:?})"),
    }
}

fn explain(error: &Error) -> String {
    let at = |seconds: u64| {
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        time.map_or_else(String::new, |time| humantime::format_rfc3339_seconds(time).to_string())
    };
    match error {
        Error::AlertReceived(alert) => alert_text(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the peer does not speak TLS at this port".to_owned()
        }
        Error::NoCertificatesPresented => "no certificate was presented".to_owned(),
        Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("the peer's certificate expired at {}", at(not_after.as_secs()))
            }
            CertificateError::Expired => "the peer's certificate has expired".to_owned(),
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("the peer's certificate is not valid before {}", at(not_before.as_secs()))
            }
            CertificateError::NotValidYet => "the peer's certificate is not valid yet".to_owned(),
            CertificateError::UnknownIssuer => {
                "the peer's certificate is self-signed or from a CA that is not trusted".to_owned()
            }
            CertificateError::BadSignature => {
                "the peer's certificate names a CA that is trusted, but another key has signed it"
                    .to_owned()
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented = match presented.as_slice() {
                    [] => "no name".to_owned(),
                    names => names.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
                };
                format!("the certificate is not for {} but for {presented}", expected.to_str())
            }
            wrong => format!("the peer's certificate cannot be used: {wrong}"),
        },
        Error::PeerIncompatible(_) => {
            format!("the peer supports no common TLS version or cipher: {error}")
        }
        error => format!("the TLS handshake failed: {error}"),
    }
}
