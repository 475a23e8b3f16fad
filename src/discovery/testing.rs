//! Checks for fuzz targets, and helpers of tests.

#[cfg(test)]
use super::RouteTable;
use super::{Snapshot, parse, parse_message};
use crate::domain::{AppKey, Prefer};
use std::collections::HashSet;

/// A NATS message is rejected or contains an address and routes.
pub fn check_registration(payload: &[u8]) {
    let Ok(message) = parse_message(payload) else { return };
    assert_ne!(message.address().port(), 0);
    let routes: Vec<_> = message.routes().collect();
    assert!(!routes.is_empty());
    assert!(routes.iter().all(|route| !route.is_empty()));
    assert_eq!(routes.iter().collect::<HashSet<_>>().len(), routes.len());
}

/// A route table is rejected, or each of its apps is found by GUID.
pub fn check_document(body: &[u8]) {
    let Ok(document) = parse(body) else { return };
    let table = Snapshot::from(&document);
    for found in table.apps() {
        let Ok(key) = AppKey::parse(found.app.id.as_str(), Prefer::Name) else { continue };
        assert!(!table.find(&key).is_empty());
    }
    for (route, _) in table.routes() {
        if let Ok(key) = AppKey::parse(route, Prefer::Route) {
            let _ = table.find(&key);
        }
    }
}

/// A route table with one endpoint per app. Names of apps are single letters.
#[cfg(test)]
pub(super) fn document(apps: &[&str]) -> String {
    let endpoint = |app: &&str| {
        let address = format!("10.0.0.{}:1", app.as_bytes()[0]);
        let tags = serde_json::json!({"app_id": app, "app_name": app});
        (format!("{app}.test"), serde_json::json!([{"address": address, "tags": tags}]))
    };
    serde_json::Value::Object(apps.iter().map(endpoint).collect()).to_string()
}

#[cfg(test)]
pub(super) fn apps(table: &RouteTable) -> Vec<String> {
    table.snapshot().apps().map(|found| found.app.id.to_string()).collect()
}

/// Waits for a condition and panics after a timeout.
#[cfg(test)]
#[track_caller]
pub(super) fn until(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        for _ in 0..15_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("condition not met in time: {caller}");
    }
}

#[test]
fn seeds_of_the_fuzz_targets() {
    exposition::testing::replay("fuzz/seeds/nats", check_registration);
    exposition::testing::replay("fuzz/seeds/routes", check_document);
}
