//! The addresses of the units of an app, from Tsuru's description of it.
//!
//! A missing or mistyped value affects at most one unit, which is counted.

use super::{
    AppUnits,
    hosts::{Host, INVALID_HOST},
};
use crate::{
    discovery::{
        address,
        document::Entry,
        drop_log::Dropped,
        endpoint::{DEFAULT_PROCESS_TYPE, Endpoint},
        error::SourceError,
    },
    domain::{App, TsuruApp, tsuru_ids},
    tsuru::{AppInfo, InternalAddress, Unit},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

/// Returns the units that can be scraped, under each host of the app.
pub(super) fn of_app(info: &AppInfo, bound: &TsuruApp) -> Result<AppUnits, SourceError> {
    if info.name != bound.name {
        return Err(SourceError::App("does not describe the app; is this the address of Tsuru?"));
    }
    check_has_units(info)?;
    // The platform's value is more recent than the binding's.
    let newer = |new: &String, known: &String| match new.is_empty() {
        true => known.clone(),
        false => new.clone(),
    };
    let app = TsuruApp {
        name: bound.name.clone(),
        team: newer(&info.team, &bound.team),
        pool: newer(&info.pool, &bound.pool),
        hosts: Vec::new(),
    };
    let app = app.describe().map_err(|_| SourceError::App("has a name that is none"))?;
    let mut app_units = AppUnits::default();
    let units = units(info, &Arc::new(app), &mut app_units);
    if units.is_empty() && app_units.skipped > 0 && info.error.contains(NO_PORTS) {
        return Err(SourceError::App(
            "reports that Tsuru does not know the ports of the app's units",
        ));
    }
    let mut hosts = hosts(info, &mut app_units);
    if info.error.contains(NO_HOSTS) {
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

/// Checks that the response contains all units, so that a missing unit is deleted. Go encodes an
/// empty list as `null`, which is accepted if there is no error.
fn check_has_units(info: &AppInfo) -> Result<(), SourceError> {
    if info.error.contains(NO_UNITS) || info.error.contains(NO_POOL) {
        return Err(SourceError::App("reports that Tsuru cannot list the app's units"));
    }
    if info.units.is_none() && !info.error.is_empty() {
        return Err(SourceError::App("has an error instead of the app's units"));
    }
    Ok(())
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
        let id = tsuru_ids::app(&app.name);
        let id = id.map_err(|_| SourceError::App("has a name that is none"))?;
        let route: Arc<str> = id.as_str().into();
        let entry = |unit| Entry { route: Arc::clone(&route), endpoint: Some(unit) };
        entries.extend(units.into_iter().map(entry));
    }
    Ok(entries)
}

/// The route keys of the app's routers.
fn hosts(info: &AppInfo, app_units: &mut AppUnits) -> BTreeSet<Arc<str>> {
    let addresses = info
        .routers
        .iter()
        .flat_map(|router| [&router.address].into_iter().chain(&router.addresses));
    // A router that is not ready has an empty address.
    let hosts = addresses.chain(&info.cnames).filter(|host| !host.is_empty());
    let read = |host: &String| {
        let route = route(host);
        if route.is_none() {
            app_units.describe(Dropped::new(&info.name, host, INVALID_HOST));
        }
        route
    };
    hosts.filter_map(read).collect()
}

fn route(host: &str) -> Option<Arc<str>> {
    Some(Host::parse(host)?.route())
}

/// Returns the units that can be scraped. Records those that cannot.
fn units(info: &AppInfo, app: &Arc<App>, app_units: &mut AppUnits) -> Vec<Arc<Endpoint>> {
    let mut units: Vec<Option<&Unit>> = info.units.iter().flatten().map(Option::as_ref).collect();
    units.sort_by_key(|unit| unit.map(|unit| (&unit.name, &unit.id)));
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found: Vec<Arc<Endpoint>> = Vec::with_capacity(units.len());
    for unit in units {
        let process = unit.map(process).unwrap_or(DEFAULT_PROCESS_TYPE);
        let place = places.entry(process).or_default();
        // Skipped units also count, so that the indexes of the other units stay the same.
        let index = *place;
        *place += 1;
        let Some(unit) = unit else {
            app_units.skip(Dropped::unit(&info.name, "", "the unit is not an object"));
            continue;
        };
        if !unit.is_ready() {
            continue;
        }
        let address = match address(unit, process, &info.internal_addresses) {
            Some(address) if found.iter().all(|known| known.address != address) => address,
            found => {
                let reason = drop_reason(unit, process, found);
                let name = if unit.name.is_empty() { &unit.id } else { &unit.name };
                app_units.skip(Dropped::unit(&info.name, name, reason));
                continue;
            }
        };
        found.push(Arc::new(Endpoint {
            address,
            app: Arc::clone(app),
            index: Some(index.to_string().into()),
            process_type: process.into(),
            process_instance_id: Some(unit.id.as_str()).filter(|id| !id.is_empty()).map(Arc::from),
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

fn process(unit: &Unit) -> &str {
    if unit.process.is_empty() { DEFAULT_PROCESS_TYPE } else { &unit.process }
}

/// Why a unit is skipped. `taken` is its address if another unit has the same. Otherwise it has no
/// address.
fn drop_reason(unit: &Unit, process: &str, taken: Option<SocketAddr>) -> String {
    if let Some(address) = taken {
        return format!("another unit has the address {address}");
    }
    if address::ip(&unit.internal_ip).is_some_and(|ip| !ip.is_unspecified()) {
        return format!("Tsuru names no TCP port of process {process}");
    }
    let known = [&unit.internal_ip, &unit.address, &unit.host_address];
    match known.into_iter().find(|address| !address.is_empty()) {
        Some(address) => format!("{address:?} is not an IP address with a port"),
        None => "Tsuru names no address of the unit".to_owned(),
    }
}

fn address(unit: &Unit, process: &str, ports: &[InternalAddress]) -> Option<SocketAddr> {
    let pod = || {
        let ip = address::ip(&unit.internal_ip)?;
        Some(SocketAddr::new(ip, target_port(unit, process, ports)?))
    };
    let host = || Some(SocketAddr::new(address::ip(&unit.host_address)?, unit.host_port?));
    let is_usable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
    pod().or_else(|| address::socket(&unit.address)).or_else(host).filter(is_usable)
}

/// The port of a process in its pods: from the entry for all versions, otherwise from the entry of
/// the unit's version, otherwise from any entry.
fn target_port(unit: &Unit, process: &str, ports: &[InternalAddress]) -> Option<u16> {
    let of_process = ports.iter().filter(|entry| {
        let is_tcp = entry.protocol.is_empty() || entry.protocol.eq_ignore_ascii_case("tcp");
        is_tcp && entry.process == process
    });
    let rank = |entry: &InternalAddress| match &*entry.version {
        "" => 0,
        own if own == unit.version => 1,
        _ => 2,
    };
    let known = of_process.filter_map(|entry| Some((rank(entry), entry.target_port?)));
    // The first of equal entries.
    known.min_by_key(|(rank, _)| *rank).map(|(_, port)| port)
}

#[cfg(test)]
mod tests;
