//! One instance asked for its metrics, redirects included.

use super::{
    Ask,
    budget::Share,
    buffer::Buffer,
    client::Client,
    failure::{Failure, Reason},
    request::{Answer, cut, send},
    target::Target,
};
use crate::exposition::Format;
use awc::http::{
    StatusCode,
    header::{self, HeaderMap},
};
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
    let mut path = target.path.clone();
    for _ in 0..=MAX_REDIRECTS {
        let answer = send(client, target, ask, &path).await?;
        let status = answer.status();
        if status.is_redirection() {
            path = redirected(target, &path, answer.headers())?;
            continue;
        }
        check_status(status)?;
        return read(answer, max_body, share).await;
    }
    Err(Failure::new(Reason::Redirect, format!("more than {MAX_REDIRECTS} redirects")))
}

fn check_status(status: StatusCode) -> Result<(), Failure> {
    let reason = match status.as_u16() {
        200 => return Ok(()),
        400..=499 => Reason::Status4xx,
        500..=599 => Reason::Status5xx,
        _ => Reason::NotExposition,
    };
    Err(Failure::new(reason, format!("the answer was {status}")))
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
    let with = |authority: &str| {
        let named = Url::parse(&format!("{}://{authority}/", next.scheme())).ok();
        named.is_some_and(|named| {
            (named.host(), named.port_or_known_default())
                == (next.host(), next.port_or_known_default())
        })
    };
    let same = matches!(next.scheme(), "http" | "https")
        && next.username().is_empty()
        && next.password().is_none()
        && (with(host) || with(address));
    same.then(|| next[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
}

/// The whole body, or why there is none.
async fn read(mut answer: Answer, max_body: u64, share: &Share) -> Result<Fetched, Failure> {
    let (format, gzip) = check_headers(answer.headers())?;
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
    let received = body.len() as u64;
    match announced {
        Some(length) if received < length => Err(cut()),
        None if answer.is_cut() => Err(cut()),
        _ => {
            Ok(Fetched { body, format, gzip, whole: announced.is_some() || answer.tells_its_end() })
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Refuses what cannot be an exposition before a byte of it is read. Returns the
/// format, and whether the body is compressed.
fn check_headers(headers: &HeaderMap) -> Result<(Format, bool), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |why: String| Failure::new(Reason::NotExposition, why);
    let format = Format::of_content_type(text(header::CONTENT_TYPE))
        .map_err(|foreign| refused(foreign.to_string()))?;
    let gzip = match text(header::CONTENT_ENCODING).trim().to_ascii_lowercase().as_str() {
        "" | "identity" => false,
        "gzip" | "x-gzip" => true,
        _ => {
            return Err(refused(
                "the answer is compressed in a way that was not asked for".to_owned(),
            ));
        }
    };
    Ok((format, gzip))
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
            ("http://10.0.0.1/metrics/", None),
            ("http://app.example.com:8443/metrics", None),
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
    }
}
