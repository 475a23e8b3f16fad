//! Prometheus instances as apps of Tsuru, tested with a fake of Tsuru's API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod failures;
mod life;
mod platform;
#[path = "../support/tsuru.rs"]
mod tsuru;
