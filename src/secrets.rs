//! Keys derived from `broker.token_key`.
//!
//! HKDF (RFC 5869) derives one key per purpose, so that no key can be used for another purpose:
//! tokens, encryption, and a fingerprint that identifies the key that a database was used with.
//!
//! The broker issues tokens and encrypts parameters. The provisioner derives and decrypts the same
//! secrets without calling the broker.

mod prometheus_instance;

pub use prometheus_instance::{PrometheusInstance, SpecError};

use crate::domain::{BindingId, InstanceId};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead, digest, hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// Prefix of all tokens, so that people and secret scanners recognize them.
pub const TOKEN_PREFIX: &str = "sbt_";

/// Size of a [`salt`] in bytes.
const SALT_LEN: usize = 16;

/// Minimum length of `broker.token_key` in bytes.
const MIN_LEN: usize = 16;

pub struct Keys {
    token: hmac::Key,
    scraper_token: hmac::Key,
    web_password: hmac::Key,
    encryption: aead::LessSafeKey,
    fingerprint: String,
}

/// Error of key derivation, encryption and decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("broker.token_key must have at least {least} characters")]
    TooShort {
        /// Minimum length.
        least: usize,
    },
    /// The system has no random numbers or no memory.
    #[error("the system's random number generator does not work")]
    Random,
}

