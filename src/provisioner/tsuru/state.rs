//! How a replica does, by what Tsuru says of its units and what it answers itself. Pure.

use super::{
    api::Answer,
    error::shown,
    wire::{AppInfo, Unit},
};
use crate::domain::prometheus::{Replica, ReplicaState};

/// Puts both together. What the Prometheus says itself counts most; where it
/// cannot be reached from here, Tsuru is believed.
pub(super) fn replica(number: u8, url: &str, app: &AppInfo, answer: &Answer) -> Replica {
    let (state, problem) = match answer {
        Answer::Status(200) => (ReplicaState::Ready, String::new()),
        Answer::Nothing(_) if app.units.iter().any(is_ready) => {
            (ReplicaState::Ready, String::new())
        }
        answer => unready(app, answer),
    };
    Replica { number, url: url.to_owned(), state, problem }
}

/// Of an app that is not ready in time.
pub(super) fn starting(number: u8, problem: &str) -> Replica {
    let problem = problem.to_owned();
    Replica { number, url: String::new(), state: ReplicaState::Starting, problem }
}

/// Of an app that somebody has removed.
pub(super) fn gone(number: u8) -> Replica {
    let problem = "its app is gone from Tsuru".to_owned();
    Replica { number, url: String::new(), state: ReplicaState::Failed, problem }
}

fn is_ready(unit: &Unit) -> bool {
    unit.status == "started" && unit.ready != Some(false)
}

fn unready(app: &AppInfo, answer: &Answer) -> (ReplicaState, String) {
    if app.units.is_empty() {
        return (ReplicaState::Starting, "it has no unit yet".to_owned());
    }
    let is_down = |unit: &&Unit| matches!(&*unit.status, "error" | "stopped" | "succeeded");
    let down = app.units.iter().find(is_down);
    let down = down.map(|unit| {
        let reason = match unit.status_reason.trim() {
            "" => String::new(),
            reason => format!(" ({})", shown(reason)),
        };
        format!("unit {} is in state {}{reason}", shown(&unit.name), shown(&unit.status))
    });
    let state = match app.units.iter().all(|unit| is_down(&unit)) {
        true => ReplicaState::Failed,
        false => ReplicaState::Starting,
    };
    let said = || match answer {
        Answer::Status(status) => format!("it answers {status} when asked whether it is ready"),
        Answer::Nothing(reason) => format!("it cannot be reached: {}", shown(reason)),
    };
    (state, down.unwrap_or_else(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(units: serde_json::Value, answer: &Answer) -> (ReplicaState, String) {
        let app = serde_json::from_value(json!({ "units": units })).unwrap();
        let replica = replica(0, "http://x", &app, answer);
        (replica.state, replica.problem)
    }

    #[test]
    fn what_it_answers_counts_and_else_what_tsuru_says() {
        let unit = |status: &str, ready: Option<bool>| json!({"Name": "u", "Status": status, "StatusReason": "why\n", "Ready": ready});
        let nothing = Answer::Nothing("no route".to_owned());
        let ready = (ReplicaState::Ready, String::new());
        assert_eq!(state(json!([]), &Answer::Status(200)), ready);
        assert_eq!(state(json!([unit("started", Some(true))]), &nothing), ready);
        assert_eq!(state(json!([unit("started", None)]), &nothing), ready);
        let starting = |problem: &str| (ReplicaState::Starting, problem.to_owned());
        assert_eq!(state(json!(null), &nothing), starting("it has no unit yet"));
        assert_eq!(
            state(json!([unit("started", Some(true))]), &Answer::Status(503)),
            starting("it answers 503 when asked whether it is ready")
        );
        assert_eq!(
            state(json!([unit("started", Some(false))]), &nothing),
            starting("it cannot be reached: no route")
        );
        let words = "unit u is in state error (why)";
        let broken = json!([unit("error", None)]);
        assert_eq!(state(broken, &nothing), (ReplicaState::Failed, words.to_owned()));
        let one_of_two = json!([unit("error", None), unit("starting", Some(false))]);
        assert_eq!(state(one_of_two, &nothing), starting(words));
    }
}
