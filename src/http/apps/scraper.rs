//! The scraper of a request, for the page of the app.

use crate::{
    broker::Scope,
    http::access::{Access, Caller},
    scrape::{ScrapedBy, ScraperRole},
};
use actix_web::{HttpRequest, http::header};
use std::time::SystemTime;

/// Maximum number of characters that are kept of a `User-Agent`.
const MAX_AGENT: usize = 80;

pub(super) fn scraped_by(request: &HttpRequest, caller: &Caller, access: &Access) -> ScrapedBy {
    let agent = request.headers().get(header::USER_AGENT).map_or(&b""[..], |it| it.as_bytes());
    // A page must not show a credential that a scraper sends in the wrong place.
    let agent = if access.is_own_credential(agent) { "".into() } else { visible_start(agent) };
    ScrapedBy {
        address: request.peer_addr().map(|peer| peer.ip().to_canonical()),
        agent,
        role: role(caller),
        at: SystemTime::now(),
    }
}

fn role(caller: &Caller) -> ScraperRole {
    match caller {
        Caller::Anyone => ScraperRole::Anonymous,
        Caller::Operator => ScraperRole::Operator,
        Caller::Token(Scope::PrometheusTargets(instance, _)) => {
            ScraperRole::Prometheus(instance.clone())
        }
        Caller::Token(_) | Caller::OptionalToken(_) => ScraperRole::Token,
    }
}

fn visible_start(agent: &[u8]) -> Box<str> {
    let visible = agent.iter().filter(|byte| matches!(byte, b' '..=b'~'));
    visible.take(MAX_AGENT).map(|&byte| char::from(byte)).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_short_and_visible() {
        let long = [b'a'; 100];
        for (agent, expected) in [
            (&b"Prometheus/3.5.0"[..], "Prometheus/3.5.0"),
            (b"curl\t8 \xe2\x80\xae\xff<b>", "curl8 <b>"),
            (&long, &"a".repeat(80)),
            (b"", ""),
        ] {
            assert_eq!(&*visible_start(agent), expected);
        }
    }
}
