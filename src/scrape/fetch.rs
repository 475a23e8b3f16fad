//! Scrapes one target, following redirects.

use super::{
    body::FetchedBody,
    buffer::BodyBuffer,
    client::{Location, ScrapeClient},
    failure::{FailureReason, ScrapeFailure},
    memory_budget::Reservation,
    plan::{ScrapeTarget, SecretScope, TargetKind},
    request::{ScrapeLimits, ScrapeRequest},
    send::{TargetResponse, send, truncated},
};
use crate::domain::ExporterHost;
use awc::http::{
    StatusCode,
    header::{self, HeaderMap},
};
use exposition::Format;
use std::{net::SocketAddr, sync::Arc};
use url::Url;

/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 3;

/// Scrapes the targets of one request.
#[derive(Clone, Copy)]
pub(super) struct Fetcher<'a> {
    pub(super) client: &'a ScrapeClient,
    pub(super) request: &'a ScrapeRequest,
    pub(super) limits: &'a ScrapeLimits,
    /// Owns the memory of the bodies.
    pub(super) reservation: &'a Reservation,
}

impl Fetcher<'_> {
    pub(super) async fn fetch(self, target: &ScrapeTarget) -> Result<FetchedBody, ScrapeFailure> {
        match &target.kind {
            TargetKind::Instance(endpoint) => {
                self.fetch_from(Location::of_instance(endpoint)?, target).await
            }
            TargetKind::Exporter(one) => self.fetch_exporter(&one.exporter.host, target).await,
        }
    }

    /// Looks up the exporter's addresses and scrapes the first one that accepts connections.
    async fn fetch_exporter(
        self,
        host: &ExporterHost,
        target: &ScrapeTarget,
    ) -> Result<FetchedBody, ScrapeFailure> {
        let addresses = self.client.addresses(host).await?;
        first_that_listens(&addresses, async |address| {
            self.fetch_from(Location::of_exporter(host, address)?, target).await
        })
        .await
    }

    /// Scrapes the target at `location`, following redirects to the same location.
    async fn fetch_from(
        self,
        location: Location,
        target: &ScrapeTarget,
    ) -> Result<FetchedBody, ScrapeFailure> {
        let Self { client, request, limits, reservation } = self;
        let _permit = client.permit(target.app().id.as_str(), request.deadline).await?;
        let mut head = reservation.allocation();
        head.acquire(target.request_bytes()).await;
        let mut path = Arc::clone(&target.path);
        // The target without secrets, after a redirect to another path than the binding's.
        let mut without_secrets = None;
        for _ in 0..=MAX_REDIRECTS {
            let target = without_secrets.as_ref().unwrap_or(target);
            let response = send(client, &location, target, request, &path).await?;
            let status = response.status();
            if status.is_redirection() {
                path = redirected(target, location.address, &path, response.headers())?.into();
                if let Some(other) = target.redirected_to(&path) {
                    without_secrets = Some(other);
                }
                continue;
            }
            check_status(status, target.secrets)?;
            return read(response, limits.max_instance_body, reservation).await;
        }
        let detail = format!("more than {MAX_REDIRECTS} redirects");
        Err(ScrapeFailure::new(FailureReason::Redirect, detail))
    }
}

/// Returns the response of the first address that accepts a connection.
async fn first_that_listens<T>(
    addresses: &[SocketAddr],
    request: impl AsyncFn(SocketAddr) -> Result<T, ScrapeFailure>,
) -> Result<T, ScrapeFailure> {
    let mut refused = ScrapeFailure::new(FailureReason::Connect, "the host has no address");
    for address in addresses {
        match request(*address).await {
            Err(failure) if failure.reason == FailureReason::Connect => refused = failure,
            done => return done,
        }
    }
    Err(refused)
}

