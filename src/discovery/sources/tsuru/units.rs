//! Parses Tsuru's description of an app into the addresses of its units.
//!
//! The keys of a unit are those of a Go struct without JSON names. On Kubernetes, `IP` is the
//! node's address and must not be used, and a unit does not contain its port. Other provisioners
//! report a complete address.
//!
//! A missing or mistyped value affects at most one unit, which is counted.

use super::{
    AppUnits, WEB,
    hosts::{Host, INVALID_HOST},
};
use crate::{
    discovery::{
        address, document::Entry, drop_log::Dropped, endpoint::Endpoint, error::SourceError,
    },
    domain::{App, TsuruApp},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

/// Returns the units that can be scraped, under each host of the app.
pub(super) fn read(body: &[u8], bound: &TsuruApp) -> Result<AppUnits, SourceError> {
    let json: Value =
        serde_json::from_slice(body).map_err(|_| SourceError::App("is not valid JSON"))?;
    if text(&json, "name") != Some(&bound.name) {
        return Err(SourceError::App("does not describe the app; is this the address of Tsuru?"));
    }
    check_has_units(&json)?;
    // The platform's value is more recent than the binding's.
    let newer = |key, known: &String| text(&json, key).map_or_else(|| known.clone(), str::to_owned);
    let app = TsuruApp {
        name: bound.name.clone(),
        team: newer("teamowner", &bound.team),
        pool: newer("pool", &bound.pool),
        hosts: Vec::new(),
    };
    let app = app.describe().map_err(|_| SourceError::App("has a name that is none"))?;
    let mut app_units = AppUnits::default();
    let units = units(&json, &Arc::new(app), &mut app_units);
    if units.is_empty() && app_units.skipped > 0 && has_error(&json, NO_PORTS) {
        return Err(SourceError::App(
            "reports that Tsuru does not know the ports of the app's units",
        ));
    }
    let mut hosts = hosts(&json, &mut app_units);
    if has_error(&json, NO_HOSTS) {
        hosts.extend(bound.hosts.iter().filter_map(|host| route(host)));
    }
    app_units.entries = under(hosts, units, bound)?;
    Ok(app_units)
}

// Texts in the field `error` of a response with status 200 that lacks a part (tsuru/tsuru,
// `app/app.go`, `AppInfo`). Errors of other parts do not matter here.
const NO_POOL: &str = "unable to get provisioner name";
const NO_UNITS: &str = "unable to list app units";
const NO_PORTS: &str = "unable to get app cluster internal addresses";
const NO_HOSTS: &str = "unable to get app addresses";

fn has_error(json: &Value, part: &str) -> bool {
    text(json, "error").is_some_and(|error| error.contains(part))
}

/// Checks that the response contains all units, so that a missing unit is deleted. Go encodes an
/// empty list as `null`, which is accepted if there is no error.
fn check_has_units(json: &Value) -> Result<(), SourceError> {
    if has_error(json, NO_UNITS) || has_error(json, NO_POOL) {
        return Err(SourceError::App("reports that Tsuru cannot list the app's units"));
    }
    let has_error = match json.get("error") {
        None | Some(Value::Null) => false,
        Some(Value::String(error)) => !error.is_empty(),
        Some(_) => true,
    };
    match json.get("units") {
        Some(Value::Array(_)) => Ok(()),
        _ if has_error => Err(SourceError::App("has an error instead of the app's units")),
        _ => Ok(()),
    }
}

/// Returns the units under each host, or only the hosts. An app without a router is listed under
/// its id.
fn under(
    hosts: BTreeSet<Arc<str>>,
    units: Vec<Arc<Endpoint>>,
    app: &TsuruApp,
) -> Result<Vec<Entry>, SourceError> {
    let mut entries = Vec::with_capacity(hosts.len().max(1) * units.len().max(1));
    for route in &hosts {
        let endpoints = units.iter().cloned().map(Some);
        let none = units.is_empty().then_some(None);
        let entry = |endpoint| Entry { route: Arc::clone(route), endpoint };
        entries.extend(endpoints.chain(none).map(entry));
    }
    if hosts.is_empty() {
        let id = TsuruApp::guid(&app.name);
        let id = id.map_err(|_| SourceError::App("has a name that is none"))?;
        let route: Arc<str> = id.as_str().into();
        let entry = |unit| Entry { route: Arc::clone(&route), endpoint: Some(unit) };
        entries.extend(units.into_iter().map(entry));
    }
    Ok(entries)
}

/// The route keys of the app's routers.
fn hosts(json: &Value, app_units: &mut AppUnits) -> BTreeSet<Arc<str>> {
    let routers = list(json, "routers");
    let addresses = routers.iter().flat_map(|router| {
        let address = router.get("address").into_iter();
        address.chain(list(router, "addresses"))
    });
    let hosts = addresses.chain(list(json, "cname")).filter_map(Value::as_str);
    // A router that is not ready has an empty address.
    let hosts = hosts.filter(|host| !host.is_empty());
    let read = |host| {
        let route = route(host);
        if route.is_none() {
            let app = text(json, "name").unwrap_or_default();
            app_units.describe(Dropped::new(app, host, INVALID_HOST));
        }
        route
    };
    hosts.filter_map(read).collect()
}

fn route(host: &str) -> Option<Arc<str>> {
    Some(Host::parse(host)?.route())
}

/// Returns the units that can be scraped. Records those that cannot.
fn units(json: &Value, app: &Arc<App>, app_units: &mut AppUnits) -> Vec<Arc<Endpoint>> {
    let ports = list(json, "internalAddresses");
    let mut units: Vec<&Value> = list(json, "units").iter().collect();
    units.sort_by_key(|unit| (text(unit, "Name"), text(unit, "ID")));
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found: Vec<Arc<Endpoint>> = Vec::with_capacity(units.len());
    let name_of_app = text(json, "name").unwrap_or_default();
    for unit in units {
        let process = text(unit, "ProcessName").unwrap_or(WEB);
        let place = places.entry(process).or_default();
        // Skipped units also count, so that the indexes of the other units stay the same.
        let index = *place;
        *place += 1;
        let is_ready = unit.get("Ready").and_then(Value::as_bool).unwrap_or(true);
        if unit.is_object() && (text(unit, "Status") != Some("started") || !is_ready) {
            continue;
        }
        let address = match address(unit, process, ports) {
            Some(address) if found.iter().all(|known| known.address != address) => address,
            found => {
                let reason = drop_reason(unit, process, found);
                let name = text(unit, "Name").or_else(|| text(unit, "ID")).unwrap_or_default();
                app_units.skip(Dropped::unit(name_of_app, name, reason));
                continue;
            }
        };
        found.push(Arc::new(Endpoint {
            address,
            app: Arc::clone(app),
            index: Some(index.to_string().into()),
            process_type: process.into(),
            process_instance_id: text(unit, "ID").map(Arc::from),
            availability_zone: None,
            tls: false,
            http2: false,
            server_cert_domain_san: None,
            isolation_segment: None,
            route_service_url: None,
            behind_host: None,
        }));
    }
    found
}

/// Why a unit is skipped. `taken` is its address if another unit has the same. Otherwise it has no
/// address.
fn drop_reason(unit: &Value, process: &str, taken: Option<SocketAddr>) -> String {
    if let Some(address) = taken {
        return format!("another unit has the address {address}");
    }
    if !unit.is_object() {
        return "the unit is not an object".to_owned();
    }
    let pod = text(unit, "InternalIP");
    if pod.and_then(address::ip).is_some_and(|ip| !ip.is_unspecified()) {
        return format!("Tsuru names no TCP port of process {process}");
    }
    let address = unit.get("Address").and_then(|address| text(address, "Host"));
    match pod.or(address).or_else(|| text(unit, "HostAddr")) {
        Some(address) => format!("{address:?} is not an IP address with a port"),
        None => "Tsuru names no address of the unit".to_owned(),
    }
}

fn address(unit: &Value, process: &str, ports: &[Value]) -> Option<SocketAddr> {
    let pod = || {
        let ip = address::ip(text(unit, "InternalIP")?)?;
        Some(SocketAddr::new(ip, target_port(unit, process, ports)?))
    };
    let app_units = || address::socket(text(unit.get("Address")?, "Host")?);
    let host = || {
        let ip = address::ip(text(unit, "HostAddr")?)?;
        Some(SocketAddr::new(ip, port(unit.get("HostPort")?)?))
    };
    let is_usable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
    pod().or_else(app_units).or_else(host).filter(is_usable)
}

/// The port of a process in its pods: from the entry for all versions, otherwise from the entry of
/// the unit's version, otherwise from any entry.
fn target_port(unit: &Value, process: &str, ports: &[Value]) -> Option<u16> {
    let version = unit.get("Version").map(Value::to_string).unwrap_or_default();
    let of_process = ports.iter().filter(|entry| {
        let is_tcp = text(entry, "Protocol").is_none_or(|it| it.eq_ignore_ascii_case("tcp"));
        is_tcp && text(entry, "Process") == Some(process)
    });
    let rank = |entry: &Value| match text(entry, "Version") {
        None => 0,
        Some(own) if own == version => 1,
        Some(_) => 2,
    };
    let known = of_process.filter_map(|entry| Some((rank(entry), port(entry.get("TargetPort")?)?)));
    // The first of equal entries.
    known.min_by_key(|(rank, _)| *rank).map(|(_, port)| port)
}

/// Accepts a number or a numeric text.
fn port(value: &Value) -> Option<u16> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    number.filter(|port| *port != 0)
}

/// Returns a text if it is not empty.
fn text<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
