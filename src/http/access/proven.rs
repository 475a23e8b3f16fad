//! Passwords that were right before.
//!
//! They are remembered as HMACs with a random key. So a client whose password is
//! known to be right is never throttled, even while another client guesses with the
//! same user name, from the same address or another one.

use super::throttle::{Throttle, network};
use ring::{hmac, rand::SystemRandom};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Limit of stored passwords. There are as many as are configured, and the broker's password is also
/// accepted with the name of each service of Tsuru.
const PASSWORDS: usize = 256;
/// Limit of stored addresses per password.
const ORIGINS: usize = 64;

/// A client address as far as it is counted: see [`network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(Option<IpAddr>);

impl Origin {
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(network))
    }
}

/// Right passwords and the addresses that sent them.
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
    /// Whether this password was right before. One that was right from `origin` is
    /// always found; one of another address as often as `throttle` allows, since a
    /// client that guesses learns from it.
    pub(super) fn knows(
        &self,
        origin: Origin,
        user: &str,
        password: &str,
        throttle: &Throttle,
    ) -> bool {
        let tag = self.tag(user, password);
        let from_here = self.origins().get(&tag).map(|origins| origins.contains(&origin));
        // The look is counted for a wrong password as well: that is the guess.
        from_here == Some(true) || (throttle.may_look(origin, user) && from_here.is_some())
    }

    /// Notes that a password was right.
    pub(super) fn note(&self, origin: Origin, user: &str, password: &str) {
        let tag = self.tag(user, password);
        let mut all = self.origins();
        if !all.contains_key(&tag) && all.len() >= PASSWORDS {
            return;
        }
        let origins = all.entry(tag).or_default();
        if !origins.contains(&origin) {
            origins.truncate(ORIGINS - 1);
            origins.push_front(origin);
        }
    }

    fn tag(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // The length tells where the name ends.
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
    async fn a_right_password_is_known_everywhere_and_guesses_are_bounded() {
        let (proven, throttle) = (Proven::default(), Throttle::default());
        let (here, there) = (origin("10.0.0.1"), origin("10.0.0.2"));
        let knows =
            |from, user: &str, password: &str| proven.knows(from, user, password, &throttle);
        assert!(!knows(here, "ann", "secret"));
        proven.note(here, "ann", "secret");
        assert!(knows(here, "ann", "secret") && knows(there, "ann", "secret"));
        for (user, password) in [("ann", "secre"), ("an", "nsecret"), ("bob", "secret"), ("", "")] {
            assert!(!knows(here, user, password), "{user} {password}");
        }
        for guess in 0..6000 {
            assert!(!knows(there, "ann", &guess.to_string()));
            assert!(!knows(here, "ann", &guess.to_string()));
        }
        assert!(!knows(there, "ann", "secret"), "a guess too many");
        assert!(knows(here, "ann", "secret"), "not a guess");
        assert!(knows(origin("10.0.0.3"), "ann", "secret"));
    }

    #[test]
    fn memory_is_bounded() {
        let proven = Proven::default();
        for address in 0..2 * ORIGINS {
            proven.note(origin(&format!("10.0.0.{address}")), "ann", "secret");
        }
        for user in 0..2 * PASSWORDS {
            proven.note(origin("10.0.0.1"), &user.to_string(), "secret");
        }
        let all = proven.origins();
        assert_eq!(all.len(), PASSWORDS);
        assert!(all.values().all(|origins| origins.len() <= ORIGINS));
    }
}
