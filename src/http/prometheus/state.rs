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

/// Groups of instances in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunState {
    /// An operation or a server failed.
    Failing,
    /// An operation is in progress, or a server starts.
    Changing,
    Running,
}

impl RunState {
    pub(super) const ALL: [Self; 3] = [Self::Failing, Self::Changing, Self::Running];

    pub(super) fn of(prometheus: &PrometheusSnapshot) -> Self {
        let operation = prometheus.operation.as_ref().map(|it| it.state);
        let count = |state| prometheus.replicas.iter().filter(|it| it.state == state).count();
        if operation == Some(OperationState::Failed) || count(ReplicaState::Failed) > 0 {
            Self::Failing
        } else if operation == Some(OperationState::InProgress)
            || count(ReplicaState::Ready) < usize::from(prometheus.spec.replicas)
        {
            Self::Changing
        } else {
            Self::Running
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Changing => "changing",
            Self::Running => "running",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Failing => "Failing",
            Self::Changing => "Changing",
            Self::Running => "Running",
        }
    }
}
