//! Asynchronous operations on service instances.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Create the instance.
    Provision,
    /// Change its settings.
    Update,
    /// Delete it.
    Deprovision,
}

/// The state of an operation (OSB "Polling Last Operation for Service Instances").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// The operation runs, or is resumed after a restart.
    InProgress,
    /// The instance has the requested state.
    Succeeded,
    /// The operation is not retried.
    Failed,
}

impl OperationKind {
    pub const ALL: [Self; 3] = [Self::Provision, Self::Update, Self::Deprovision];

    /// The name in the database, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Update => "update",
            Self::Deprovision => "deprovision",
        }
    }
}

impl OperationState {
    pub const ALL: [Self; 3] = [Self::InProgress, Self::Succeeded, Self::Failed];

    /// The value of `state` in OSB responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
