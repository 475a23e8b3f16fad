//! `GET /routes`: the route table in gorouter's format, for operators.
//!
//! The table is rendered while it is sent, because its JSON is larger than the table in memory.

use crate::{
    discovery::{Endpoint, RouteTable, Snapshot},
    http::{
        access::{Access, Denied},
        read_only,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::ContentType,
    web::{self, Bytes},
};
use futures_util::{Stream, stream};
use serde_json::{Map, Value, json};
use std::{convert::Infallible, sync::Arc};

/// Size of a chunk in bytes.
const CHUNK: usize = 64 << 10;

/// State of the handler, shared by all workers.
#[derive(Clone, Debug)]
pub struct Routes {
    pub table: RouteTable,
    pub access: Access,
}

/// Adds `/routes`. Requires [`Routes`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config.service(read_only("/routes", routes));
}

async fn routes(request: HttpRequest, routes: web::Data<Routes>) -> Result<HttpResponse, Denied> {
    routes.access.operator(&request).await?;
    let table = routes.table.snapshot();
    let sorted = Arc::clone(&table);
    // Sorting runs on a thread that serves no scrapes.
    if web::block(move || sorted.sort()).await.is_err() {
        return Ok(HttpResponse::InternalServerError().finish());
    }
    Ok(HttpResponse::Ok().content_type(ContentType::json()).streaming(text(table)))
}

/// The JSON text of a table, as a stream of chunks.
fn text(table: Arc<Snapshot>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((table, Some(0)), async |(table, next)| {
        let (chunk, next) = chunk(&table, next?);
        Some((Ok(Bytes::from(chunk)), (table, next)))
    })
}

/// The chunk that begins with the route at index `first`, and the index of the next route.
fn chunk(table: &Snapshot, first: usize) -> (String, Option<usize>) {
    let mut text = if first == 0 { "{".to_owned() } else { String::new() };
    let mut position = first;
    for (route, endpoints) in table.routes_from(first) {
        let comma = if position == 0 { "" } else { "," };
        let endpoints: Vec<_> = endpoints.iter().map(|endpoint| endpoint_json(endpoint)).collect();
        text.push_str(&format!("{comma}{}:{}", Value::from(route), Value::from(endpoints)));
        position += 1;
        if text.len() >= CHUNK {
            return (text, Some(position));
        }
    }
    text.push('}');
    (text, None)
}

/// An endpoint in gorouter's format.
fn endpoint_json(endpoint: &Endpoint) -> Value {
    let mut tags = Map::new();
    for (name, value) in endpoint.app.labels() {
        tags.insert(name.to_owned(), value.into());
    }
    tags.insert("process_type".to_owned(), (*endpoint.process_type).into());
    if let Some(index) = &endpoint.index {
        tags.insert("instance_id".to_owned(), (**index).into());
    }
    if let Some(id) = &endpoint.process_instance_id {
        tags.insert("process_instance_id".to_owned(), (**id).into());
    }
    let mut endpoint_json = json!({
        "address": endpoint.address.to_string(),
        "availability_zone": endpoint.availability_zone.as_deref().unwrap_or_default(),
        "protocol": if endpoint.http2 { "http2" } else { "http1" },
        "tls": endpoint.tls,
        "tags": tags,
    });
    for (name, value) in [
        ("server_cert_domain_san", &endpoint.server_cert_domain_san),
        ("isolation_segment", &endpoint.isolation_segment),
        ("route_service_url", &endpoint.route_service_url),
    ] {
        if let Some(value) = value {
            endpoint_json[name] = (**value).into();
        }
    }
    endpoint_json
}
