//! Chooses the output format for an `Accept` header and for the formats of the instances.
//!
//! `cargo run --example negotiate -- 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5'`

use std::env;

use exposition::{Format, accepted_formats, choose_format, scrape_accept_header};

fn main() {
    let accept = env::args().nth(1);
    let accepted = accepted_formats(accept.as_deref());
    let preferred = accepted.first().copied().unwrap_or_default();
    println!("Accept header for instances: {}", scrape_accept_header(preferred, false, true));
    for format in [Format::Text004, Format::OpenMetrics100, Format::Protobuf] {
        let output = choose_format(&accepted, &[format]);
        println!("output if instances answer {format}: {}", output.content_type());
    }
}
