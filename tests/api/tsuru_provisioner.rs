//! Prometheus instances as Tsuru apps, with a fake of Tsuru's API.

mod failures;
mod life;
mod platform;
