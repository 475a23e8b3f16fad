//! Any bytes are refused as a route message, or name an address and routes.
//!
//! `cargo fuzz run nats`

#![no_main]

use libfuzzer_sys::fuzz_target;
use scrapebroker::discovery::parse_message;
use std::collections::HashSet;

fuzz_target!(|payload: &[u8]| {
    let Ok(message) = parse_message(payload) else { return };
    assert_ne!(message.address().port(), 0);
    let routes: Vec<_> = message.routes().collect();
    assert!(!routes.is_empty());
    assert!(routes.iter().all(|route| !route.is_empty()));
    assert_eq!(routes.iter().collect::<HashSet<_>>().len(), routes.len());
});
