//! One of the identical Prometheus servers of an instance.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its number, from 0.
    pub number: u8,
    /// The URL before the paths of its API, without a slash at its end; empty while it does not run.
    pub url: String,
    pub state: ReplicaState,
    /// The reason why it is not ready, else empty.
    pub problem: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// It starts.
    Starting,
    /// It is ready.
    Ready,
    /// It failed for good.
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
