//! Black-box tests: the whole program over sockets, one module an API.

#![expect(clippy::unwrap_used, reason = "a test that cannot do its work has failed")]

mod access;
mod apps;
mod backends;
mod backup;
mod balancer;
mod base_path;
mod broker;
mod browser;
mod budget;
mod causes;
mod certificates;
mod connections;
mod crash;
mod description;
mod disclosure;
mod drain;
mod exporters;
mod faults;
mod formats;
mod forwarding;
mod health;
mod helpers;
mod http2;
mod https;
mod ipv6;
mod limits;
mod migration;
mod nats;
mod own_prometheus;
mod own_prometheus_tsuru;
mod pages;
mod process;
mod prometheus;
#[path = "../support/protobuf.rs"]
mod protobuf;
mod provision_process;
mod query;
mod query_real;
mod readiness;
mod replicas;
mod scaling;
mod sd;
mod sd_export;
mod slashes;
mod slow;
mod start;
mod transfers;
mod tsuru;
#[path = "../support/tsuru.rs"]
mod tsuru_api;
mod tsuru_apps;
mod tsuru_service;

use exposition::testing::promtool;
