//! Passwords that were correct before.
//!
//! They are stored as HMACs with a random key. So a client with a correct password is never
//! throttled, even while another client guesses passwords of the same user.

use super::throttle::{Origin, Throttle};
use ring::{hmac, rand::SystemRandom};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of stored passwords. There are as many as configured. In addition, the broker's
/// password is accepted with the name of each Tsuru service.
const MAX_PASSWORDS: usize = 256;
/// Maximum number of stored addresses per password.
const MAX_ORIGINS: usize = 64;

/// Correct passwords, and the client addresses that sent them.
pub(super) struct Proven {
    key: hmac::Key,
    origins: Mutex<HashMap<[u8; 32], VecDeque<Origin>>>,
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven").field("count", &self.origins().len()).finish_non_exhaustive()
    }
}

impl Default for Proven {
    /// # Panics
    /// If the system provides no random numbers.
    fn default() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random numbers");
        Self { key, origins: Mutex::default() }
    }
}

impl Proven {
    /// Whether this password was correct before. A password that was sent from `origin` is always
    /// found. For other addresses `throttle` limits the lookups, because each lookup helps a client
    /// that guesses.
    pub(super) fn knows(
        &self,
        origin: Origin,
        user: &str,
        password: &str,
        throttle: &Throttle,
    ) -> bool {
        let tag = self.tag(user, password);
        let is_from_origin = self.origins().get(&tag).map(|origins| origins.contains(&origin));
        // Lookups with wrong passwords count too, because these are guesses.
        is_from_origin == Some(true)
            || (throttle.allows_lookup(origin, user) && is_from_origin.is_some())
    }

    /// Stores a correct password.
    pub(super) fn note(&self, origin: Origin, user: &str, password: &str) {
        let tag = self.tag(user, password);
        let mut all = self.origins();
        if !all.contains_key(&tag) && all.len() >= MAX_PASSWORDS {
            return;
        }
        let origins = all.entry(tag).or_default();
        if !origins.contains(&origin) {
            origins.truncate(MAX_ORIGINS - 1);
            origins.push_front(origin);
        }
    }

    fn tag(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // The length marks the end of the name.
        context.update(&user.len().to_le_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        tag
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<[u8; 32], VecDeque<Origin>>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(Some(text.parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_correct_password_is_known_and_guesses_are_limited() {
        let (proven, throttle) = (Proven::default(), Throttle::default());
        let (known, other) = (origin("10.0.0.1"), origin("10.0.0.2"));
        let knows =
            |from, user: &str, password: &str| proven.knows(from, user, password, &throttle);
        assert!(!knows(known, "ann", "secret"));
        proven.note(known, "ann", "secret");
        assert!(knows(known, "ann", "secret") && knows(other, "ann", "secret"));
        for (user, password) in [("ann", "secre"), ("an", "nsecret"), ("bob", "secret"), ("", "")] {
            assert!(!knows(known, user, password), "{user} {password}");
        }
        for guess in 0..6000 {
            assert!(!knows(other, "ann", &guess.to_string()));
            assert!(!knows(known, "ann", &guess.to_string()));
        }
        assert!(!knows(other, "ann", "secret"), "a guess too many");
        assert!(knows(known, "ann", "secret"), "not a guess");
        assert!(knows(origin("10.0.0.3"), "ann", "secret"));
    }

    #[test]
    fn memory_is_limited() {
        let proven = Proven::default();
        for address in 0..2 * MAX_ORIGINS {
            proven.note(origin(&format!("10.0.0.{address}")), "ann", "secret");
        }
        for user in 0..2 * MAX_PASSWORDS {
            proven.note(origin("10.0.0.1"), &user.to_string(), "secret");
        }
        let all = proven.origins();
        assert_eq!(all.len(), MAX_PASSWORDS);
        assert!(all.values().all(|origins| origins.len() <= MAX_ORIGINS));
    }
}
