//! Any bytes are refused as a route table, or every app in it can be found by
//! its GUID, and nothing of it panics.
//!
//! `cargo fuzz run routes`

#![no_main]

use libfuzzer_sys::fuzz_target;
use scrapebroker::{
    discovery::{Snapshot, parse},
    domain::{AppKey, Prefer},
};

fuzz_target!(|body: &[u8]| {
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
});
