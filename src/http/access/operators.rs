//! Operators. Their passwords are configured as bcrypt hashes.
//!
//! bcrypt is slow by design. So passwords are checked sequentially, on a thread that serves no
//! requests. The last correct password of each operator is kept as an HMAC with a random key.
//! Otherwise a Prometheus with a short scrape interval would use a whole CPU core.
//!
//! A failed login lasts [`FailedLogin::duration`] with every user name, so that its duration does
//! not reveal which names exist.

use super::Denied;
use crate::http::auth::RequestCredentials;
use bcrypt::HashParts;
use ring::{hmac, rand::SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Semaphore};

/// Maximum number of queued checks. Each check takes up to one second of CPU time.
const MAX_QUEUED: usize = 16;
/// `Retry-After` header if the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub struct Operators {
    list: Vec<KnownOperator>,
    key: hmac::Key,
    /// Runtime that checks passwords.
    check_runtime: Handle,
    check_permit: Arc<Semaphore>,
    queue: Semaphore,
    /// Duration of the last check of a hash with the highest cost, in microseconds.
    slowest_check: AtomicU64,
    /// The highest cost of a hash.
    highest_cost: u32,
    #[cfg(test)]
    pub(super) checks: AtomicU64,
}

/// An operator, who may see all apps.
#[derive(Clone, Debug)]
pub struct Operator {
    pub username: String,
    /// bcrypt hash of the password.
    pub password_bcrypt: SecretString,
}

struct KnownOperator {
    operator: Operator,
    /// Of the hash.
    cost: u32,
    last_correct: Mutex<Option<hmac::Tag>>,
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operators").field("count", &self.list.len()).finish()
    }
}

