//! One of the equal Prometheus servers of an instance.

/// What there is of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its number, from 0.
    pub number: u8,
    /// What stands before the paths of its API, without a slash at its end; empty
    /// while it has no place.
    pub url: String,
    /// How it does.
    pub state: ReplicaState,
    /// Why it is not ready; empty when it is.
    pub problem: String,
}

/// How a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// It may be ready soon.
    Starting,
    /// It answers.
    Ready,
    /// It was given up.
    Failed,
}

impl ReplicaState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Starting, Self::Ready, Self::Failed];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}
