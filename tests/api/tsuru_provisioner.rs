//! Prometheus instances as apps of Tsuru, with a stand-in for Tsuru's API.

mod failures;
mod life;
mod platform;