impl Operators {
    /// Passwords are checked on `check_runtime`, which serves no requests.
    ///
    /// # Panics
    /// If the system provides no random numbers.
    pub fn new(list: impl IntoIterator<Item = Operator>, check_runtime: Handle) -> Self {
        let operator = |operator: Operator| {
            let hash: Result<HashParts, _> = operator.password_bcrypt.expose_secret().parse();
            let cost = hash.map_or(0, |hash| hash.get_cost());
            KnownOperator { operator, cost, last_correct: Mutex::default() }
        };
        let list: Vec<_> = list.into_iter().map(operator).collect();
        Self {
            highest_cost: list.iter().map(|it| it.cost).max().unwrap_or_default(),
            list,
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .expect("the system has random numbers"),
            check_runtime,
            check_permit: Arc::new(Semaphore::new(1)),
            queue: Semaphore::new(MAX_QUEUED),
            slowest_check: AtomicU64::new(0),
            #[cfg(test)]
            checks: AtomicU64::new(0),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is an operator of this name.
    pub(super) fn has_user(&self, presented: &RequestCredentials) -> bool {
        self.named(presented).next().is_some()
    }

    /// Measures how long a check takes, before the first login. It blocks the thread.
    pub fn measure(&self) {
        let slowest = self.list.iter().find(|it| it.cost == self.highest_cost);
        let Some(KnownOperator { operator, .. }) = slowest else { return };
        let started = Instant::now();
        // The result does not matter.
        let _ = bcrypt::verify("", operator.password_bcrypt.expose_secret());
        self.note_duration(started.elapsed());
    }

    fn note_duration(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.slowest_check.store(micros, Ordering::Relaxed);
    }

    pub(super) fn usernames(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|it| it.operator.username.as_str())
    }

    /// Whether these are the credentials of an operator, by a password that was correct before.
    pub(super) fn is_known(&self, presented: &RequestCredentials) -> bool {
        self.named(presented).any(|operator| {
            let last_correct = operator.last_correct.lock().unwrap_or_else(PoisonError::into_inner);
            let password = presented.secret.as_bytes();
            last_correct.is_some_and(|tag| hmac::verify(&self.key, password, tag.as_ref()).is_ok())
        })
    }

    /// Checks the credentials of an operator. A failed check is shorter for unknown user names, so
    /// the caller waits for [`FailedLogin::duration`].
    ///
    /// # Errors
    /// Returns an error if the queue is full.
    pub(super) async fn verify(&self, presented: &RequestCredentials) -> Result<bool, Denied> {
        if presented.user.is_none() || self.is_empty() {
            return Ok(false);
        }
        let _queue_permit = self.queue.try_acquire().map_err(|_| Denied::Throttled(RETRY_AFTER))?;
        for operator in self.named(presented) {
            if self.check(operator, presented).await {
                let tag = hmac::sign(&self.key, presented.secret.as_bytes());
                let mut last = operator.last_correct.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some(tag);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn named<'a>(
        &'a self,
        presented: &'a RequestCredentials,
    ) -> impl Iterator<Item = &'a KnownOperator> {
        let is_named =
            |it: &&KnownOperator| presented.user.as_deref() == Some(it.operator.username.as_str());
        self.list.iter().filter(is_named)
    }

    async fn check(&self, operator: &KnownOperator, presented: &RequestCredentials) -> bool {
        let Ok(permit) = Arc::clone(&self.check_permit).acquire_owned().await else { return false };
        if self.is_known(presented) {
            // A check of an earlier request in the queue may have succeeded.
            return true;
        }
        #[cfg(test)]
        self.checks.fetch_add(1, Ordering::Relaxed);
        let (password, hash) =
            (presented.secret.clone(), operator.operator.password_bcrypt.clone());
        let work = self.check_runtime.spawn_blocking(move || {
            let started = Instant::now();
            let is_correct = bcrypt::verify(&password, hash.expose_secret()).unwrap_or(false);
            // The permit is released after the work, even if the client has disconnected.
            drop(permit);
            (is_correct, started.elapsed())
        });
        let Ok((is_correct, duration)) = work.await else { return false };
        if operator.cost == self.highest_cost {
            self.note_duration(duration);
        }
        is_correct
    }
}

/// The duration of failed logins, whose passwords are in one or more lists.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FailedLogin {
    /// The number of passwords of the user name that has the most.
    checks: u32,
}

impl FailedLogin {
    pub(super) fn of(lists: &[&Operators]) -> Self {
        let mut checks: HashMap<&str, u32> = HashMap::new();
        for username in lists.iter().flat_map(|list| list.usernames()) {
            *checks.entry(username).or_default() += 1;
        }
        Self { checks: checks.into_values().max().unwrap_or_default() }
    }

    /// `lists` are those of [`of`](Self::of).
    pub(super) fn duration(self, lists: &[&Operators]) -> Duration {
        let slowest = lists.iter().map(|list| list.slowest_check.load(Ordering::Relaxed)).max();
        Duration::from_micros(slowest.unwrap_or_default()) * self.checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(user: Option<&str>, secret: &str) -> RequestCredentials {
        RequestCredentials { user: user.map(str::to_owned), secret: secret.to_owned() }
    }

    #[tokio::test]
    async fn a_correct_password_is_checked_once() {
        let hash = |password: &str| SecretString::from(bcrypt::hash(password, 4).unwrap());
        let list = [("ann", "one"), ("bob", "two"), ("ann", "three")].map(|(user, password)| {
            Operator { username: user.to_owned(), password_bcrypt: hash(password) }
        });
        let operators = Operators::new(list, Handle::current());
        let ann = presented(Some("ann"), "one");
        assert!(!operators.is_known(&ann));
        assert!(operators.verify(&ann).await.unwrap() && operators.is_known(&ann));
        for (user, password, is_correct) in [
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
            assert_eq!(
                operators.verify(&presented).await.unwrap(),
                is_correct,
                "{user:?} {password}"
            );
            assert_eq!(operators.is_known(&presented), is_correct, "{user:?} {password}");
        }
        assert!(!Operators::new([], Handle::current()).verify(&ann).await.unwrap());
        let _all = operators.queue.try_acquire_many(16).unwrap();
        assert!(operators.verify(&ann).await.is_err(), "there is no place to wait");
    }
}
