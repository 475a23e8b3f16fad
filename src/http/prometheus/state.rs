//! A short text for the state of an instance.

use crate::{
    broker::PrometheusSnapshot,
    domain::{OperationKind, OperationState, prometheus::ReplicaState},
};

/// The operation in progress, and the number of ready replicas.
pub fn state(prometheus: &PrometheusSnapshot) -> String {
    let operation = prometheus.operation.as_ref();
    let progress = operation.and_then(|it| Some((it.kind?, it.state, it.description.as_str())));
    let with_reason = |text: &str| match text {
        "" => String::new(),
        text => format!(": {text}"),
    };
    match progress {
        Some((OperationKind::Provision, OperationState::InProgress, reason)) => {
            format!("being created{}", with_reason(reason))
        }
        Some((OperationKind::Provision, OperationState::Failed, reason)) => {
            format!("could not be created{}", with_reason(reason))
        }
        Some((OperationKind::Deprovision, OperationState::InProgress, reason)) => {
            format!("being removed{}", with_reason(reason))
        }
        Some((OperationKind::Deprovision, OperationState::Failed, reason)) => {
            format!("could not be removed{}", with_reason(reason))
        }
        Some((OperationKind::Update, OperationState::InProgress, reason)) => {
            format!("{}, being changed{}", running(prometheus), with_reason(reason))
        }
        Some((OperationKind::Update, OperationState::Failed, reason)) => {
            format!("{}, the last change failed{}", running(prometheus), with_reason(reason))
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
