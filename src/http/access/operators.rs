//! Operators. Their passwords are configured as bcrypt hashes.
//!
//! bcrypt is slow by design. So passwords are checked sequentially, on a thread that serves no
//! requests. The last correct password of each operator is kept as an HMAC with a random key.
//! Otherwise a Prometheus with a short scrape interval would use a whole CPU core.

use super::Denied;
use crate::http::auth::RequestCredentials;
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
    /// Duration of the last check, in microseconds.
    last_check: AtomicU64,
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
        let operator = |operator| KnownOperator { operator, last_correct: Mutex::default() };
        Self {
            list: list.into_iter().map(operator).collect(),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .expect("the system has random numbers"),
            check_runtime,
            check_permit: Arc::new(Semaphore::new(1)),
            queue: Semaphore::new(MAX_QUEUED),
            last_check: AtomicU64::new(0),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is an operator of this name.
    pub(super) fn has_user(&self, presented: &RequestCredentials) -> bool {
        self.named(presented).next().is_some()
    }

    /// Measures how long a check takes, so that the first unknown user name takes as long as a known
    /// one. It blocks the thread.
    pub(super) fn measure(&self) {
        let Some(KnownOperator { operator, .. }) = self.list.first() else { return };
        let started = Instant::now();
        // The result does not matter.
        let _ = bcrypt::verify("", operator.password_bcrypt.expose_secret());
        let duration = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_check.store(duration, Ordering::Relaxed);
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

    /// Checks the credentials of an operator.
    ///
    /// # Errors
    /// Returns an error if the queue is full.
    pub(super) async fn verify(&self, presented: &RequestCredentials) -> Result<bool, Denied> {
        if presented.user.is_none() || self.is_empty() {
            return Ok(false);
        }
        let _queue_permit = self.queue.try_acquire().map_err(|_| Denied::Throttled(RETRY_AFTER))?;
        let mut exists = false;
        for operator in self.named(presented) {
            exists = true;
            if self.check(operator, presented).await {
                let tag = hmac::sign(&self.key, presented.secret.as_bytes());
                let mut last = operator.last_correct.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some(tag);
                return Ok(true);
            }
        }
        if !exists {
            // Unknown user names take as long as known ones, so that the duration does not reveal
            // which exist.
            let typical = Duration::from_micros(self.last_check.load(Ordering::Relaxed));
            tokio::time::sleep(typical).await;
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
        let duration = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.last_check.store(duration, Ordering::Relaxed);
        is_correct
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
