//! The operator of the demo. People open its pages with these credentials.

use anyhow::{Context, anyhow};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

/// Without characters that look alike. There are 32, so all are equally likely.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Short enough for one line of the summary.
const PASSWORD_LENGTH: usize = 10;

/// The minimum cost of bcrypt. The hash exists only in the memory of this process.
const BCRYPT_COST: u32 = 4;

pub(super) struct DemoLogin {
    pub(super) password: String,
}

impl DemoLogin {
    pub(super) const USER: &str = "demo";

    /// Chooses a random password.
    pub(super) fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; PASSWORD_LENGTH];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| anyhow!("the system has no random numbers"))?;
        let character = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
        Ok(Self { password: bytes.map(character).iter().collect() })
    }

    /// The value of the key `operators`.
    pub(super) fn operators(&self) -> anyhow::Result<String> {
        let hash = bcrypt::hash(&self.password, BCRYPT_COST).context("no hash of a password")?;
        Ok(json!([{"username": Self::USER, "password_bcrypt": hash}]).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_random_and_only_their_hash_is_configured() {
        let (one, other) = (DemoLogin::random().unwrap(), DemoLogin::random().unwrap());
        assert_ne!(one.password, other.password);
        assert_eq!(one.password.len(), 10);
        assert!(one.password.bytes().all(|byte| ALPHABET.contains(&byte)));
        let operators: serde_json::Value = serde_json::from_str(&one.operators().unwrap()).unwrap();
        assert_eq!(operators[0]["username"], "demo");
        let hash = operators[0]["password_bcrypt"].as_str().unwrap();
        assert!(bcrypt::verify(&one.password, hash).unwrap());
        assert!(!bcrypt::verify(&other.password, hash).unwrap());
    }
}
