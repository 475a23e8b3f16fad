//! `scrapebroker event`: posts an event from a script, and optionally waits until it is delivered.
//!
//! All tries of a post have the same idempotency key. So a try whose response was lost does not
//! store the event a second time.

use super::{
    Environment, block_on,
    failure::Failure,
    log, print,
    request::{InstallationClient, RequestError, TokenFile, body_of, installation_url},
};
use crate::{
    config::LogFormat,
    domain::{EventLabelError, EventLabels, EventValue},
    net,
};
use awc::http::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderName},
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the first failed try. It doubles up to 8 s.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_DOUBLINGS: u32 = 4;
/// Pause between two requests for the state of the event.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum size of a response in bytes.
const MAX_BODY: u64 = 1 << 20;
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// The variable of a binding with its token.
const TOKEN: &str = "EVENTS_TOKEN";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(clap::Args)]
#[command(after_help = "Without --token-file, the variable EVENTS_TOKEN is the token.")]
pub(super) struct Event {
    // Not a doc comment: rustdoc requires brackets around the URL, which the help text would
    // contain.
    #[arg(
        long,
        value_name = "URL",
        env = "EVENTS_URL",
        help = "That of the installation, as in https://scrapebroker.example.com, or of /event of events.listen"
    )]
    url: String,
    #[command(flatten)]
    token: TokenFile,
    /// The value of the event
    #[arg(long, value_name = "NUMBER", default_value = "1", allow_hyphen_values = true)]
    value: EventValue,
    /// Wait until all scrapers have got the event
    #[arg(long)]
    wait: bool,
    /// How long the event is posted again after a failure, and how long --wait waits
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = timeout)]
    timeout: Duration,
    /// Idempotency key: an event that was posted with it before is not stored again [default: a
    /// new one]
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<String>,
    /// Labels, as in type=deploy app=shop
    #[arg(value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

impl Event {
    pub(super) fn run(self, environment: &Environment) -> Result<(), Failure> {
        log("warn", LogFormat::Text)?;
        let from_file = self.token.read()?;
        let from_variable = || environment.get(TOKEN).map(|token| token.trim());
        let token = from_file
            .or_else(|| from_variable().filter(|token| !token.is_empty()).map(SecretString::from));
        block_on(post(&self, token))
    }
}

#[derive(Debug, thiserror::Error)]
enum EventError {
    #[error(transparent)]
    Label(#[from] EventLabelError),
    #[error("--wait needs the URL of the main listener: /event cannot tell what was delivered")]
    WaitAtEventListener,
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the answer is not one of Scrapebroker: {0}")]
    UnknownAnswer(serde_json::Error),
    /// The response of a try may have been lost.
    #[error("no confirmation that the event is stored: {0}")]
    NotConfirmed(RequestError),
    #[error("the event is stored, but not delivered yet: {0}")]
    NotDelivered(String),
    #[error("the event has expired before all scrapers had it")]
    Expired,
}

impl From<EventError> for Failure {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Label(_) | EventError::WaitAtEventListener => Self::usage(error),
            // The server has refused the request.
            EventError::Request(error @ RequestError::Status { .. }) => Self::other(error),
            EventError::Request(error) => error.into(),
            EventError::UnknownAnswer(_) => Self::other(error),
            EventError::NotConfirmed(_) | EventError::NotDelivered(_) | EventError::Expired => {
                Self::unavailable(error)
            }
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match timeout {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        _ if timeout > MAX_TIMEOUT => Err("must be at most 24h".to_owned()),
        _ => Ok(timeout),
    }
}

fn key(text: &str) -> Result<String, &'static str> {
    let is_valid =
        (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_valid { Ok(text.to_owned()) } else { Err("must be 1 to 255 visible ASCII characters") }
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("is not a label, as in type=deploy")?;
    if name == "value" {
        return Err("use --value for the value of the event");
    }
    Ok((name.to_owned(), value.to_owned()))
}

async fn post(event: &Event, token: Option<SecretString>) -> Result<(), Failure> {
    let deadline = Instant::now() + event.timeout;
    let request = PostRequest::new(event, token)?;
    let seq = request.store(deadline).await?;
    print(&format_args!("stored as event {seq}"))?;
    if event.wait {
        let scrapers = request.delivery(seq, deadline).await?;
        let plural = if scrapers == 1 { "" } else { "s" };
        print(&format_args!("delivered to {scrapers} scraper{plural}"))?;
    }
    Ok(())
}

/// The request that stores the event. All tries are equal.
struct PostRequest {
    client: InstallationClient,
    url: Url,
    key: String,
    content_type: &'static str,
    body: String,
}

/// The response to a post.
#[derive(Deserialize)]
struct PostAnswer {
    seq: i64,
}

/// The state of an event, and what its scrapers have got.
#[derive(Deserialize)]
struct StateAnswer {
    state: String,
    scrapers: BTreeMap<String, String>,
}

impl PostRequest {
    fn new(event: &Event, token: Option<SecretString>) -> Result<Self, EventError> {
        let labels = EventLabels::new(event.labels.iter().cloned())?;
        let url = installation_url(&event.url, "/v1/events")?;
        let is_form = is_event_listener(&url);
        if is_form && event.wait {
            return Err(EventError::WaitAtEventListener);
        }
        let client = InstallationClient::new(&url, token, REQUEST_TIMEOUT)?;
        let key = event.key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let (content_type, body) = match is_form {
            true => ("application/x-www-form-urlencoded", form(&labels, event.value)),
            false => ("application/json", json_text(&labels, event.value)),
        };
        Ok(Self { client, url, key, content_type, body })
    }