fn check_status(status: StatusCode, secrets: SecretScope) -> Result<(), ScrapeFailure> {
    let reason = match status.as_u16() {
        200 => return Ok(()),
        400..=499 => FailureReason::Status4xx,
        500..=599 => FailureReason::Status5xx,
        _ => FailureReason::NotExposition,
    };
    let wants_credentials = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let hint = match wants_credentials && secrets == SecretScope::Withheld {
        true => {
            "; the credentials of the binding were not sent, since they go to its own endpoint only unless the scraper shows a token of the app"
        }
        false => "",
    };
    let failure = ScrapeFailure::new(reason, format!("the response status was {status}{hint}"));
    Err(ScrapeFailure { status: Some(status.as_u16()), ..failure })
}

/// Path and query of the next request, if the redirect leads to the same instance: by a relative
/// reference, by the Host that was sent, or by the address.
fn redirected(
    target: &ScrapeTarget,
    address: SocketAddr,
    path: &str,
    headers: &HeaderMap,
) -> Result<String, ScrapeFailure> {
    let refused = |why: &str| Err(ScrapeFailure::new(FailureReason::Redirect, why));
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location else {
        return refused("the redirect has no valid Location");
    };
    next_path(&target.host, &address.to_string(), path, location)
        .map_or_else(|| refused("redirected to another host"), Ok)
}

