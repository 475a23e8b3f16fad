//! Query pools: `/pools/{name}/…` for operators, and a listener that behaves like a Prometheus.
//!
//! ```text
//! query.listen:  /…  ───────────► default pool      /mpp/health, /mpp/metrics, /mpp/status
//! both:          /pools/{name}/… ► this pool        /pools/{name}/ ► status page
//! ```

mod list;
mod mpp;
mod status;

use crate::{
    domain::BaseUrl,
    http::{
        access::Access,
        lifecycle::Lifecycle,
        query::{self, ClientBody, NOTIFICATIONS_LIVE, Problem, PrometheusError, only_read},
        read_only,
        ui::{self, Layout, Section, Viewer},
    },
    query::{Pool, PoolClient, PoolMetrics, PrometheusClient, client_address},
};
use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    http::header::{self, ContentType},
    web,
};
use status::PoolStatus;
use std::time::Instant;

const PREFIX: &str = "/pools/";

/// Where clients reach a listener, or a pool.
#[derive(Clone, Copy)]
struct Base<'a> {
    path: &'a str,
    is_https: bool,
    /// Decides which links pages have.
    viewer: Viewer,
}

/// State of the handlers, shared by all workers.
#[derive(Clone, Debug)]
pub struct Pools {
    pub pools: Vec<Pool>,
    /// The pool at the root of the listener.
    pub default: Option<Pool>,
    /// Whether the listener requires the credentials of an operator.
    pub operators_only: bool,
    /// Whether the listener has TLS.
    pub has_tls: bool,
    pub base_url: BaseUrl,
    pub access: Access,
    pub lifecycle: Lifecycle,
    pub metrics: PoolMetrics,
    pub started: Instant,
}

/// Adds `/pools` and `/pools/…` to the main listener. Requires [`Pools`] and the worker's [`PrometheusClient`] as
/// app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/pools", list::show))
        .route("/pools/{rest:.*}", web::route().to(on_main_listener));
}

/// Configures the listener of the query proxy. Requires the same app data.
pub fn configure_listener(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/mpp/health", mpp::health))
        .service(read_only("/mpp/metrics", mpp_metrics))
        .service(read_only("/mpp/status", mpp_status))
        .configure(ui::configure_assets)
        .default_service(web::route().to(on_own_listener));
}

/// Everything needs an operator here, because a pool contains the metrics of all apps.
async fn on_main_listener(
    request: HttpRequest,
    payload: web::Payload,
    pools: web::Data<Pools>,
    client: web::Data<PrometheusClient>,
) -> HttpResponse {
    let is_https = pools.base_url.scheme() == "https";
    let base = Base { path: pools.base_url.path(), is_https, viewer: Viewer::Operator };
    let answered = async {
        pools.access.operator(&request).await?;
        let (pool, rest) = pools.find(request.path()).ok_or(Problem::UnknownPool)?;
        pools.serve(&request, payload, &client, pool, rest, base).await
    };
    answered.await.unwrap_or_else(|problem| failed(&request, problem))
}

async fn on_own_listener(
    request: HttpRequest,
    payload: web::Payload,
    pools: web::Data<Pools>,
    client: web::Data<PrometheusClient>,
) -> HttpResponse {
    let base = pools.own_listener();
    let answered = async {
        let path = request.uri().path();
        let named = path.starts_with(PREFIX).then(|| pools.find(path));
        let rest = named.flatten().map_or(path, |(_, rest)| rest);
        // Load balancers have no credentials.
        if !["/-/healthy", "/-/ready"].contains(&rest) {
            pools.authorize(&request).await?;
        }
        if let Some(named) = named {
            let (pool, rest) = named.ok_or(Problem::UnknownPool)?;
            return pools.serve(&request, payload, &client, pool, rest, base).await;
        }
        let pool = pools.default.as_ref().ok_or(Problem::UnknownPool)?;
        pools.forward(&request, payload, &client, pool, path, base).await
    };
    answered.await.unwrap_or_else(|problem| failed(&request, problem))
}

async fn mpp_metrics(request: HttpRequest, pools: web::Data<Pools>) -> HttpResponse {
    let metrics = async {
        pools.authorize(&request).await?;
        let pool = pools.default.as_ref().ok_or(Problem::UnknownPool)?;
        let text = mpp::metrics(pool, &pools.metrics);
        Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text))
    };
    metrics.await.unwrap_or_else(|problem| failed(&request, problem))
}

async fn mpp_status(request: HttpRequest, pools: web::Data<Pools>) -> HttpResponse {
    let page = async {
        pools.authorize(&request).await?;
        let pool = pools.default.as_ref().ok_or(Problem::UnknownPool)?;
        Ok(pools.status(&request, pool, pools.own_listener(), "../graph"))
    };
    page.await.unwrap_or_else(|problem| failed(&request, problem))
}

fn failed(request: &HttpRequest, problem: Problem) -> HttpResponse {
    let is_api = request.uri().path().contains("/api/");
    PrometheusError { problem, is_api }.response()
}

fn redirect(location: &str) -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, location)).finish()
}

