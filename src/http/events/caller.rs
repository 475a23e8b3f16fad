//! Which queue a request concerns.

use super::{EventsError, EventsState, parameters};
use crate::{
    broker::{ActiveBindings, EventQueue, Scope},
    domain::{AppGuid, InstanceId, QueueId},
    http::access::{Caller, Identity},
};
use actix_web::HttpRequest;

/// The parameter that selects a queue.
pub(super) const QUEUE: &str = "queue";

/// A client that may use a queue.
#[derive(Debug)]
pub(super) struct EventsCaller {
    pub(super) queue: QueueId,
    /// Whether the queue belongs to a binding.
    pub(super) is_bound: bool,
    /// The app of the binding. None for a service key.
    app: Option<AppGuid>,
    /// The authenticated user or server: its scrapers are separate from those of others. The token
    /// of a queue is none, because a rotated token would be a new scraper.
    pub(super) principal: Option<String>,
}

impl EventsState {
    /// The client of a request that posts or reads events, and its queue.
    pub(super) async fn caller(&self, request: &HttpRequest) -> Result<EventsCaller, EventsError> {
        let known = self.access.events(request, self.token_required).await?;
        self.poster(request, known)
    }

    /// The client of a scrape. A provisioned Prometheus scrapes the queues of its space.
    pub(super) async fn scraper(&self, request: &HttpRequest) -> Result<EventsCaller, EventsError> {
        match self.access.events(request, self.token_required).await? {
            Some((Caller::Token(Scope::PrometheusTargets(instance, _)), _)) => {
                self.prometheus(request, &instance)
            }
            known => self.poster(request, known),
        }
    }

    fn poster(
        &self,
        request: &HttpRequest,
        known: Option<(Caller, Identity)>,
    ) -> Result<EventsCaller, EventsError> {
        let principal = match known {
            None => None,
            Some((Caller::Operator, Identity::Operator(name))) => Some(format!("operator:{name}")),
            Some((Caller::Token(Scope::Events(queue)), _)) => {
                return Ok(EventsCaller::of(&queue, None));
            }
            Some(_) => return Err(self.access.forbidden().into()),
        };
        if principal.is_some()
            && let Some(binding) = self.requested_queue(request)?
        {
            let bound = self.bound.snapshot();
            let queue = queue_of(&bound, &binding).ok_or(EventsError::UnknownQueue)?;
            return Ok(EventsCaller::of(queue, principal));
        }
        let queue = QueueId::INSTALLATION;
        Ok(EventsCaller { queue, is_bound: false, app: None, principal })
    }

    fn prometheus(
        &self,
        request: &HttpRequest,
        instance: &InstanceId,
    ) -> Result<EventsCaller, EventsError> {
        let binding = self.requested_queue(request)?.unwrap_or_default();
        let bound = self.bound.snapshot();
        let prometheus = bound.prometheus(instance.as_str());
        match (queue_of(&bound, &binding), prometheus) {
            (Some(queue), Some(it)) if queue.is_for(&it.space_guid) => {
                Ok(EventsCaller::of(queue, Some(format!("prometheus:{instance}"))))
            }
            _ => Err(self.access.forbidden().into()),
        }
    }

    /// The labels of the app, if the queue belongs to a binding.
    pub(super) fn app_labels(&self, caller: &EventsCaller) -> Option<Vec<(String, String)>> {
        if !caller.is_bound {
            return None;
        }
        let table = self.table.snapshot();
        let id = caller.app.as_ref().map_or("", AppGuid::as_str);
        let labels = match table.app(id) {
            Some(found) => found.app.labels().to_vec(),
            // The router does not know an app that is not running.
            None => vec![("app_id", id)],
        };
        let set = labels.into_iter().filter(|(_, value)| !value.is_empty());
        Some(set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The parameter `queue`: the id of a binding.
    fn requested_queue(&self, request: &HttpRequest) -> Result<Option<String>, EventsError> {
        if !self.has_queues {
            return Ok(None);
        }
        let pairs = parameters::pairs(request.query_string().as_bytes())?;
        Ok(pairs.into_iter().find(|(name, _)| name == QUEUE).map(|(_, value)| value))
    }
}

impl EventsCaller {
    fn of(queue: &EventQueue, principal: Option<String>) -> Self {
        Self { queue: queue.queue, is_bound: true, app: queue.app_guid.clone(), principal }
    }
}

/// The queue of a binding.
fn queue_of<'a>(bound: &'a ActiveBindings, binding: &str) -> Option<&'a EventQueue> {
    bound.event_queues().iter().find(|it| it.binding_id.as_str() == binding)
}
