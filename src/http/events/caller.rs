//! Which queue a request concerns.

use super::{EventsError, EventsState, parameters};
use crate::{
    broker::Scope,
    domain::{AppGuid, QueueId},
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
        let installation = |principal| EventsCaller {
            queue: QueueId::INSTALLATION,
            is_bound: false,
            app: None,
            principal,
        };
        match self.access.events(request, self.token_required).await? {
            None => Ok(installation(None)),
            Some((Caller::Operator, Identity::Operator(name))) => {
                let principal = Some(format!("operator:{name}"));
                match self.requested_queue(request)? {
                    Some(binding) => self.queue_of(&binding, principal),
                    None => Ok(installation(principal)),
                }
            }
            Some((Caller::Token(Scope::Events(queue)), _)) => Ok(EventsCaller {
                queue: queue.queue,
                is_bound: true,
                app: queue.app_guid,
                principal: None,
            }),
            Some(_) => Err(self.access.forbidden().into()),
        }
    }

    /// The client of a scrape. A provisioned Prometheus scrapes the queues of its space.
    pub(super) async fn scraper(&self, request: &HttpRequest) -> Result<EventsCaller, EventsError> {
        let known = self.access.events(request, self.token_required).await?;
        let Some((Caller::Token(Scope::PrometheusTargets(instance, _)), _)) = known else {
            return self.caller(request).await;
        };
        let binding = self.requested_queue(request)?.unwrap_or_default();
        let bound = self.bound.snapshot();
        let space = bound.prometheus(instance.as_str()).map(|it| &it.space_guid);
        let queue = bound.event_queues().iter().find(|it| it.binding_id.as_str() == binding);
        match (queue, space) {
            (Some(queue), Some(space)) if queue.is_for(space) => {
                self.queue_of(&binding, Some(format!("prometheus:{instance}")))
            }
            _ => Err(self.access.forbidden().into()),
        }
    }

    fn queue_of(
        &self,
        binding: &str,
        principal: Option<String>,
    ) -> Result<EventsCaller, EventsError> {
        let bound = self.bound.snapshot();
        let queue = bound.event_queues().iter().find(|it| it.binding_id.as_str() == binding);
        let queue = queue.ok_or(EventsError::UnknownQueue)?;
        let (app, queue) = (queue.app_guid.clone(), queue.queue);
        Ok(EventsCaller { queue, is_bound: true, app, principal })
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
