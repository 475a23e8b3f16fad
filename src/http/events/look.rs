//! `/v1/events` and `/events`: the last events, without any effect on scrapers.

use super::{
    EventsError, EventsState,
    annotations::{label, limit},
    parameters, time,
};
use crate::{
    domain::AppGuid,
    events::{EventState, QueueState, ScraperDelivery, Timeline, TimelineEvent, TimelineFilter},
    http::ui::{self, Layout, Section, Viewer, format},
};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// `GET /v1/events`.
pub(super) async fn events(request: HttpRequest, state: web::Data<EventsState>) -> HttpResponse {
    let answer = async {
        let look = Look::new(&request, &state).await?;
        state.json(&look.to_json())
    };
    answer.await.unwrap_or_else(|error: EventsError| error.respond(&request))
}

/// `GET /v1/events/{seq}`: what each scraper has got of an event.
pub(super) async fn event(
    request: HttpRequest,
    seq: web::Path<i64>,
    state: web::Data<EventsState>,
) -> HttpResponse {
    let answer = async {
        let caller = state.caller(&request).await?;
        let found = state.events.delivery_of(caller.queue, *seq).await?;
        let found = found.ok_or(EventsError::UnknownEvent(*seq))?;
        let scrapers = found.scrapers.into_iter();
        let scrapers: Map<_, _> =
            scrapers.map(|(name, it)| (name, scraper_text(it).into())).collect();
        let mut answer = event_json(&found.event);
        answer["scrapers"] = scrapers.into();
        state.json(&answer)
    };
    answer.await.unwrap_or_else(|error: EventsError| error.respond(&request))
}

/// `GET /events`: a page for people.
pub(super) async fn page(request: HttpRequest, state: web::Data<EventsState>) -> HttpResponse {
    let answer = async {
        let look = Look::new(&request, &state).await?;
        let viewer = if look.is_operator { Viewer::Operator } else { Viewer::Queue };
        let layout = Layout::new(state.base_url.path(), Section::Events, viewer);
        Ok(ui::respond(&request, &EventsPage { layout, look: &look }, &look.to_json()))
    };
    answer.await.unwrap_or_else(|error: EventsError| error.respond(&request))
}

/// The events that a request asks for.
struct Look {
    timeline: Timeline,
    /// As they were requested: `type=deploy`.
    labels: Vec<String>,
    limit: usize,
    /// The parameter `queue`, if the request has it.
    queue: Option<String>,
    is_operator: bool,
    /// The queues of bindings, for operators.
    queues: Vec<QueueLink>,
}

struct QueueLink {
    binding: String,
    /// The binding in a query.
    encoded: String,
    /// The app of the binding. None for a service key.
    app: Option<String>,
    pending: i64,
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage<'a> {
    layout: Layout<'a>,
    look: &'a Look,
}

impl Look {
    async fn new(request: &HttpRequest, state: &EventsState) -> Result<Self, EventsError> {
        let caller = state.caller(request).await?;
        let mut filter =
            TimelineFilter { labels: Vec::new(), from: None, to: None, limit: DEFAULT_LIMIT };
        let (mut labels, mut queue) = (Vec::new(), None);
        for (name, value) in parameters::pairs(request.query_string().as_bytes())? {
            let parse = |name| {
                let time = time::parse(&value).map(Some);
                time.map_err(|error| super::annotations::wrong(name, error.to_string()))
            };
            match &*name {
                // The fields of the form are empty if they are not filled in.
                _ if value.is_empty() => {}
                "label" => {
                    filter.labels.push(label("label", &value)?);
                    labels.push(value);
                }
                "from" => filter.from = parse("from")?,
                "to" => filter.to = parse("to")?,
                "limit" => filter.limit = limit(&value, MAX_LIMIT)?,
                "queue" => queue = Some(value),
                _ => {}
            }
        }
        let timeline = state.events.timeline(caller.queue, &filter).await?;
        let timeline = timeline.ok_or(EventsError::UnknownQueue)?;
        let is_operator = caller.principal.is_some();
        let queues = if is_operator { queue_links(state) } else { Vec::new() };
        Ok(Self { timeline, labels, limit: filter.limit, queue, is_operator, queues })
    }

    fn to_json(&self) -> Value {
        let state = &self.timeline.queue;
        let scrapers = state.scrapers.iter().map(|scraper| {
            json!({
                "name": scraper.name,
                "pending": scraper.pending,
                "oldest": scraper.oldest_at.map(rfc3339),
                "last_seen": rfc3339(scraper.last_seen),
                "in_flight": scraper.is_in_flight,
            })
        });
        json!({
            "queue": state.binding.as_ref().map(ToString::to_string),
            "last_seq": state.last_seq,
            "events": self.timeline.events.iter().map(event_json).collect::<Vec<_>>(),
            "scrapers": scrapers.collect::<Vec<_>>(),
        })
    }

    fn state(&self) -> &QueueState {
        &self.timeline.queue
    }
}

fn queue_links(state: &EventsState) -> Vec<QueueLink> {
    let (states, bound, table) =
        (state.events.states(), state.bound.snapshot(), state.table.snapshot());
    let apps: HashMap<_, _> = bound
        .event_queues()
        .iter()
        .filter_map(|queue| Some((queue.binding_id.as_str(), queue.app_guid.as_ref()?)))
        .collect();
    // The router does not know an app that is not running.
    let name = |app: &&AppGuid| match table.app(app.as_str()) {
        Some(found) => {
            let app = found.app;
            format!("{} / {} / {}", app.organization_name, app.space_name, app.name)
        }
        None => app.to_string(),
    };
    let link = |it: &QueueState| {
        let binding = it.binding.as_ref()?.to_string();
        let encoded = utf8_percent_encode(&binding, NON_ALPHANUMERIC).to_string();
        let app = apps.get(binding.as_str()).map(name);
        Some(QueueLink { binding, encoded, app, pending: it.pending })
    };
    states.queues.iter().filter_map(link).collect()
}

/// Milliseconds since 1970 as a time.
fn moment(milliseconds: &i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(*milliseconds).unwrap_or(0))
}

fn event_json(event: &TimelineEvent) -> Value {
    let labels = event.labels.iter().map(|(name, value)| (name.to_owned(), value.into()));
    json!({
        "seq": event.seq,
        "labels": labels.collect::<Map<_, _>>(),
        "value": event.value,
        "time": rfc3339(event.time),
        "received": rfc3339(event.received_at),
        "state": state_text(event.state),
    })
}

fn state_text(state: EventState) -> &'static str {
    match state {
        EventState::Pending => "pending",
        EventState::Delivered => "delivered",
        EventState::Expired => "expired",
    }
}

fn scraper_text(delivery: ScraperDelivery) -> &'static str {
    match delivery {
        ScraperDelivery::Pending => "pending",
        ScraperDelivery::InFlight => "in_flight",
        ScraperDelivery::Acknowledged => "acknowledged",
    }
}

/// Milliseconds since 1970 as a time of RFC 3339.
fn rfc3339(milliseconds: i64) -> String {
    humantime::format_rfc3339_millis(moment(&milliseconds)).to_string()
}
