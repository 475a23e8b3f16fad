//! `/v1/events` and `/events`: the last events, without any effect on scrapers.

use super::{
    EventsError, EventsState,
    annotations::{label, limit, wrong},
    caller::EventsCaller,
    parameters, time,
};
use crate::{
    domain::AppGuid,
    events::{EventState, QueueState, ScraperDelivery, Timeline, TimelineEvent, TimelineFilter},
    http::{
        accept::prefers_json,
        ui::{self, Layout, Section, Viewer, format},
    },
};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
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

/// `GET /events`: a page for people. If a parameter is wrong, it shows the form as it was filled in.
pub(super) async fn page(request: HttpRequest, state: web::Data<EventsState>) -> HttpResponse {
    let answer = async {
        let caller = state.caller(&request).await?;
        let form = EventsForm::parse(&request)?;
        let (filter, problem) = match form.filter() {
            Err(error) if !prefers_json(&request) => (EventsForm::default().filter()?, Some(error)),
            filter => (filter?, None),
        };
        let look = Look::read(&state, &caller, &filter).await?;
        let viewer = if look.is_operator { Viewer::Operator } else { Viewer::Queue };
        let layout = Layout::new(state.base_url.path(), Section::Events, viewer);
        let page = EventsPage { layout, look: &look, form: &form, problem: problem.as_ref() };
        let mut response = ui::respond(&request, &page, &look.to_json());
        if problem.is_some() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        Ok(response)
    };
    answer.await.unwrap_or_else(|error: EventsError| error.respond(&request))
}

/// The parameters of a request, as they are in the form of the page.
#[derive(Default)]
struct EventsForm {
    /// As in `type=deploy`.
    labels: Vec<String>,
    from: String,
    to: String,
    limit: String,
    queue: Option<String>,
}

/// The events that a request asks for.
struct Look {
    timeline: Timeline,
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
    form: &'a EventsForm,
    /// Why a parameter is wrong. Then the events are not filtered.
    problem: Option<&'a EventsError>,
}

impl EventsForm {
    fn parse(request: &HttpRequest) -> Result<Self, EventsError> {
        let mut form = Self::default();
        for (name, value) in parameters::pairs(request.query_string().as_bytes())? {
            match &*name {
                // The fields of the form are empty if they are not filled in.
                _ if value.is_empty() => {}
                "label" => form.labels.push(value),
                "from" => form.from = value,
                "to" => form.to = value,
                "limit" => form.limit = value,
                "queue" => form.queue = Some(value),
                _ => {}
            }
        }
        Ok(form)
    }

    fn filter(&self) -> Result<TimelineFilter, EventsError> {
        let time = |name, text: &str| match text {
            "" => Ok(None),
            text => time::parse(text).map(Some).map_err(|error| wrong(name, error.to_string())),
        };
        let labels = self.labels.iter().map(|text| label("label", text));
        Ok(TimelineFilter {
            labels: labels.collect::<Result<_, _>>()?,
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            limit: match &*self.limit {
                "" => DEFAULT_LIMIT,
                text => limit(text, MAX_LIMIT)?,
            },
        })
    }

    /// The number of events in the form.
    fn shown_limit(&self) -> String {
        if self.limit.is_empty() { DEFAULT_LIMIT.to_string() } else { self.limit.clone() }
    }
}

impl Look {
    async fn new(request: &HttpRequest, state: &EventsState) -> Result<Self, EventsError> {
        let caller = state.caller(request).await?;
        let filter = EventsForm::parse(request)?.filter()?;
        Self::read(state, &caller, &filter).await
    }

    async fn read(
        state: &EventsState,
        caller: &EventsCaller,
        filter: &TimelineFilter,
    ) -> Result<Self, EventsError> {
        let timeline = state.events.timeline(caller.queue, filter).await?;
        let timeline = timeline.ok_or(EventsError::UnknownQueue)?;
        let is_operator = caller.principal.is_some();
        let queues = if is_operator { queue_links(state) } else { Vec::new() };
        Ok(Self { timeline, is_operator, queues })
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
        let queues = self
            .queues
            .iter()
            .map(|it| json!({ "queue": it.binding, "app": it.app, "pending": it.pending }));
        json!({
            "queue": state.binding.as_ref().map(ToString::to_string),
            "last_seq": state.last_seq,
            "events": self.timeline.events.iter().map(event_json).collect::<Vec<_>>(),
            "scrapers": scrapers.collect::<Vec<_>>(),
            "queues": queues.collect::<Vec<_>>(),
        })
    }

    /// Whether events wait for the first scraper of the queue.
    fn has_no_scraper(&self) -> bool {
        self.timeline.events.iter().any(|event| event.state == EventState::NoScraper)
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
        EventState::NoScraper => "no_scraper",
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
