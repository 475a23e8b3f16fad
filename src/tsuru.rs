//! Tsuru's API: one client, and the JSON that is used.
//!
//! [`TsuruApi`] can be shared by threads. A [`TsuruClient`] sends calls and belongs to one thread,
//! because awc's clients are not `Send`.

mod api;
mod app;
mod app_calls;
mod binds;
mod client;
mod error;
mod stream;

pub use api::{TSURU_CALLS, TsuruApi};
pub use app::{AppInfo, InternalAddress, Router, Unit};
pub use app_calls::{AppVariable, Created, NewApp};
pub use binds::TsuruBinds;
pub use client::{CallLimits, TsuruClient};
pub use error::{TsuruApiError, one_line};
