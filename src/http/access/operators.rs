//! Operators, whose passwords are configured as bcrypt hashes.
//!
//! bcrypt is slow on purpose. So passwords are checked one at a time on a thread that serves no
//! requests. The last right password of each operator is kept as an HMAC with a random key, so that a
//! Prometheus with a short interval does not use a whole core.

use super::Denied;
use crate::http::auth::Presented;
use ring::{hmac, rand::SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Semaphore};

/// Limit of queued passwords: each takes up to a second of a core.
const WAITING: usize = 16;
/// `Retry-After` if the queue is full.
const BUSY: Duration = Duration::from_secs(5);

pub struct Operators {
    list: Vec<KnownOperator>,
    key: hmac::Key,
    /// The runtime that checks passwords.
    elsewhere: Handle,
    one_at_a_time: Arc<Semaphore>,
    waiting: Semaphore,
    /// Duration of the last check in microseconds.
    last_check: AtomicU64,
}

/// A user who may see all apps.
#[derive(Clone, Debug)]
pub struct Operator {
    pub username: String,
    /// bcrypt hash of the password.
    pub password_bcrypt: SecretString,
}

struct KnownOperator {
    operator: Operator,
    last_right: Mutex<Option<hmac::Tag>>,
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operators").field("count", &self.list.len()).finish()
    }
}

impl Operators {
    /// Passwords are checked on `elsewhere`, a runtime that serves no requests.
    ///
    /// # Panics
    /// If the system provides no random numbers.
    pub fn new(list: impl IntoIterator<Item = Operator>, elsewhere: Handle) -> Self {
        let operator = |operator| KnownOperator { operator, last_right: Mutex::default() };
        Self {
            list: list.into_iter().map(operator).collect(),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .expect("the system has random numbers"),
            elsewhere,
            one_at_a_time: Arc::new(Semaphore::new(1)),
            waiting: Semaphore::new(WAITING),
            last_check: AtomicU64::new(0),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn usernames(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|it| it.operator.username.as_str())
    }

    /// Whether this is an operator, by a password that was right before.
    pub(super) fn is_known(&self, presented: &Presented) -> bool {
        self.named(presented).any(|operator| {
            let last_right = operator.last_right.lock().unwrap_or_else(PoisonError::into_inner);
            let password = presented.secret.as_bytes();
            last_right.is_some_and(|tag| hmac::verify(&self.key, password, tag.as_ref()).is_ok())
        })
    }

    /// Whether this is an operator.
    ///
    /// # Errors
    /// The queue is full.
    pub(super) async fn verify(&self, presented: &Presented) -> Result<bool, Denied> {
        if presented.user.is_none() || self.is_empty() {
            return Ok(false);
        }
        let _place = self.waiting.try_acquire().map_err(|_| Denied::TooMany(BUSY))?;
        let mut exists = false;
        for operator in self.named(presented) {
            exists = true;
            if self.check(operator, presented).await {
                let tag = hmac::sign(&self.key, presented.secret.as_bytes());
                let mut last = operator.last_right.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some(tag);
                return Ok(true);
            }
        }
        if !exists {
            // The same duration as for a known name hides which names exist.
            let usual = Duration::from_micros(self.last_check.load(Ordering::Relaxed));
            tokio::time::sleep(usual).await;
        }
        Ok(false)
    }

    fn named<'a>(&'a self, presented: &'a Presented) -> impl Iterator<Item = &'a KnownOperator> {
        let is_named =
            |it: &&KnownOperator| presented.user.as_deref() == Some(it.operator.username.as_str());
        self.list.iter().filter(is_named)
    }

    async fn check(&self, operator: &KnownOperator, presented: &Presented) -> bool {
        let Ok(turn) = Arc::clone(&self.one_at_a_time).acquire_owned().await else { return false };
        if self.is_known(presented) {
            // An earlier request in the queue may have proven the password.
            return true;
        }
        let (password, hash) =
            (presented.secret.clone(), operator.operator.password_bcrypt.clone());
        let work = self.elsewhere.spawn_blocking(move || {
            let started = Instant::now();
            let right = bcrypt::verify(&password, hash.expose_secret()).unwrap_or(false);
            // The permit is released after the work, even if the client has disconnected.
            drop(turn);
            (right, started.elapsed())
        });
        let Ok((right, took)) = work.await else { return false };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_check.store(took, Ordering::Relaxed);
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(user: Option<&str>, secret: &str) -> Presented {
        Presented { user: user.map(str::to_owned), secret: secret.to_owned() }
    }

    #[tokio::test]
    async fn a_right_password_is_checked_once_and_then_known() {
        let hash = |password: &str| SecretString::from(bcrypt::hash(password, 4).unwrap());
        let list = [("ann", "one"), ("bob", "two"), ("ann", "three")].map(|(user, password)| {
            Operator { username: user.to_owned(), password_bcrypt: hash(password) }
        });
        let operators = Operators::new(list, Handle::current());
        let ann = presented(Some("ann"), "one");
        assert!(!operators.is_known(&ann));
        assert!(operators.verify(&ann).await.unwrap() && operators.is_known(&ann));
        for (user, password, right) in [
            (Some("ann"), "three", true),
            (Some("ann"), "two", false),
            (Some("bob"), "two", true),
            (Some("bob"), "", false),
            (Some("bob"), "tw", false),
            (Some("eve"), "one", false),
            (Some(""), "one", false),
            (None, "one", false),
        ] {
            let presented = presented(user, password);
            assert_eq!(operators.verify(&presented).await.unwrap(), right, "{user:?} {password}");
            assert_eq!(operators.is_known(&presented), right, "{user:?} {password}");
        }
        assert!(!Operators::new([], Handle::current()).verify(&ann).await.unwrap());
        let _all = operators.waiting.try_acquire_many(16).unwrap();
        assert!(operators.verify(&ann).await.is_err(), "there is no place to wait");
    }
}
