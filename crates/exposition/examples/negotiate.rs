//! Chooses the format of an answer from an `Accept` header and from what the instances speak.
//!
//! `cargo run --example negotiate -- 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5'`

use std::env;

use exposition::{Format, accept_for_instances, accepted, choose};

fn main() {
    let accept = env::args().nth(1);
    let accepted = accepted(accept.as_deref());
    let preferred = accepted.first().copied().unwrap_or_default();
    println!("Accept for the instances: {}", accept_for_instances(preferred, false, true));
    for spoken in [Format::Text004, Format::OpenMetrics100, Format::Protobuf] {
        println!("instances that speak {spoken}: {}", choose(&accepted, &[spoken]).content_type());
    }
}
