//! Names of Go for types of client authentication, versions, cipher suites and curves.

use rustls::{CipherSuite as SuiteId, NamedGroup};
use std::str::FromStr;

/// `client_auth_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    /// Whether certificates are compared with the client CAs.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }

    /// Whether a client needs a certificate.
    pub fn is_required(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }
}

/// A supported version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// A cipher suite of Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherSuite {
    /// None if this program does not support it.
    pub(super) supported: Option<SuiteId>,
    pub(super) version: TlsVersion,
}

impl CipherSuite {
    /// Whether the suite can be used.
    pub fn is_supported(self) -> bool {
        self.supported.is_some()
    }

    /// The version of TLS that uses the suite.
    pub fn version(self) -> TlsVersion {
        self.version
    }
}

impl FromStr for CipherSuite {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        use SuiteId as Id;
        let (tls12, tls13) = (TlsVersion::Tls12, TlsVersion::Tls13);
        let (supported, version) = match name {
            "TLS_AES_128_GCM_SHA256" => (Some(Id::TLS13_AES_128_GCM_SHA256), tls13),
            "TLS_AES_256_GCM_SHA384" => (Some(Id::TLS13_AES_256_GCM_SHA384), tls13),
            "TLS_CHACHA20_POLY1305_SHA256" => (Some(Id::TLS13_CHACHA20_POLY1305_SHA256), tls13),
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
                (Some(Id::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), tls12)
            }
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
                (Some(Id::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384), tls12)
            }
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => {
                (Some(Id::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), tls12)
            }
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => {
                (Some(Id::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384), tls12)
            }
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
            | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
                (Some(Id::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256), tls12)
            }
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
            | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
                (Some(Id::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), tls12)
            }
            // Without forward secrecy, or in CBC mode.
            "TLS_RSA_WITH_AES_128_CBC_SHA"
            | "TLS_RSA_WITH_AES_256_CBC_SHA"
            | "TLS_RSA_WITH_AES_128_GCM_SHA256"
            | "TLS_RSA_WITH_AES_256_GCM_SHA384"
            | "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
            | "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"
            | "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
            | "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA" => (None, tls12),
            _ => return Err("is not the name of a cipher suite that Go supports".to_owned()),
        };
        Ok(Self { supported, version })
    }
}

/// A group for the key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curve(pub(super) Option<NamedGroup>);

impl Curve {
    /// Whether the curve can be used.
    pub fn is_supported(self) -> bool {
        self.0.is_some()
    }
}

impl FromStr for Curve {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "X25519" => Ok(Self(Some(NamedGroup::X25519))),
            "CurveP256" => Ok(Self(Some(NamedGroup::secp256r1))),
            "CurveP384" => Ok(Self(Some(NamedGroup::secp384r1))),
            "CurveP521" => Ok(Self(None)),
            _ => Err("is not one of: X25519, CurveP256, CurveP384, CurveP521".to_owned()),
        }
    }
}