    /// Stores the event. Returns its number.
    async fn store(&self, deadline: Instant) -> Result<i64, EventError> {
        let mut tries = 0;
        loop {
            let error = match before(deadline, self.try_once()).await {
                Ok(body) => return Ok(answer::<PostAnswer>(&body)?.seq),
                Err(error) => error,
            };
            let Some(pause) = pause_after(&error, tries) else { return Err(error.into()) };
            // Clients that failed at the same time try again at different times.
            let next = Instant::now() + pause.mul_f64(1.0 + fastrand::f64() / 4.0);
            if next >= deadline {
                return Err(EventError::NotConfirmed(error));
            }
            tokio::time::sleep_until(next).await;
            tries += 1;
        }
    }

    async fn try_once(&self) -> Result<Vec<u8>, RequestError> {
        let request = self
            .client
            .request(Method::POST, &self.url)
            .insert_header((CONTENT_TYPE, self.content_type))
            .insert_header((IDEMPOTENCY_KEY, self.key.as_str()));
        body_of(request.send_body(self.body.clone()), MAX_BODY).await
    }

    /// Waits until all scrapers have got the event. Returns their number.
    async fn delivery(&self, seq: i64, deadline: Instant) -> Result<usize, EventError> {
        let url = state_url(&self.url, seq);
        loop {
            let fetched = async {
                let request = self.client.request(Method::GET, &url);
                body_of(net::send(request), MAX_BODY).await
            };
            let waiting_for = match before(deadline, fetched).await {
                Ok(body) => {
                    let delivery: StateAnswer = answer(&body)?;
                    match delivery.state.as_str() {
                        "delivered" => return Ok(delivery.scrapers.len()),
                        "expired" => return Err(EventError::Expired),
                        _ => waiting_scrapers(&delivery.scrapers),
                    }
                }
                Err(error) if pause_after(&error, 0).is_none() => return Err(error.into()),
                Err(error) => error.to_string(),
            };
            let next = Instant::now() + POLL_INTERVAL;
            if next >= deadline {
                return Err(EventError::NotDelivered(waiting_for));
            }
            tokio::time::sleep_until(next).await;
        }
    }
}

/// Whether events are posted as forms, to the interface of oneShotMetricsServer.
fn is_event_listener(url: &Url) -> bool {
    url.path().trim_end_matches('/').ends_with("/event")
}

fn form(labels: &EventLabels, value: EventValue) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(labels.iter())
        .append_pair("value", &value.to_string())
        .finish()
}

fn json_text(labels: &EventLabels, value: EventValue) -> String {
    let labels: Map<String, Value> =
        labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    // JSON has no number for NaN, so the value is a text.
    json!({ "labels": labels, "value": value.to_string() }).to_string()
}

/// The URL of the state of an event. A parameter `queue` is kept.
fn state_url(url: &Url, seq: i64) -> Url {
    let mut url = url.clone();
    let path = format!("{}/{seq}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

fn answer<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, EventError> {
    serde_json::from_slice(body).map_err(EventError::UnknownAnswer)
}

fn waiting_scrapers(scrapers: &BTreeMap<String, String>) -> String {
    let waiting: Vec<_> = scrapers
        .iter()
        .filter(|(_, state)| *state != "acknowledged")
        .map(|(name, _)| name.escape_debug().to_string())
        .collect();
    match waiting.is_empty() {
        true => "no scraper has scraped this queue".to_owned(),
        false => format!("waiting for {}", waiting.join(", ")),
    }
}

/// The outcome of a request, which ends after [`REQUEST_TIMEOUT`] and at the deadline.
async fn before(
    deadline: Instant,
    request: impl Future<Output = Result<Vec<u8>, RequestError>>,
) -> Result<Vec<u8>, RequestError> {
    let end = deadline.min(Instant::now() + REQUEST_TIMEOUT);
    let in_time = tokio::time::timeout_at(end, request).await;
    in_time.unwrap_or_else(|_| Err(RequestError::Unreachable("not in time".to_owned())))
}

/// The pause before the next try. None if another try would have the same result.
fn pause_after(error: &RequestError, tries: u32) -> Option<Duration> {
    let requested = match error {
        RequestError::Unreachable(_) => None,
        RequestError::Status { status, retry_after, .. } if is_temporary(*status) => *retry_after,
        _ => return None,
    };
    Some(requested.unwrap_or(FIRST_PAUSE * 2_u32.pow(tries.min(MAX_DOUBLINGS))))
}

fn is_temporary(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        || (status.is_server_error() && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED)
}

#[cfg(test)]
mod tests;
