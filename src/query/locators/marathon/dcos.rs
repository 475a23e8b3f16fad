//! The login of a DC/OS service account.

use super::call::{CallFailure, HttpClients};
use crate::{
    domain::BaseUrl,
    tls::{PemObject, PrivateKeyDer},
};
use awc::http::header::HeaderValue;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use std::{fmt, str::FromStr, sync::Arc};

const WRONG_SECRET: &str = "is not the JSON of a DC/OS service account secret; it has uid, \
                            login_endpoint, and private_key or password";
const WRONG_KEY: &str = "has a private_key that is not an RSA key of 2048 to 4096 bits in PEM \
                         (PKCS #1 or PKCS #8, without a passphrase)";

/// A service account and where it logs in.
#[derive(Clone, Debug)]
pub struct DcosLogin {
    endpoint: BaseUrl,
    secret: DcosSecret,
}

/// The secret of a service account, which DC/OS shows as JSON.
#[derive(Clone, Debug)]
pub struct DcosSecret {
    uid: String,
    login_endpoint: Option<BaseUrl>,
    credential: DcosCredential,
}

#[derive(Clone)]
enum DcosCredential {
    Key(Arc<RsaKeyPair>),
    Password(SecretString),
}

impl fmt::Debug for DcosCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(..)",
            Self::Password(_) => "Password(..)",
        })
    }
}

/// Why a login failed. The text follows the URL of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DcosLoginError {
    #[error(transparent)]
    Call(#[from] CallFailure),
    #[error("does not accept the principal secret (status {0}); check principal_secret")]
    Rejected(u16),
    #[error("responded without a token")]
    NoToken,
    #[error("was not called: the private key cannot sign")]
    CannotSign,
}

#[derive(Deserialize)]
struct SecretDocument {
    uid: String,
    login_endpoint: Option<String>,
    private_key: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
struct LoginAnswer {
    token: String,
}

impl FromStr for DcosSecret {
    type Err = String;

    /// Parses the JSON. Errors do not quote it.
    fn from_str(json: &str) -> Result<Self, String> {
        let document: SecretDocument =
            serde_json::from_str(json).map_err(|_| WRONG_SECRET.to_owned())?;
        let login_endpoint = document.login_endpoint.map(|url| url.parse()).transpose();
        let login_endpoint = login_endpoint.map_err(|it| format!("login_endpoint {it}"))?;
        let credential = match (document.private_key, document.password) {
            (Some(pem), _) => DcosCredential::Key(Arc::new(rsa_key(&pem).ok_or(WRONG_KEY)?)),
            (None, Some(password)) => DcosCredential::Password(password.into()),
            (None, None) => return Err(WRONG_SECRET.to_owned()),
        };
        Ok(Self { uid: document.uid, login_endpoint, credential })
    }
}

fn rsa_key(pem: &str) -> Option<RsaKeyPair> {
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
        _ => None,
    }
}

impl DcosLogin {
    /// `endpoint` takes precedence over that of the secret. `None` if both are missing.
    pub fn new(secret: DcosSecret, endpoint: Option<BaseUrl>) -> Option<Self> {
        let endpoint = endpoint.or_else(|| secret.login_endpoint.clone())?;
        Some(Self { endpoint, secret })
    }

    pub(super) fn endpoint(&self) -> &BaseUrl {
        &self.endpoint
    }

    /// Logs in, and returns the header that authorizes requests to Marathon.
    pub(super) async fn log_in(&self, http: &HttpClients) -> Result<HeaderValue, DcosLoginError> {
        let body = self.secret.login_body()?;
        let (status, body) = http.post(self.endpoint.as_str(), body).await?;
        match status {
            200 => token(&body).ok_or(DcosLoginError::NoToken),
            401 | 403 => Err(DcosLoginError::Rejected(status)),
            _ => Err(CallFailure::of_status(status).into()),
        }
    }
}

impl DcosSecret {
    fn login_body(&self) -> Result<String, DcosLoginError> {
        let uid = &self.uid;
        let body = match &self.credential {
            DcosCredential::Key(key) => json!({ "uid": uid, "token": signed_jwt(uid, key)? }),
            DcosCredential::Password(password) => {
                json!({ "uid": uid, "password": password.expose_secret() })
            }
        };
        Ok(body.to_string())
    }
}

/// A JWT that proves the possession of the key (RFC 7515, RS256). DC/OS expects no other claims.
fn signed_jwt(uid: &str, key: &RsaKeyPair) -> Result<String, DcosLoginError> {
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({ "alg": "RS256", "typ": "JWT" }));
    let signed = format!("{header}.{}", part(json!({ "uid": uid })));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| DcosLoginError::CannotSign)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn token(body: &[u8]) -> Option<HeaderValue> {
    let answer: LoginAnswer = serde_json::from_slice(body).ok()?;
    let mut header = HeaderValue::from_str(&format!("token={}", answer.token)).ok()?;
    header.set_sensitive(true);
    Some(header)
}
