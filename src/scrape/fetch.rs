//! One instance asked for its metrics, redirects included.

use super::{
    Ask,
    budget::Share,
    buffer::Buffer,
    client::Client,
    failure::{Failure, Reason},
    request::{Answer, cut, send},
    target::{Secrets, Target},
};
use awc::http::{
    StatusCode,
    header::{self, HeaderMap},
};
use exposition::Format;
use std::sync::Arc;
use url::Url;

/// Redirects followed; more is a failed instance.
const MAX_REDIRECTS: usize = 3;

/// A body as it came over the wire.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Buffer,
    /// What the body is said to be.
    pub(super) format: Format,
    /// Compressed with gzip.
    pub(super) gzip: bool,
    /// What the head says that an exposition would not say.
    pub(super) doubt: Option<String>,
    /// The length was announced and reached; otherwise only the body's own end
    /// tells that it is whole.
    pub(super) whole: bool,
}

/// Asks `target`, following redirects that stay on it.
pub(super) async fn fetch(
    client: &Client,
    target: &Target,
    ask: &Ask,
    max_body: u64,
    share: &Share,
) -> Result<Fetched, Failure> {
    let _permit = client.permit(target.endpoint.app.id.as_str(), ask.deadline).await?;
    let mut head = share.hold();
    head.grow(target.request_bytes()).await;
    let mut path = Arc::clone(&target.path);
    // Without secrets, once a redirect has left the path that they are meant for.
    let mut without_secrets = None;
    for _ in 0..=MAX_REDIRECTS {
        let target = without_secrets.as_ref().unwrap_or(target);
        let answer = send(client, target, ask, &path).await?;
        let status = answer.status();
        if status.is_redirection() {
            path = redirected(target, &path, answer.headers())?.into();
            if let Some(other) = target.redirected_to(&path) {
                without_secrets = Some(other);
            }
            continue;
        }
        check_status(status, target.secrets)?;
        return read(answer, max_body, share).await;
    }
    Err(Failure::new(Reason::Redirect, format!("more than {MAX_REDIRECTS} redirects")))
}

fn check_status(status: StatusCode, secrets: Secrets) -> Result<(), Failure> {
    let reason = match status.as_u16() {
        200 => return Ok(()),
        400..=499 => Reason::Status4xx,
        500..=599 => Reason::Status5xx,
        _ => Reason::NotExposition,
    };
    let wants_credentials = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let hint = match wants_credentials && secrets == Secrets::Withheld {
        true => {
            "; the credentials of the binding were not sent, since they go to its own endpoint only unless the scraper shows a token of the app"
        }
        false => "",
    };
    Err(Failure::new(reason, format!("the answer was {status}{hint}")))
}

/// Path and query to ask next, if `response` redirects to the same instance:
/// by a relative reference, by the host that we named, or by its address.
fn redirected(target: &Target, path: &str, headers: &HeaderMap) -> Result<String, Failure> {
    let refused = |why: &str| Err(Failure::new(Reason::Redirect, why));
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location else {
        return refused("a redirect without a usable Location");
    };
    next_path(&target.host, &target.endpoint.address.to_string(), path, location)
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

/// An app behind a router knows its own port, not the router's.
fn is_same_host(authority: &str, url: &Url) -> bool {
    let named = Url::parse(&format!("http://{authority}/")).ok();
    let Some((named, found)) = named.as_ref().and_then(Url::host_str).zip(url.host_str()) else {
        return false;
    };
    let without_dot = |host: &str| host.strip_suffix('.').unwrap_or(host).to_owned();
    without_dot(named) == without_dot(found)
}

/// The whole body, or why there is none.
async fn read(mut answer: Answer, max_body: u64, share: &Share) -> Result<Fetched, Failure> {
    let Described { format, gzip, doubt } = described(answer.headers());
    let too_large =
        || Failure::new(Reason::TooLarge, format!("the body is larger than {max_body} bytes"));
    let announced = content_length(answer.headers());
    if announced.is_some_and(|length| length > max_body) {
        return Err(too_large());
    }
    let bytes = |length| usize::try_from(length).unwrap_or(usize::MAX);
    let mut body = Buffer::expecting(share, bytes(announced.unwrap_or(0)));
    // What a peer announces is not yet worth that much of the budget.
    body.make_room(bytes(announced.unwrap_or(0).min(1 << 20))).await;
    while let Some(chunk) = answer.chunk().await {
        let chunk = chunk?;
        if body.len() as u64 + chunk.len() as u64 > max_body {
            return Err(too_large());
        }
        body.push(&chunk, bytes(announced.unwrap_or(max_body))).await;
    }
    // In HTTP/2 an answer may end with its head, whatever length that announces.
    if announced.is_some_and(|length| (body.len() as u64) < length) {
        return Err(cut());
    }
    Ok(Fetched { body, format, gzip, doubt, whole: announced.is_some() || answer.tells_its_end() })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// What the head of an answer says of its body.
struct Described {
    format: Format,
    gzip: bool,
    doubt: Option<String>,
}

/// What no exposition claims to be is read as Prometheus reads it, as text: apps
/// serve metrics under the oddest types.
fn described(headers: &HeaderMap) -> Described {
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
    let unknown = (!gzip && !codings.is_empty())
        .then(|| "the Content-Encoding is not one that was asked for".to_owned());
    Described { format, gzip, doubt: unknown.or(foreign) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
