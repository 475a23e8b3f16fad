//! All targets that a caller asks for and may see, in order.

use super::{
    Sees,
    question::{Question, Which},
    target::AppTargets,
};
use crate::{
    broker::{BindingsInForce, InForce},
    discovery::{Endpoint, Match, Snapshot},
    domain::{App, OrganizationGuid, SpaceGuid},
    http::links::Place,
};
use std::sync::Arc;

/// The list as JSON. Apps stand in the order of their
/// names, instances in that of process type and index.
pub(super) fn list(
    table: &Snapshot,
    bound: &BindingsInForce,
    sees: &Sees,
    question: &Question,
    base: &Place,
) -> serde_json::Result<Vec<u8>> {
    let mut apps: Vec<_> = candidates(table, bound, sees, &question.which)
        .into_iter()
        .filter(|found| is_asked_for(found.app, &question.which))
        .filter_map(|found| seen(found, bound, sees))
        .collect();
    apps.sort_unstable_by(|a, b| order(a.app).cmp(&order(b.app)));
    let mut text = b"[".to_vec();
    for found in &apps {
        let bound = options_of(bound, sees, found.app);
        let first = || table.routes_of(found.app.id.as_str()).next();
        let route = found.route.or_else(first).unwrap_or_default();
        let targets = AppTargets { bound, route, question, base };
        let mut before: Option<&Endpoint> = None;
        for endpoint in endpoints(found, bound) {
            let is_same = |it: &Endpoint| {
                it.process_type == endpoint.process_type && it.index == endpoint.index
            };
            let separator: &[u8] = if text.len() == 1 { b"\n" } else { b",\n" };
            text.extend_from_slice(separator);
            serde_json::to_writer(
                &mut text,
                &targets.group(endpoint, !before.is_some_and(is_same)),
            )?;
            before = Some(endpoint);
        }
    }
    text.extend_from_slice(if text.len() == 1 { b"]\n" } else { b"\n]\n" });
    Ok(text)
}

/// Apps among which all that are wanted are.
fn candidates<'a>(
    table: &'a Snapshot,
    bound: &BindingsInForce,
    sees: &Sees,
    which: &'a Which,
) -> Vec<Match<'a>> {
    match (which, sees) {
        (Which::Key(key), _) => table.find(key),
        (_, Sees::App(app)) => table.app(app.as_str()).into_iter().collect(),
        (_, Sees::BoundTo(instance)) => {
            let prometheus = bound.prometheus(instance.as_str());
            let apps = prometheus.into_iter().flat_map(|it| it.targets.apps());
            apps.filter_map(|app| table.app(app.as_str())).collect()
        }
        (_, Sees::Everything | Sees::Space(_)) => table.apps_in_no_order().collect(),
    }
}

fn is_asked_for(app: &App, which: &Which) -> bool {
    let Which::Parts(parts) = which else { return true };
    let organization = app.organization_id.as_ref().map_or("", OrganizationGuid::as_str);
    let space = app.space_id.as_ref().map_or("", SpaceGuid::as_str);
    let levels = [
        (&*app.organization_name, organization),
        (&*app.space_name, space),
        (&*app.name, app.id.as_str()),
    ];
    parts.iter().zip(levels).all(|(part, (name, guid))| part == name || part == guid)
}

/// What of it the caller sees.
fn seen<'a>(mut found: Match<'a>, bound: &BindingsInForce, sees: &Sees) -> Option<Match<'a>> {
    let is_seen = |app: &App| match sees {
        Sees::Everything => true,
        Sees::BoundTo(_) => options_of(bound, sees, app).is_some(),
        Sees::App(guid) => app.id == *guid,
        Sees::Space(guid) => app.space_id.as_ref() == Some(guid),
    };
    found.endpoints.retain(|endpoint| is_seen(&endpoint.app));
    (!found.endpoints.is_empty()).then_some(found)
}

fn order(app: &App) -> [&str; 4] {
    [&app.organization_name, &app.space_name, &app.name, app.id.as_str()]
}

/// How it is scraped by who asks.
fn options_of<'a>(bound: &'a BindingsInForce, sees: &Sees, app: &App) -> Option<&'a InForce> {
    let options = match sees {
        Sees::BoundTo(instance) => {
            bound.prometheus(instance.as_str())?.targets.options_of(app.id.as_str())
        }
        _ => bound.options_of(app.id.as_str()),
    };
    options.map(Arc::as_ref)
}

/// Those that the binding wants scraped.
fn endpoints<'a>(found: &Match<'a>, bound: Option<&InForce>) -> Vec<&'a Endpoint> {
    let wanted = |endpoint: &&Endpoint| {
        let types = bound.map(|bound| &bound.options.process_types);
        types.is_none_or(|types| types.is_empty() || types.contains(&*endpoint.process_type))
    };
    let mut endpoints: Vec<_> = found.endpoints.iter().map(|it| &***it).filter(wanted).collect();
    // Within a process type they are in order already.
    endpoints.sort_by(|a, b| a.process_type.cmp(&b.process_type));
    endpoints
}

#[cfg(test)]
mod tests;