impl Pools {
    async fn authorize(&self, request: &HttpRequest) -> Result<(), Problem> {
        match self.operators_only {
            true => Ok(self.access.operator(request).await?),
            false => Ok(()),
        }
    }

    /// The pool of a path below `/pools/`, and the rest of the path.
    fn find<'a>(&self, path: &'a str) -> Option<(&Pool, &'a str)> {
        let path = path.strip_prefix(PREFIX)?;
        let (name, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        let pool = self.pools.iter().find(|pool| pool.settings().name == name)?;
        Some((pool, rest))
    }

    /// Serves a path of a pool.
    async fn serve(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        client: &PrometheusClient,
        pool: &Pool,
        rest: &str,
        base: Base<'_>,
    ) -> Result<HttpResponse, Problem> {
        let name = &pool.settings().name;
        match rest {
            "" => Ok(redirect(&format!("./{name}/"))),
            "/" => {
                only_read(request.method())?;
                Ok(self.status(request, pool, base, "graph"))
            }
            _ => {
                let mount = format!("{}{PREFIX}{name}", base.path);
                let mount = Base { path: &mount, ..base };
                self.forward(request, payload, client, pool, rest, mount).await
            }
        }
    }

    /// Forwards a request to a pool at `mount`.
    async fn forward(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        client: &PrometheusClient,
        pool: &Pool,
        path: &str,
        mount: Base<'_>,
    ) -> Result<HttpResponse, Problem> {
        match path {
            "/-/healthy" => {
                only_read(request.method())?;
                return Ok(match self.lifecycle.is_over() {
                    true => text(HttpResponse::ServiceUnavailable(), "stopping\n"),
                    false => text(HttpResponse::Ok(), "healthy\n"),
                });
            }
            "/-/ready" => {
                only_read(request.method())?;
                return Ok(self.ready(pool));
            }
            NOTIFICATIONS_LIVE => {
                only_read(request.method())?;
                return Ok(HttpResponse::NoContent().finish());
            }
            _ => {}
        }
        let body = ClientBody::new(payload);
        let read = query::read(request, &body, path, pool.settings().writes).await?;
        let headers = query::without_credentials(request.headers(), &self.access);
        let timeout = pool.settings().timeout;
        let query_request = read.request(request, &headers, Some(mount.path), timeout);
        let name = pool.cookie_name();
        let cookie = request.cookie(&name);
        let from = PoolClient {
            address: client_of(request, pool),
            cookie: cookie.as_ref().map(Cookie::value),
        };
        let answer = pool.forward(client, from, &query_request).await?;
        let mut response = query::respond(answer.response, request.method());
        if let Some(value) = answer.set_cookie {
            let cookie = cookie_of(pool, name, value, mount.is_https);
            if let Ok(value) = header::HeaderValue::try_from(cookie.to_string()) {
                response.headers_mut().append(header::SET_COOKIE, value);
            }
        }
        Ok(response)
    }

    fn ready(&self, pool: &Pool) -> HttpResponse {
        let snapshot = pool.snapshot();
        if self.lifecycle.is_draining() {
            return text(HttpResponse::ServiceUnavailable(), "stopping\n");
        }
        if !snapshot.is_usable() {
            let why = if snapshot.replicas.is_empty() {
                snapshot.why_empty()
            } else {
                "no replica is ready".to_owned()
            };
            return text(HttpResponse::ServiceUnavailable(), &format!("not ready: {why}\n"));
        }
        text(HttpResponse::Ok(), "ready\n")
    }

    /// The root of the listener of the query proxy.
    fn own_listener(&self) -> Base<'static> {
        let viewer = if self.operators_only { Viewer::Operator } else { Viewer::Anonymous };
        Base { path: "", is_https: self.has_tls, viewer }
    }

    /// The status page, or its JSON. `graph` is the path of the query page.
    fn status(
        &self,
        request: &HttpRequest,
        pool: &Pool,
        base: Base<'_>,
        graph: &str,
    ) -> HttpResponse {
        let status = PoolStatus::new(pool, &self.metrics, self.started);
        let Base { path: assets, viewer, .. } = base;
        let site = if assets == self.base_url.path() { assets } else { self.base_url.as_str() };
        let layout = Layout { assets, site, section: Section::Pools, viewer };
        let page = status::Page { layout, graph, status };
        ui::respond(request, &page, &page.status)
    }
}

fn text(mut response: actix_web::HttpResponseBuilder, body: &str) -> HttpResponse {
    response.content_type(ContentType::plaintext()).body(body.to_owned())
}

fn cookie_of(pool: &Pool, name: String, value: String, is_https: bool) -> Cookie<'static> {
    let lifetime = i64::try_from(pool.cookie_lifetime()).unwrap_or(i64::MAX);
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_https)
        .max_age(Duration::seconds(lifetime))
        .finish()
}

/// The address of the client, if affinity needs it.
fn client_of(request: &HttpRequest, pool: &Pool) -> Option<std::net::IpAddr> {
    if !pool.settings().affinity.source_ip {
        return None;
    }
    let forwarded: Vec<_> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .collect();
    let peer = request.peer_addr()?.ip();
    Some(client_address(peer, forwarded.into_iter(), &pool.settings().trusted_proxies))
}
