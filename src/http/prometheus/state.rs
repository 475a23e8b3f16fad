//! A short text for the state of an instance.

use crate::{
    broker::PrometheusSnapshot,
    domain::{OperationKind, OperationState, prometheus::ReplicaState},
};

/// The operation in progress, and the number of ready replicas.
pub fn state(prometheus: &PrometheusSnapshot) -> String {
    let operation = prometheus.operation.as_ref();
    let doing = operation.and_then(|it| Some((it.kind?, it.state, it.description.as_str())));
    let because = |text: &str| match text {
        "" => String::new(),
        text => format!(": {text}"),
    };
    match doing {
        Some((OperationKind::Provision, OperationState::InProgress, why)) => {
            format!("being made{}", because(why))
        }
        Some((OperationKind::Provision, OperationState::Failed, why)) => {
            format!("could not be made{}", because(why))
        }
        Some((OperationKind::Deprovision, OperationState::InProgress, why)) => {
            format!("being removed{}", because(why))
        }
        Some((OperationKind::Deprovision, OperationState::Failed, why)) => {
            format!("could not be removed{}", because(why))
        }
        Some((OperationKind::Update, OperationState::InProgress, why)) => {
            format!("{}, being changed{}", running(prometheus), because(why))
        }
        Some((OperationKind::Update, OperationState::Failed, why)) => {
            format!("{}, the last change failed{}", running(prometheus), because(why))
        }
        _ => running(prometheus),
    }
}

fn running(prometheus: &PrometheusSnapshot) -> String {
    let ready = prometheus.replicas.iter().filter(|it| it.state == ReplicaState::Ready).count();
    match (ready, prometheus.spec.replicas) {
        (0, _) => "not running".to_owned(),
        (1, 1) => "running".to_owned(),
        (ready, all) => format!("{ready} of {all} servers running"),
    }
}