/// Identifies the row of an encrypted text. A text that was copied to another row cannot be
/// decrypted.
#[derive(Clone, Copy, Debug)]
pub enum AssociatedData<'a> {
    Instance(&'a str),
    Binding(&'a str),
    /// Specification of the Prometheus of a service instance.
    Spec(&'a str),
    /// A rejected update of a service instance.
    RefusedUpdate(&'a str),
}

impl AssociatedData<'_> {
    fn to_aad(self) -> aead::Aad<Vec<u8>> {
        aead::Aad::from(match self {
            Self::Instance(id) => format!("instance:{id}").into_bytes(),
            Self::Binding(id) => format!("binding:{id}").into_bytes(),
            Self::Spec(id) => format!("spec:{id}").into_bytes(),
            Self::RefusedUpdate(id) => format!("refused-update:{id}").into_bytes(),
        })
    }
}

impl Keys {
    /// # Errors
    /// [`KeyError::TooShort`] for a key that could be guessed.
    ///
    /// # Panics
    /// Never: HKDF can derive keys of these lengths.
    pub fn derive(token_key: &SecretString) -> Result<Self, KeyError> {
        let secret = token_key.expose_secret().as_bytes();
        if secret.len() < MIN_LEN {
            return Err(KeyError::TooShort { least: MIN_LEN });
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"scrapebroker broker.token_key");
        let root = salt.extract(secret);
        let too_long = "HKDF yields keys of this length";
        let fingerprint = root.expand(&[b"fingerprint"], hmac::HMAC_SHA256).expect(too_long);
        let fingerprint = hmac::sign(&fingerprint.into(), b"scrapebroker");
        // Stored data depends on the label "seal".
        let encryption = root.expand(&[b"seal"], &aead::AES_256_GCM).expect(too_long);
        Ok(Self {
            token: root.expand(&[b"token"], hmac::HMAC_SHA256).expect(too_long).into(),
            scraper_token: root
                .expand(&[b"scraper token"], hmac::HMAC_SHA256)
                .expect(too_long)
                .into(),
            web_password: root
                .expand(&[b"web password"], hmac::HMAC_SHA256)
                .expect(too_long)
                .into(),
            encryption: aead::LessSafeKey::new(encryption.into()),
            fingerprint: URL_SAFE_NO_PAD.encode(fingerprint),
        })
    }

    /// Identifies the key without revealing it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The token of a binding with this [`salt`]. Tokens are derived, because a repeated PUT must
    /// return the same token and tokens are not stored.
    pub fn token(&self, binding: &BindingId, salt: &str) -> SecretString {
        format!("{TOKEN_PREFIX}{}", tag(&self.token, binding.as_str(), salt)).into()
    }

    /// The token with which the Prometheus of a service instance requests its targets and scrapes
    /// them.
    pub fn scraper_token(&self, instance: &InstanceId, salt: &str) -> SecretString {
        format!("{TOKEN_PREFIX}{}", tag(&self.scraper_token, instance.as_str(), salt)).into()
    }

    /// The password with which Scrapebroker queries the Prometheus of a service instance. It has 43
    /// characters, less than bcrypt's maximum of 72 bytes.
    pub fn web_password(&self, instance: &InstanceId, salt: &str) -> SecretString {
        tag(&self.web_password, instance.as_str(), salt).into()
    }

    /// Encrypts parameters. The result is base64 of a random nonce, the ciphertext and the
    /// authentication tag.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system has no random numbers.
    pub fn encrypt(
        &self,
        associated_data: AssociatedData<'_>,
        parameters: &Map<String, Value>,
    ) -> Result<String, KeyError> {
        let mut nonce = [0; aead::NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Random)?;
        let mut text = serde_json::to_vec(parameters).map_err(|_| KeyError::Random)?;
        let unique = aead::Nonce::assume_unique_for_key(nonce);
        self.encryption
            .seal_in_place_append_tag(unique, associated_data.to_aad(), &mut text)
            .map_err(|_| KeyError::Random)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// Decrypts parameters. Returns none if they were encrypted with another key or for another
    /// row, or were modified.
    pub fn decrypt(
        &self,
        associated_data: AssociatedData<'_>,
        encrypted: &str,
    ) -> Option<Map<String, Value>> {
        let bytes = URL_SAFE_NO_PAD.decode(encrypted).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<{ aead::NONCE_LEN }>()?;
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let text =
            self.encryption.open_in_place(nonce, associated_data.to_aad(), &mut text).ok()?;
        serde_json::from_slice(text).ok()
    }
}

/// Returns a new random salt for the secrets of a row. The salt is stored in the row: the secrets
/// of a row stay the same, and a new row with the same id gets new secrets.
///
/// # Errors
/// [`KeyError::Random`] when the system has no random numbers.
pub fn salt() -> Result<String, KeyError> {
    let mut salt = [0; SALT_LEN];
    SystemRandom::new().fill(&mut salt).map_err(|_| KeyError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(salt))
}

/// Derives a secret. Rows of older versions have an empty salt and keep their secrets.
fn tag(key: &hmac::Key, id: &str, salt: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    if !salt.is_empty() {
        // Ids contain no NUL, so an id without a salt never has the same input.
        for part in ["\0", salt, "\0"] {
            context.update(part.as_bytes());
        }
    }
    context.update(id.as_bytes());
    URL_SAFE_NO_PAD.encode(context.sign())
}

/// Tokens are stored and looked up by this hash.
pub fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(text: &str) -> Keys {
        Keys::derive(&SecretString::from(text)).unwrap()
    }

    #[test]
    fn a_token_depends_on_binding_salt_and_key_and_on_nothing_else() {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let token = |keys: &Keys, id, salt| keys.token(id, salt).expose_secret().to_owned();
        let (key, other) = (keys("0123456789abcdef"), keys("0123456789abcdeF"));
        for salt in ["", "x"] {
            let of_a = token(&key, &a, salt);
            assert_eq!(of_a, token(&keys("0123456789abcdef"), &a, salt));
            assert_ne!(of_a, token(&key, &b, salt));
            assert_ne!(of_a, token(&other, &a, salt));
            assert_ne!(of_a, token(&key, &a, "y"));
            assert!(of_a.starts_with("sbt_") && of_a.len() == 47);
        }
        assert_ne!(key.fingerprint(), other.fingerprint());
        let (one, two) = (salt().unwrap(), salt().unwrap());
        assert!(one != two && one.len() == 22, "{one} {two}");
    }

    #[test]
    fn secrets_without_a_salt_equal_those_of_older_versions() {
        let keys = keys("0123456789abcdef");
        let (binding, instance) = ("a".parse().unwrap(), "a".parse().unwrap());
        let secrets = [
            keys.token(&binding, ""),
            keys.scraper_token(&instance, ""),
            keys.web_password(&instance, ""),
        ];
        let expected = [
            "sbt_rKkfitZ1J3YG8eaH97GYVsu-cHuDsEwZppVnDKjJbeg",
            "sbt_qfJul9QkpxfRdCWqMATl_kVfC3SIb5QTc3XkVpXcybA",
            "pbeBhOsrRywO59Fn63xJZ7Uv4_pgprQdOJOJcIzsICY",
        ];
        assert_eq!(secrets.map(|secret| secret.expose_secret().to_owned()), expected);
    }

    #[test]
    fn encrypted_parameters_are_readable_only_with_their_key_and_associated_data() {
        let parameters = json!({"bearer_token": "hunter2"}).as_object().unwrap().clone();
        let (key, other) = (keys("0123456789abcdef"), keys("0123456789abcdeF"));
        let associated_data = AssociatedData::Binding("a");
        let encrypted = key.encrypt(associated_data, &parameters).unwrap();
        assert_eq!(key.decrypt(associated_data, &encrypted), Some(parameters.clone()));
        assert_ne!(
            key.encrypt(associated_data, &parameters).unwrap(),
            encrypted,
            "the nonce is random"
        );
        assert_eq!(other.decrypt(associated_data, &encrypted), None);
        assert_eq!(key.decrypt(AssociatedData::Binding("b"), &encrypted), None);
        assert_eq!(key.decrypt(AssociatedData::Instance("a"), &encrypted), None);
        for damaged in ["", "AAAA", "not base64!", encrypted.get(..encrypted.len() - 4).unwrap()] {
            assert_eq!(key.decrypt(associated_data, damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_short_key_is_rejected() {
        let error = Keys::derive(&"short".into()).unwrap_err();
        assert_eq!(error.to_string(), "broker.token_key must have at least 16 characters");
    }
}
