//! Tests over HTTP of the whole program, and of its two service APIs on SQLite and PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod access;
mod apps;
mod backends;
mod backup;
mod base_path;
mod broker;
mod browser;
mod budget;
mod causes;
mod connections;
mod dedicated_prometheus;
mod dedicated_prometheus_tsuru;
mod description;
mod disclosure;
mod drain;
mod exporters;
mod formats;
mod forwarding;
mod health;
mod http2;
mod https;
mod instance_faults;
mod ipv6;
mod limits;
mod nats;
mod osb;
mod pages;
mod paths;
mod prometheus_as_tsuru_apps;
mod promfetcher_takeover;
mod provision_kills;
mod query;
mod query_prometheus;
mod query_replicas;
mod readiness;
mod replicas;
mod scaling;
mod scraped_by_prometheus;
mod sd;
mod sd_export;
mod served_api;
mod server_process;
mod signals_and_kills;
mod slow_clients;
mod start;
mod stores;
mod test_app;
mod transfers;
mod tsuru_binding;
mod tsuru_provisioner;
mod tsuru_service;
mod tsuru_units;

use exposition::testing::promtool;
