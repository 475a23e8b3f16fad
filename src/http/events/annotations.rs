//! `/v1/events/annotations`: events as annotations of Grafana's JSON data sources.

use super::{EventsError, EventsState, parameters, time};
use crate::{
    events::{TimelineEvent, TimelineFilter},
    http::body,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time range of a request that names none.
const DEFAULT_RANGE: Duration = Duration::from_hours(1);

const MAX_ANNOTATIONS: usize = 1_000;

/// Maximum size of the body of a search, in bytes.
const MAX_SEARCH: usize = 64 << 10;

/// An annotation, in the format of the data source plugins "JSON" and "SimpleJSON".
#[derive(Debug, Serialize)]
struct Annotation {
    /// Milliseconds since 1970.
    time: i64,
    title: String,
    text: String,
    tags: Vec<String>,
    value: String,
}

/// The body of a search of SimpleJSON.
#[derive(Deserialize)]
struct Search {
    range: Option<SearchRange>,
    annotation: Option<SearchedAnnotation>,
}

#[derive(Deserialize)]
struct SearchRange {
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct SearchedAnnotation {
    #[serde(default)]
    query: String,
}

/// `GET`: the range and the tags are parameters.
pub(super) async fn list(request: HttpRequest, state: web::Data<EventsState>) -> HttpResponse {
    let answer = async {
        let filter = filter(&parameters::pairs(request.query_string().as_bytes())?)?;
        respond(&request, &state, filter).await
    };
    answer.await.unwrap_or_else(|error: EventsError| error.respond(&request))
}

/// `POST`: the range and the query are in a JSON body.
pub(super) async fn search(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<EventsState>,
) -> HttpResponse {
    let answer = async {
        // Before the body is read, so that only known clients occupy memory.
        state.caller(&request).await?;
        let _memory = state.memory.reserve(MAX_SEARCH)?;
        let body = body::read_at_most(payload.into_inner(), MAX_SEARCH).await?;
        let search: Search =
            serde_json::from_slice(&body).map_err(|error| wrong("body", error.to_string()))?;
        let mut pairs = Vec::new();
        if let Some(SearchRange { from, to }) = search.range {
            pairs.extend([("from".to_owned(), from), ("to".to_owned(), to)]);
        }
        let query = search.annotation.map(|it| it.query).unwrap_or_default();
        pairs.push(("tags".to_owned(), query));
        respond(&request, &state, filter(&pairs)?).await
    };
    answer.await.unwrap_or_else(|error: EventsError| error.respond(&request))
}

async fn respond(
    request: &HttpRequest,
    state: &EventsState,
    filter: TimelineFilter,
) -> Result<HttpResponse, EventsError> {
    let caller = state.caller(request).await?;
    let timeline = state.events.timeline(caller.queue, &filter).await?;
    let timeline = timeline.ok_or(EventsError::UnknownQueue)?;
    let metric = &state.events.settings(caller.queue).metric;
    let annotations = timeline.events.iter().map(|event| Annotation::new(event, metric));
    state.json(&annotations.collect::<Vec<_>>())
}

impl Annotation {
    fn new(event: &TimelineEvent, metric: &str) -> Self {
        let labels = &event.labels;
        let title_label = ["title", "type"].into_iter().find(|name| labels.get(name).is_some());
        let title = title_label.and_then(|name| labels.get(name)).unwrap_or(metric);
        let others = labels.iter().filter(|(name, _)| Some(*name) != title_label);
        let text: Vec<_> = others.map(|(name, value)| format!("{name}={value}")).collect();
        Self {
            time: event.time,
            title: title.to_owned(),
            text: text.join(" "),
            tags: labels.iter().map(|(name, value)| format!("{name}:{value}")).collect(),
            value: event.value.clone(),
        }
    }
}

/// Reads `from`, `to`, `tags` (as in `type:deploy,app:shop`, also with `=`), `label` and `limit`.
fn filter(pairs: &[(String, String)]) -> Result<TimelineFilter, EventsError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut filter = TimelineFilter {
        from: milliseconds(now.saturating_sub(DEFAULT_RANGE)),
        to: milliseconds(now),
        labels: Vec::new(),
        limit: MAX_ANNOTATIONS,
    };
    let parse = |name, text: &str| {
        time::parse(text).map(Some).map_err(|error| wrong(name, error.to_string()))
    };
    for (name, value) in pairs {
        match &**name {
            "from" => filter.from = parse("from", value)?,
            "to" => filter.to = parse("to", value)?,
            "tags" => {
                let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                for tag in tags {
                    filter.labels.push(label("tags", tag)?);
                }
            }
            "label" => filter.labels.push(label("label", value)?),
            "limit" => filter.limit = limit(value, MAX_ANNOTATIONS)?,
            _ => {}
        }
    }
    Ok(filter)
}

fn milliseconds(since: Duration) -> Option<i64> {
    i64::try_from(since.as_millis()).ok()
}

/// Reads `name=value` or `name:value`.
pub(super) fn label(parameter: &'static str, text: &str) -> Result<(String, String), EventsError> {
    let (name, value) = text
        .split_once(['=', ':'])
        .ok_or_else(|| wrong(parameter, "is not a label, as in type=deploy".to_owned()))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Reads a number from 1 to `max`.
pub(super) fn limit(text: &str, max: usize) -> Result<usize, EventsError> {
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| wrong("limit", format!("is not a number from 1 to {max}")))
}

pub(super) fn wrong(name: &'static str, problem: String) -> EventsError {
    EventsError::Query { name, problem }
}
