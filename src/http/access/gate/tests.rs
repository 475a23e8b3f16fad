use super::*;
use crate::{
    broker::BindingTable,
    http::{access::AccessMetrics, auth::BasicCredentials},
};
use actix_web::test::TestRequest;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::sync::atomic::Ordering;

fn list(names: &[(&str, u32)]) -> Vec<Operator> {
    let operator = |(username, cost): &(&str, u32)| Operator {
        username: (*username).to_owned(),
        password_bcrypt: bcrypt::hash(format!("of {username}"), *cost).unwrap().into(),
    };
    names.iter().map(operator).collect()
}

fn gate(users: &[(&str, u32)], operators: &[(&str, u32)]) -> Gate {
    let mut registry = Registry::default();
    let metrics = AccessMetrics::register(&mut registry);
    let operators = Operators::new(list(operators), Handle::current());
    operators.measure();
    let broker = BasicCredentials::new("cc", &"correct horse".into());
    let access = Access::new(false, BindingTable::default(), Some(broker), operators, metrics);
    let settings = GateSettings { users: list(users), ..GateSettings::default() };
    Gate::new(settings, access, Handle::current(), &mut registry)
}

impl Gate {
    fn lists(&self) -> (Arc<State>, &Operators) {
        (self.0.state.load_full(), self.0.access.operators())
    }

    /// The number of hashes that were compared.
    fn checks(&self) -> u64 {
        let (state, operators) = self.lists();
        let of_users = state.users.as_ref().unwrap().checks.load(Ordering::Relaxed);
        of_users + operators.checks.load(Ordering::Relaxed)
    }

    fn failed_login(&self) -> Duration {
        let (state, operators) = self.lists();
        state.failed_login.duration(&[state.users.as_ref().unwrap(), operators])
    }

    /// The outcome of a login, the number of checks, and its duration. The paused clock does not
    /// include the checks.
    async fn login_as(&self, user: &str, password: &str) -> (Result<Pass, GateDenied>, u64) {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let request = TestRequest::default().insert_header((header::AUTHORIZATION, value));
        let (before, started) = (self.checks(), Instant::now());
        let pass = self.admit(&request.to_http_request()).await;
        if pass.is_err() {
            let (duration, expected) = (started.elapsed(), self.failed_login());
            // Timers have a resolution of a millisecond.
            let latest = expected + Duration::from_millis(2);
            assert!((expected..latest).contains(&duration), "{user}: {duration:?} of {expected:?}");
        }
        (pass, self.checks() - before)
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_login_checks_one_password_and_takes_as_long_for_every_user_name() {
    let gate = gate(&[("alice", 4), ("carol", 6)], &[("ann", 5)]);
    assert!(gate.failed_login() > Duration::ZERO, "it is measured before the first login");
    for (user, checks) in [("alice", 1), ("carol", 1), ("ann", 1), ("cc", 0), ("eve", 0), ("", 0)] {
        for password in ["wrong", "", "sbt_wrong"] {
            let expected = match (user, password) {
                // A token is no password of a user of the gate.
                ("alice" | "carol", "sbt_wrong") => 0,
                _ => checks,
            };
            let login = gate.login_as(user, password).await;
            assert_eq!(login, (Err(GateDenied::Wrong), expected), "{user} {password}");
        }
    }
    for (user, pass) in [("alice", Pass::WithoutCredentials), ("ann", Pass::Unchanged)] {
        let login = gate.login_as(user, &format!("of {user}")).await;
        assert_eq!(login, (Ok(pass), 1), "{user}");
        let again = gate.login_as(user, &format!("of {user}")).await;
        assert_eq!(again, (Ok(pass), 0), "{user}: its password is known");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_in_both_lists_does_not_take_longer_than_others() {
    let gate = gate(&[("ann", 4), ("bob", 4)], &[("ann", 4)]);
    for (user, checks) in [("ann", 2), ("bob", 1), ("eve", 0)] {
        assert_eq!(gate.login_as(user, "wrong").await, (Err(GateDenied::Wrong), checks), "{user}");
    }
}
