//! Checks for fuzz targets.

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

#[test]
fn seeds_of_the_fuzz_targets() {
    exposition::testing::replay("fuzz/seeds/nats", check_registration);
    exposition::testing::replay("fuzz/seeds/routes", check_document);
}
