//! Credentials in requests.

use crate::broker::TOKEN_PREFIX;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{hmac, rand::SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, sync::Arc};

/// `WWW-Authenticate` header of 401 responses (RFC 7617).
pub const CHALLENGE: &str = "Basic realm=\"scrapebroker\", charset=\"UTF-8\"";

/// A user name and a password for comparison. The password cannot be read.
///
/// Comparisons take constant time, because HMACs with a random key are compared.
#[derive(Clone)]
pub struct BasicCredentials(Arc<Digests>);

struct Digests {
    username: String,
    key: hmac::Key,
    pair: hmac::Tag,
    password: hmac::Tag,
}

impl BasicCredentials {
    /// `username` must not contain a colon (RFC 7617, section 2).
    ///
    /// # Panics
    /// If the system provides no random numbers.
    pub fn new(username: &str, password: &SecretString) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random numbers");
        let password = password.expose_secret();
        let pair = hmac::sign(&key, format!("{username}:{password}").as_bytes());
        let password = hmac::sign(&key, password.as_bytes());
        Self(Arc::new(Digests { username: username.to_owned(), key, pair, password }))
    }

    pub fn username(&self) -> &str {
        &self.0.username
    }

    pub fn has_password(&self, text: &[u8]) -> bool {
        hmac::verify(&self.0.key, text, self.0.password.as_ref()).is_ok()
    }

    /// Whether the `Authorization` header contains these credentials.
    pub fn match_request(&self, headers: &HeaderMap) -> bool {
        let Digests { key, pair, .. } = &*self.0;
        let sent = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
            let basic = scheme.eq_ignore_ascii_case("basic");
            STANDARD.decode(text.trim()).ok().filter(|_| basic)
        });
        sent.is_some_and(|sent| hmac::verify(key, &sent, pair.as_ref()).is_ok())
    }

    /// Whether the `Authorization` header contains this password with another user name.
    pub fn match_password(&self, headers: &HeaderMap, username: &str) -> bool {
        RequestCredentials::of(headers).is_some_and(|RequestCredentials { user, secret }| {
            user.as_deref() == Some(username) && self.has_password(secret.as_bytes())
        })
    }
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCredentials(..)")
    }
}

/// Credentials of a request.
///
/// It does not implement `Debug`, because it contains a secret.
pub struct RequestCredentials {
    /// The user name of basic auth. `None` for a bearer token.
    pub user: Option<String>,
    /// The password or the token.
    pub secret: String,
}

impl RequestCredentials {
    /// Parses the `Authorization` header in `headers`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::in_value(headers.get(AUTHORIZATION)?)
    }

    /// Parses an `Authorization` value: a bearer token, basic auth, or a token of this installation
    /// without a scheme. Some versions of Prometheus omit the scheme in service discovery.
    pub fn in_value(authorization: &HeaderValue) -> Option<Self> {
        let authorization = authorization.to_str().ok()?;
        if authorization.starts_with(TOKEN_PREFIX) {
            return Some(Self { user: None, secret: authorization.trim().to_owned() });
        }
        let (scheme, text) = authorization.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self { user: None, secret: text.trim().to_owned() });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
        let (user, password) = pair.split_once(':')?;
        Some(Self { user: Some(user.to_owned()), secret: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_bearer_token_or_a_password() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let cases = [
            ("Bearer abc".to_owned(), Some((None, "abc"))),
            ("bearer  abc ".to_owned(), Some((None, "abc"))),
            ("sbt_abc".to_owned(), Some((None, "sbt_abc"))),
            ("abc".to_owned(), None),
            (basic("u:p:q"), Some((Some("u"), "p:q"))),
            (basic(":p"), Some((Some(""), "p"))),
            (basic("p"), None),
            ("Basic %%%".to_owned(), None),
            ("Digest abc".to_owned(), None),
            ("Bearer".to_owned(), None),
        ];
        for (value, expected) in cases {
            let presented = RequestCredentials::in_value(&HeaderValue::from_str(&value).unwrap());
            let found = presented.as_ref().map(|one| (one.user.as_deref(), one.secret.as_str()));
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn user_name_and_password_must_match() {
        let credentials = BasicCredentials::new("broker", &"s:ü".into());
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let cases = [
            (basic("broker:s:ü"), true),
            (basic("broker:s:ü").replace("Basic", "bAsIc"), true),
            (basic("broker:s:ü").replace("Basic", "Bearer"), false),
            (basic("broker:s"), false),
            (basic("broker:s:ü "), false),
            (basic("Broker:s:ü"), false),
            (basic("broker"), false),
            (basic(""), false),
            ("Basic".to_owned(), false),
            ("Basic %%%".to_owned(), false),
            (String::new(), false),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
            assert_eq!(credentials.match_request(&headers), expected, "{value}");
        }
        assert!(!credentials.match_request(&HeaderMap::new()));
    }

    #[test]
    fn the_password_is_accepted_with_one_other_user_name() {
        let credentials = BasicCredentials::new("broker", &"s:ü".into());
        for (sent, expected) in [
            ("metrics:s:ü", true),
            ("metrics:s", false),
            ("metrics", false),
            ("broker:s:ü", false),
            (":s:ü", false),
        ] {
            let mut headers = HeaderMap::new();
            let value = format!("Basic {}", STANDARD.encode(sent));
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
            assert_eq!(credentials.match_password(&headers, "metrics"), expected, "{sent}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str("Bearer password").unwrap());
        assert!(!BasicCredentials::new("b", &"password".into()).match_password(&headers, ""));
    }
}
