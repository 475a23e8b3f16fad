//! One of the identical Prometheus servers of an instance.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Index of the replica, starting at 0.
    pub number: u8,
    /// Base URL of its API, without a trailing slash. It is empty while the replica does not run.
    pub url: String,
    pub state: ReplicaState,
    /// The reason why the replica is not ready, or empty.
    pub problem: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    Starting,
    Ready,
    /// The replica failed permanently.
    Failed,
}

impl ReplicaState {
    pub const ALL: [Self; 3] = [Self::Starting, Self::Ready, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}
