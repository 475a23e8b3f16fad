//! Who may ask.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{hmac, rand::SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, sync::Arc};

/// The `WWW-Authenticate` of a 401 (RFC 7617).
pub const CHALLENGE: &str = "Basic realm=\"scrapebroker\", charset=\"UTF-8\"";

/// A user name and password to compare with; neither can be read back.
///
/// The comparison takes the same time whatever was sent: both sides go through
/// an HMAC with a random key, and only digests are compared.
#[derive(Clone)]
pub struct BasicCredentials(Arc<(hmac::Key, hmac::Tag)>);

impl BasicCredentials {
    /// Keeps what to compare with. `username` has no colon (RFC 7617, section 2).
    ///
    /// # Panics
    /// If the system has no random numbers at the start.
    pub fn new(username: &str, password: &SecretString) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random numbers");
        let tag = hmac::sign(&key, format!("{username}:{}", password.expose_secret()).as_bytes());
        Self(Arc::new((key, tag)))
    }

    /// Whether a request carries these credentials in its `Authorization`.
    pub fn are_in(&self, headers: &HeaderMap) -> bool {
        let (key, tag) = &*self.0;
        let sent = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
            let basic = scheme.eq_ignore_ascii_case("basic");
            STANDARD.decode(text.trim()).ok().filter(|_| basic)
        });
        sent.is_some_and(|sent| hmac::verify(key, &sent, tag.as_ref()).is_ok())
    }
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCredentials(..)")
    }
}

/// The token in an `Authorization` value: after `Bearer`, or as the password
/// of basic auth, whoever the user is.
pub fn presented_token(authorization: &HeaderValue) -> Option<String> {
    let (scheme, text) = authorization.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(text.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_user_with_the_right_password_gets_in() {
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
            assert_eq!(credentials.are_in(&headers), expected, "{value}");
        }
        assert!(!credentials.are_in(&HeaderMap::new()));
    }
}
