//! Asks the Prometheus of a service instance, for its users and for us.
//!
//! ```text
//! path, method ─► Read (what may be asked) ─► Client::forward ─► the first replica that listens
//!                                                  │
//!                        Answer: head, and a body that is passed on while it comes
//! ```
//!
//! # What must always hold
//!
//! * What is not known to be a read is not forwarded ([`Read::find`]).
//! * Nothing of the user's request goes along but what a read needs; nothing of the
//!   answer comes back but what a reader needs. Credentials are exchanged for ours.
//! * A body is never held whole, and one that was cut never looks whole.
//! * Who goes away takes the request along: dropping a future or a body closes its
//!   connection, and Prometheus gives up the query.

mod body;
mod client;
mod failure;
mod file_names;
mod forward;
mod reads;
mod summary;

pub use body::Body;
pub use client::Client;
pub use failure::Failure;
pub use file_names::FilesIn;
pub use forward::{Answer, Ask};
pub use reads::Read;
pub use summary::{Storage, Summary, Target};

use crate::domain::prometheus::Replica;
use secrecy::SecretString;

/// A Prometheus to ask.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where its users find it.
    pub external_url: String,
    /// What there is of it, in the order in which it is asked.
    pub replicas: Vec<Replica>,
    /// The password in front of it.
    pub password: SecretString,
}