fn next_path(host: &str, address: &str, path: &str, location: &str) -> Option<String> {
    let base = Url::parse(&format!("http://{host}{path}")).ok()?;
    let next = base.join(location).ok()?;
    let same = matches!(next.scheme(), "http" | "https")
        && next.username().is_empty()
        && next.password().is_none()
        && [host, address].into_iter().any(|authority| is_same_host(authority, &next));
    same.then(|| next[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
}

/// Ports are not compared: an app behind a router knows its own port, not the router's.
fn is_same_host(authority: &str, url: &Url) -> bool {
    let named = Url::parse(&format!("http://{authority}/")).ok();
    let Some((named, found)) = named.as_ref().and_then(Url::host_str).zip(url.host_str()) else {
        return false;
    };
    let without_dot = |host: &str| host.strip_suffix('.').unwrap_or(host).to_owned();
    without_dot(named) == without_dot(found)
}

async fn read(
    mut response: TargetResponse,
    max_body: u64,
    reservation: &Reservation,
) -> Result<FetchedBody, ScrapeFailure> {
    let BodyDescription { format, gzip, header_problem } = describe(response.headers());
    let too_large = || {
        ScrapeFailure::new(
            FailureReason::TooLarge,
            format!("the body is larger than {max_body} bytes"),
        )
    };
    let announced = content_length(response.headers());
    if announced.is_some_and(|length| length > max_body) {
        return Err(too_large());
    }
    let bytes = |length| usize::try_from(length).unwrap_or(usize::MAX);
    let mut body = BodyBuffer::expecting(reservation, bytes(announced.unwrap_or(0)));
    // Only up to 1 MiB is allocated in advance, because the announced length may be wrong.
    body.make_room(bytes(announced.unwrap_or(0).min(1 << 20))).await;
    while let Some(chunk) = response.chunk().await {
        let chunk = chunk?;
        if body.len() as u64 + chunk.len() as u64 > max_body {
            return Err(too_large());
        }
        body.push(&chunk, bytes(announced.unwrap_or(max_body))).await;
    }
    // An HTTP/2 response may end after its head, regardless of the announced length.
    if announced.is_some_and(|length| (body.len() as u64) < length) {
        return Err(truncated());
    }
    Ok(FetchedBody {
        body,
        format,
        gzip,
        header_problem,
        whole: announced.is_some() || response.has_explicit_end(),
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// What the response head states about the body.
struct BodyDescription {
    format: Format,
    gzip: bool,
    header_problem: Option<String>,
}

/// A body with another Content-Type is parsed as text, as Prometheus does: apps serve metrics under
/// unexpected types.
fn describe(headers: &HeaderMap) -> BodyDescription {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (format, foreign) = match Format::from_content_type(content_type) {
        Ok(format) => (format, None),
        Err(foreign) => (Format::Text004, Some(foreign.to_string())),
    };
    let codings = headers.get_all(header::CONTENT_ENCODING);
    let codings = codings.filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    let codings: Vec<_> = codings
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !matches!(coding.as_str(), "" | "identity"))
        .collect();
    let gzip = matches!(codings.as_slice(), [coding] if coding == "gzip" || coding == "x-gzip");
    let unknown =
        (!gzip && !codings.is_empty()).then(|| "the Content-Encoding was not requested".to_owned());
    BodyDescription { format, gzip, header_problem: unknown.or(foreign) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_only_after_a_failed_connection() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let request = async |address: SocketAddr| match address.port() {
            1 => Err(ScrapeFailure::new(FailureReason::Connect, "refused")),
            2 => Err(ScrapeFailure::new(FailureReason::Status5xx, "500")),
            port => Ok(port),
        };
        let cases: [(&[u16], Result<u16, FailureReason>); 5] = [
            (&[3, 4], Ok(3)),
            (&[1, 1, 4], Ok(4)),
            (&[2, 3], Err(FailureReason::Status5xx)),
            (&[1, 1], Err(FailureReason::Connect)),
            (&[], Err(FailureReason::Connect)),
        ];
        for (ports, expected) in cases {
            let addresses: Vec<_> = ports.iter().map(|port| address(*port)).collect();
            let found = first_that_listens(&addresses, request).await;
            assert_eq!(found.map_err(|failure| failure.reason), expected, "{ports:?}");
        }
    }

    #[test]
    fn redirects_are_followed_only_to_the_same_instance() {
        let cases = [
            ("/metrics/", Some("/metrics/")),
            ("metrics/", Some("/a/metrics/")),
            ("?x=1", Some("/a/metrics?x=1")),
            ("../b", Some("/b")),
            ("http://app.example.com/metrics/", Some("/metrics/")),
            ("https://app.example.com/metrics/?y#f", Some("/metrics/?y")),
            ("HTTPS://APP.example.com/", Some("/")),
            ("//app.example.com/c", Some("/c")),
            ("http://10.0.0.1:61001/metrics/", Some("/metrics/")),
            ("http://10.0.0.1/metrics/", Some("/metrics/")),
            ("http://app.example.com:8443/metrics", Some("/metrics")),
            ("https://app.example.com:443/metrics", Some("/metrics")),
            ("http://APP.Example.com.:80/metrics", Some("/metrics")),
            ("http://app.example.com../metrics", None),
            ("http://app.example.com.evil.example/", None),
            ("http://evilapp.example.com/", None),
            ("http://example.com/", None),
            ("http://10.0.0.2:61001/", None),
            ("http://:8080/metrics", None),
            ("http://evil.example/metrics", None),
            ("//evil.example/metrics", None),
            ("http://user@app.example.com/", None),
            ("http://169.254.169.254/latest/meta-data", None),
            ("ftp://app.example.com/", None),
            ("file:///etc/passwd", None),
            ("http://[", None),
            ("javascript:alert(1)", None),
        ];
        for (location, expected) in cases {
            let next = next_path("app.example.com", "10.0.0.1:61001", "/a/metrics", location);
            assert_eq!(next.as_deref(), expected, "{location}");
        }
        for (host, location, expected) in [
            ("app.example.com:8080", "http://app.example.com/x", Some("/x")),
            ("app.example.com.", "http://app.example.com/x", Some("/x")),
            ("[2001:db8::1]:61001", "http://[2001:DB8:0::1]:8080/x", Some("/x")),
            ("[2001:db8::1]", "http://[2001:db8::2]/x", None),
            ("10.0.0.1:61001", "http://10.0.0.1:8080/x", Some("/x")),
        ] {
            let next = next_path(host, "10.0.0.9:61001", "/metrics", location);
            assert_eq!(next.as_deref(), expected, "{host} {location}");
        }
    }
}
