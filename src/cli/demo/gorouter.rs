//! A fake gorouter: its `GET /routes`, with the instances of the demo's app.

use actix_web::{App, HttpResponse, HttpServer, dev::Server, web};
use serde_json::{Value, json};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

pub(super) const APP_GUID: &str = "7c3d2a4e-5b1f-4a86-9d27-0d3e6f1c9a55";
pub(super) const ORGANIZATION_GUID: &str = "2f9a7c10-64d1-4c57-8f0b-6a1d8be0e7c3";
pub(super) const SPACE_GUID: &str = "b84e1f6d-0a92-4e3c-a5d7-91c2f4380b6e";

pub(super) struct FakeGorouter {
    pub(super) address: SocketAddr,
    pub(super) server: Server,
}

impl FakeGorouter {
    /// Serves a route table with an endpoint at each address of `instances`.
    pub(super) fn bind(instances: &[SocketAddr]) -> io::Result<Self> {
        let table = table(instances);
        let server = HttpServer::new(move || {
            let table = table.clone();
            let routes = move || std::future::ready(HttpResponse::Ok().json(&table));
            App::new().route("/routes", web::get().to(routes))
        })
        .workers(1)
        .disable_signals()
        .bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = server.addrs().first().copied();
        let address = address.ok_or_else(|| io::Error::other("no address"))?;
        Ok(Self { address, server: server.run() })
    }
}

fn table(instances: &[SocketAddr]) -> Value {
    let endpoint = |(index, address): (usize, &SocketAddr)| {
        let instance_guid = format!("7c3d2a4e-{index:04}-4a86-9d27-0d3e6f1c9a55");
        json!({
            "address": address.to_string(),
            "availability_zone": format!("z{}", index % 2 + 1),
            "protocol": "http1",
            "tls": false,
            "ttl": 120,
            "tags": {
                "app_id": APP_GUID,
                "app_name": "shop",
                "component": "route-emitter",
                "instance_id": index.to_string(),
                "organization_id": ORGANIZATION_GUID,
                "organization_name": "acme",
                "process_id": APP_GUID,
                "process_instance_id": instance_guid,
                "process_type": "web",
                "source_id": APP_GUID,
                "space_id": SPACE_GUID,
                "space_name": "demo",
            },
            "private_instance_id": instance_guid,
        })
    };
    let endpoints: Vec<_> = instances.iter().enumerate().map(endpoint).collect();
    json!({ "shop.example.com": endpoints, "*.shop.example.com": endpoints })
}
