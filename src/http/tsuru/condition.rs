//! The state of an instance, for `status` and `info`.

use super::{TsuruError, TsuruState};
use crate::{
    broker::{LastOperation, PrometheusSnapshot},
    domain::{
        InstanceId, OperationKind, OperationState,
        prometheus::{Replica, ReplicaState},
    },
};
use std::sync::Arc;

pub(super) struct Condition {
    pub(super) state: State,
    /// A text that describes the state.
    pub(super) text: &'static str,
    /// The reason of a failure, or empty.
    pub(super) problem: String,
    /// The Prometheus with its replicas, if the instance is one.
    pub(super) prometheus: Option<Arc<PrometheusSnapshot>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Pending,
    Down,
}

pub(super) async fn of(state: &TsuruState, id: &InstanceId) -> Result<Condition, TsuruError> {
    let last = state.broker.last_operation(id, None).await?;
    let prometheus = state.broker.binding_table().prometheus(id.as_str());
    let replicas = prometheus.as_ref().map(|one| one.replicas.as_slice()).unwrap_or_default();
    let (state, text) = evaluate(&last, replicas);
    Ok(Condition { state, text, problem: problem(&last, replicas), prometheus })
}

fn evaluate(last: &LastOperation, replicas: &[Replica]) -> (State, &'static str) {
    use OperationKind::{Deprovision, Provision, Update};
    use OperationState::{Failed, InProgress};
    match (last.kind, last.state) {
        (None, _) => (State::Up, "ready"),
        (Some(Provision), InProgress) => (State::Pending, "being created"),
        (Some(Update), InProgress) => (State::Pending, "being changed"),
        (Some(Deprovision), InProgress) => (State::Pending, "being removed"),
        (Some(Provision), Failed) => (State::Down, "could not be created"),
        (Some(Deprovision), Failed) => (State::Down, "could not be removed"),
        // A failed update does not change the instance.
        _ if has(replicas, ReplicaState::Ready) => (State::Up, "ready"),
        _ if replicas.is_empty() || has(replicas, ReplicaState::Starting) => {
            (State::Pending, "starting")
        }
        _ => (State::Down, "failed"),
    }
}

fn has(replicas: &[Replica], state: ReplicaState) -> bool {
    replicas.iter().any(|replica| replica.state == state)
}

fn problem(last: &LastOperation, replicas: &[Replica]) -> String {
    if last.state == OperationState::Failed {
        return last.description.clone();
    }
    let problem = replicas.iter().map(|replica| replica.problem.as_str()).find(|it| !it.is_empty());
    problem.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_operation_takes_precedence_over_replicas() {
        let replica = |state| Replica {
            number: 0,
            url: String::new(),
            state,
            problem: format!("it is {state:?}"),
        };
        use OperationKind::{Deprovision, Provision, Update};
        use OperationState::{Failed, InProgress, Succeeded};
        use ReplicaState as Is;
        let cases: [(_, _, &[Is], _, _); 13] = [
            (None, Succeeded, &[], State::Up, ""),
            (Some(Provision), InProgress, &[], State::Pending, ""),
            (Some(Provision), Failed, &[], State::Down, "why"),
            (Some(Provision), Succeeded, &[], State::Pending, ""),
            (Some(Provision), Succeeded, &[Is::Starting], State::Pending, "it is Starting"),
            (Some(Provision), Succeeded, &[Is::Failed], State::Down, "it is Failed"),
            (Some(Provision), Succeeded, &[Is::Failed, Is::Ready], State::Up, "it is Failed"),
            (Some(Update), InProgress, &[Is::Ready], State::Pending, "it is Ready"),
            (Some(Update), Failed, &[Is::Ready], State::Up, "why"),
            (Some(Update), Failed, &[Is::Starting], State::Pending, "why"),
            (Some(Update), Succeeded, &[Is::Ready], State::Up, "it is Ready"),
            (Some(Deprovision), InProgress, &[], State::Pending, ""),
            (Some(Deprovision), Failed, &[Is::Ready], State::Down, "why"),
        ];
        for (kind, state, replicas, expected, why) in cases {
            let replicas: Vec<_> = replicas.iter().copied().map(replica).collect();
            let last = LastOperation { kind, state, description: "why".to_owned() };
            assert_eq!(evaluate(&last, &replicas).0, expected, "{last:?} {replicas:?}");
            assert_eq!(problem(&last, &replicas), why, "{last:?} {replicas:?}");
        }
    }
}
