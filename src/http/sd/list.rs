//! Rendering of the requested targets that are visible to the caller.

use super::{
    Visibility,
    query::{SdQuery, Selector},
    target::{AppTargets, event_queue},
};
use crate::{
    broker::{ActiveBinding, ActiveBindings, EventQueue, Scope},
    discovery::{Endpoint, Match, Snapshot},
    domain::{App, BaseUrl, OrganizationGuid, SpaceGuid},
    http::access::visible,
};
use std::sync::Arc;

/// Renders the list as JSON. Apps are sorted by name, instances by process type and index.
pub(super) fn list(
    table: &Snapshot,
    bound: &ActiveBindings,
    visibility: &Visibility,
    query: &SdQuery,
    base: &BaseUrl,
) -> serde_json::Result<Vec<u8>> {
    let scope = visibility.scope(bound);
    // The same check as for a scrape.
    let covers = |app: &App| scope.as_ref().is_none_or(|scope| scope.covers(app));
    let mut apps: Vec<_> = candidates(table, scope.as_ref(), &query.selector)
        .into_iter()
        .filter_map(|found| visible(found, covers))
        .filter(|found| is_requested(found.app, &query.selector))
        .collect();
    apps.sort_unstable_by(|a, b| order(a.app).cmp(&order(b.app)));
    let mut text = b"[".to_vec();
    for found in &apps {
        let bound = binding_of(bound, scope.as_ref(), found.app);
        let first = || table.routes_of(found.app.id.as_str()).next();
        let route = found.route.or_else(first).unwrap_or_default();
        let targets = AppTargets { bound, route, query, base };
        let mut previous: Option<&Endpoint> = None;
        for endpoint in endpoints(found, bound) {
            let is_same = |it: &Endpoint| {
                it.process_type == endpoint.process_type && it.index == endpoint.index
            };
            let separator: &[u8] = if text.len() == 1 { b"\n" } else { b",\n" };
            text.extend_from_slice(separator);
            serde_json::to_writer(
                &mut text,
                &targets.group(endpoint, !previous.is_some_and(is_same)),
            )?;
            previous = Some(endpoint);
        }
    }
    for queue in queues(bound, scope.as_ref(), &query.selector) {
        let separator: &[u8] = if text.len() == 1 { b"\n" } else { b",\n" };
        text.extend_from_slice(separator);
        let app = queue.app_guid.as_ref().and_then(|app| table.app(app.as_str()));
        let app = app.map(|found| &**found.app);
        serde_json::to_writer(&mut text, &event_queue(queue, app, query, base))?;
    }
    text.extend_from_slice(if text.len() == 1 { b"]\n" } else { b"\n]\n" });
    Ok(text)
}

/// A superset of the requested apps.
fn candidates<'a>(
    table: &'a Snapshot,
    scope: Option<&Scope>,
    selector: &'a Selector,
) -> Vec<Match<'a>> {
    match (selector, scope) {
        (Selector::Key(key), _) => table.find(key),
        (_, Some(Scope::App(app))) => table.app(app.as_str()).into_iter().collect(),
        (_, Some(Scope::PrometheusTargets(_, targets))) => {
            targets.apps().filter_map(|app| table.app(app.as_str())).collect()
        }
        (_, None | Some(Scope::Space(_))) => table.unordered_apps().collect(),
        (_, Some(Scope::Query(_) | Scope::Events(_))) => Vec::new(),
    }
}

/// The queues of events that the caller's Prometheus scrapes: those of its space.
fn queues<'a>(
    bound: &'a ActiveBindings,
    scope: Option<&Scope>,
    selector: &Selector,
) -> impl Iterator<Item = &'a EventQueue> {
    let space = match (scope, selector) {
        (Some(Scope::PrometheusTargets(instance, _)), Selector::All) => {
            bound.prometheus(instance.as_str()).map(|it| &it.space_guid)
        }
        _ => None,
    };
    let queues = bound.event_queues().iter();
    queues.filter(move |queue| space.is_some_and(|space| queue.is_for(space)))
}

fn is_requested(app: &App, selector: &Selector) -> bool {
    let Selector::Parts(parts) = selector else { return true };
    let organization = app.organization_id.as_ref().map_or("", OrganizationGuid::as_str);
    let space = app.space_id.as_ref().map_or("", SpaceGuid::as_str);
    let levels = [
        (&*app.organization_name, organization),
        (&*app.space_name, space),
        (&*app.name, app.id.as_str()),
    ];
    parts.iter().zip(levels).all(|(part, (name, guid))| part == name || part == guid)
}

fn order(app: &App) -> [&str; 4] {
    [&app.organization_name, &app.space_name, &app.name, app.id.as_str()]
}

/// The scrape settings of an app for the caller's Prometheus.
fn binding_of<'a>(
    bound: &'a ActiveBindings,
    scope: Option<&'a Scope>,
    app: &App,
) -> Option<&'a ActiveBinding> {
    let options = match scope {
        Some(Scope::PrometheusTargets(_, targets)) => targets.binding_for(app.id.as_str()),
        _ => bound.binding_for(app.id.as_str()),
    };
    options.map(Arc::as_ref)
}

/// The endpoints of the process types that the binding selects.
fn endpoints<'a>(found: &Match<'a>, bound: Option<&ActiveBinding>) -> Vec<&'a Endpoint> {
    let is_selected = |endpoint: &&Endpoint| {
        let types = bound.map(|bound| &bound.options.process_types);
        types.is_none_or(|types| types.is_empty() || types.contains(&*endpoint.process_type))
    };
    let mut endpoints: Vec<_> =
        found.endpoints.iter().map(|it| &***it).filter(is_selected).collect();
    // Endpoints of the same process type are already sorted.
    endpoints.sort_by(|a, b| a.process_type.cmp(&b.process_type));
    endpoints
}

#[cfg(test)]
mod tests;
