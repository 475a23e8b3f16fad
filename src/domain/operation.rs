//! What takes longer than a request.

use std::fmt;

/// What is to be done about a service instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Make it.
    Provision,
    /// Make it like something else.
    Update,
    /// Remove it.
    Deprovision,
}

/// How far that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// It is carried out, also after a restart.
    InProgress,
    /// What is there is as it was asked for.
    Succeeded,
    /// It was given up.
    Failed,
}

impl OperationKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Provision, Self::Update, Self::Deprovision];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Update => "update",
            Self::Deprovision => "deprovision",
        }
    }
}

impl OperationState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::InProgress, Self::Succeeded, Self::Failed];

    /// The word for it (OSB "Polling Last Operation").
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
