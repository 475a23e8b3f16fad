//! Keys derived from `broker.token_key`, and what they are for.
//!
//! One key per purpose (HKDF, RFC 5869), so that none can be used against
//! another: tokens, sealing, and a fingerprint that tells whether the key is
//! the one that a store was used with.
//!
//! The broker gives tokens away and seals parameters; what carries out its
//! decisions has to know the same secrets, without asking the broker.

use crate::domain::{BindingId, InstanceId};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead, digest, hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// Every token begins with this, so that secret scanners and people know one when they see it.
pub const TOKEN_PREFIX: &str = "sbt_";

/// Random bytes of a [`salt`].
const SALT_LEN: usize = 16;

/// The shortest accepted `broker.token_key`, in bytes.
const MIN_LEN: usize = 16;

/// All keys that we have.
pub struct Keys {
    token: hmac::Key,
    scraper_token: hmac::Key,
    web_password: hmac::Key,
    seal: aead::LessSafeKey,
    fingerprint: String,
}

/// Why there are no keys, or nothing can be sealed with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Short enough to be guessed.
    #[error("broker.token_key must have at least {least} characters")]
    TooShort {
        /// The shortest accepted key.
        least: usize,
    },
    /// The system has no random numbers, or no memory.
    #[error("the system's random number generator does not work")]
    Random,
}

/// What is sealed, and whose it is; a sealed text that is moved to another owner cannot be unsealed.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// Parameters of a service instance.
    Instance(&'a str),
    /// Parameters of a binding.
    Binding(&'a str),
    /// What the Prometheus of a service instance should be like.
    Spec(&'a str),
    /// An update of a service instance that was refused.
    RefusedUpdate(&'a str),
}

impl Owner<'_> {
    fn associated_data(self) -> aead::Aad<Vec<u8>> {
        aead::Aad::from(match self {
            Self::Instance(id) => format!("instance:{id}").into_bytes(),
            Self::Binding(id) => format!("binding:{id}").into_bytes(),
            Self::Spec(id) => format!("spec:{id}").into_bytes(),
            Self::RefusedUpdate(id) => format!("refused-update:{id}").into_bytes(),
        })
    }
}

impl Keys {
    /// Derives them all.
    ///
    /// # Errors
    /// [`KeyError::TooShort`] for a key that could be guessed.
    ///
    /// # Panics
    /// Never: HKDF yields keys of these lengths.
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
        let seal = root.expand(&[b"seal"], &aead::AES_256_GCM).expect(too_long);
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
            seal: aead::LessSafeKey::new(seal.into()),
            fingerprint: URL_SAFE_NO_PAD.encode(fingerprint),
        })
    }

    /// Tells this key from another one, without a way back to it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The token of a binding with this [`salt`]. Derived, since the same PUT wants the same
    /// answer and tokens are not stored.
    pub fn token(&self, binding: &BindingId, salt: &str) -> SecretString {
        format!("{TOKEN_PREFIX}{}", tag(&self.token, binding.as_str(), salt)).into()
    }

    /// The token with which the Prometheus of a service instance asks us for
    /// its targets, and scrapes them.
    pub fn scraper_token(&self, instance: &InstanceId, salt: &str) -> SecretString {
        format!("{TOKEN_PREFIX}{}", tag(&self.scraper_token, instance.as_str(), salt)).into()
    }

    /// The password with which we alone ask the Prometheus of a service
    /// instance. It has 43 characters, well below bcrypt's 72 bytes.
    pub fn web_password(&self, instance: &InstanceId, salt: &str) -> SecretString {
        tag(&self.web_password, instance.as_str(), salt).into()
    }

    /// Encrypts parameters: a random nonce, then ciphertext and tag, as base64.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system has no random numbers.
    pub fn seal(
        &self,
        owner: Owner<'_>,
        parameters: &Map<String, Value>,
    ) -> Result<String, KeyError> {
        let mut nonce = [0; aead::NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Random)?;
        let mut text = serde_json::to_vec(parameters).map_err(|_| KeyError::Random)?;
        let unique = aead::Nonce::assume_unique_for_key(nonce);
        self.seal
            .seal_in_place_append_tag(unique, owner.associated_data(), &mut text)
            .map_err(|_| KeyError::Random)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// Decrypts parameters; none if they were sealed with another key, for
    /// another owner, or tampered with.
    pub fn unseal(&self, owner: Owner<'_>, sealed: &str) -> Option<Map<String, Value>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<{ aead::NONCE_LEN }>()?;
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let text = self.seal.open_in_place(nonce, owner.associated_data(), &mut text).ok()?;
        serde_json::from_slice(text).ok()
    }
}

/// The random part of the secrets of one row, which is stored with it. The same row gives the
/// same secrets, and a row that is made again with the same id gives other ones.
///
/// # Errors
/// [`KeyError::Random`] when the system has no random numbers.
pub fn salt() -> Result<String, KeyError> {
    let mut salt = [0; SALT_LEN];
    SystemRandom::new().fill(&mut salt).map_err(|_| KeyError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(salt))
}

/// What a secret is made of. Without a salt it is that of a row from before there were salts.
fn tag(key: &hmac::Key, id: &str, salt: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    if !salt.is_empty() {
        // An id has no NUL, so no id without a salt is signed alike.
        for part in ["\0", salt, "\0"] {
            context.update(part.as_bytes());
        }
    }
    context.update(id.as_bytes());
    URL_SAFE_NO_PAD.encode(context.sign())
}

/// What is stored of a token, and looked up by.
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
    fn secrets_without_a_salt_are_those_of_before_there_were_salts() {
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
    fn what_is_sealed_is_readable_only_with_its_key_and_by_its_owner() {
        let parameters = json!({"bearer_token": "hunter2"}).as_object().unwrap().clone();
        let (key, other) = (keys("0123456789abcdef"), keys("0123456789abcdeF"));
        let owner = Owner::Binding("a");
        let sealed = key.seal(owner, &parameters).unwrap();
        assert_eq!(key.unseal(owner, &sealed), Some(parameters.clone()));
        assert_ne!(key.seal(owner, &parameters).unwrap(), sealed, "the nonce is random");
        assert_eq!(other.unseal(owner, &sealed), None);
        assert_eq!(key.unseal(Owner::Binding("b"), &sealed), None);
        assert_eq!(key.unseal(Owner::Instance("a"), &sealed), None);
        for damaged in ["", "AAAA", "not base64!", sealed.get(..sealed.len() - 4).unwrap()] {
            assert_eq!(key.unseal(owner, damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_key_that_could_be_guessed_is_refused() {
        let error = Keys::derive(&"short".into()).unwrap_err();
        assert_eq!(error.to_string(), "broker.token_key must have at least 16 characters");
    }
}
