//! State of a replica, from the units that Tsuru reports and the readiness of Prometheus. Pure
//! functions.

use crate::{
    domain::prometheus::{Replica, ReplicaState},
    tsuru::{AppInfo, Unit, one_line},
};

/// Result of a readiness request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// The status of the response.
    Status(u16),
    /// No response, and the reason.
    NoResponse(String),
}

/// The response of Prometheus takes precedence. Without a response the state of the units counts.
pub(super) fn replica(number: u8, url: &str, app: &AppInfo, result: &ProbeResult) -> Replica {
    let (state, problem) = match result {
        ProbeResult::Status(200) => (ReplicaState::Ready, String::new()),
        ProbeResult::NoResponse(_) if units(app).any(Unit::is_ready) => {
            (ReplicaState::Ready, String::new())
        }
        result => unready(app, result),
    };
    Replica { number, url: url.to_owned(), state, problem }
}

/// A replica that was not ready in time.
pub(super) fn starting(number: u8, problem: &str) -> Replica {
    let problem = problem.to_owned();
    Replica { number, url: String::new(), state: ReplicaState::Starting, problem }
}

/// A replica whose app was removed.
pub(super) fn gone(number: u8) -> Replica {
    let problem = "its app is gone from Tsuru".to_owned();
    Replica { number, url: String::new(), state: ReplicaState::Failed, problem }
}

pub(super) fn has_units(app: &AppInfo) -> bool {
    units(app).next().is_some()
}

fn units(app: &AppInfo) -> impl Iterator<Item = &Unit> {
    app.units.iter().flatten().flatten()
}

fn unready(app: &AppInfo, result: &ProbeResult) -> (ReplicaState, String) {
    if !has_units(app) {
        return (ReplicaState::Starting, "it has no unit yet".to_owned());
    }
    let is_down = |unit: &&Unit| matches!(&*unit.status, "error" | "stopped" | "succeeded");
    let down = units(app).find(is_down);
    let down = down.map(|unit| {
        let reason = match unit.status_reason.trim() {
            "" => String::new(),
            reason => format!(" ({})", one_line(reason)),
        };
        format!("unit {} is in state {}{reason}", one_line(&unit.name), one_line(&unit.status))
    });
    let state = match units(app).all(|unit| is_down(&unit)) {
        true => ReplicaState::Failed,
        false => ReplicaState::Starting,
    };
    let reason = || match result {
        ProbeResult::Status(status) => {
            format!("its readiness probe returned status {status}")
        }
        ProbeResult::NoResponse(reason) => format!("it cannot be reached: {}", one_line(reason)),
    };
    (state, down.unwrap_or_else(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(units: serde_json::Value, result: &ProbeResult) -> (ReplicaState, String) {
        let app = AppInfo::from_json(&json!({ "units": units }));
        let replica = replica(0, "http://x", &app, result);
        (replica.state, replica.problem)
    }

    #[test]
    fn the_readiness_response_takes_precedence_over_the_units() {
        let unit = |status: &str, ready: Option<bool>| json!({"Name": "u", "Status": status, "StatusReason": "why\n", "Ready": ready});
        let nothing = ProbeResult::NoResponse("no route".to_owned());
        let ready = (ReplicaState::Ready, String::new());
        assert_eq!(state(json!([]), &ProbeResult::Status(200)), ready);
        assert_eq!(state(json!([unit("started", Some(true))]), &nothing), ready);
        assert_eq!(state(json!([unit("started", None)]), &nothing), ready);
        let starting = |problem: &str| (ReplicaState::Starting, problem.to_owned());
        assert_eq!(state(json!(null), &nothing), starting("it has no unit yet"));
        assert_eq!(
            state(json!([unit("started", Some(true))]), &ProbeResult::Status(503)),
            starting("its readiness probe returned status 503")
        );
        assert_eq!(
            state(json!([unit("started", Some(false))]), &nothing),
            starting("it cannot be reached: no route")
        );
        let problem = "unit u is in state error (why)";
        let broken = json!([unit("error", None)]);
        assert_eq!(state(broken, &nothing), (ReplicaState::Failed, problem.to_owned()));
        let one_of_two = json!([unit("error", None), unit("starting", Some(false))]);
        assert_eq!(state(one_of_two, &nothing), starting(problem));
    }
}
