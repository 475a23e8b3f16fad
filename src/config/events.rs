//! Keys of `events`.

use super::{
    platform::PlatformEnv,
    section::{Read, Section},
    values::{self, number},
};
use crate::{
    events::{Collision, EventSettings, Redelivery, StartPolicy, Timestamps},
    http::events::ScraperIdentity,
};
use std::{net::SocketAddr, time::Duration};

/// Prometheus accepts samples that are up to about an hour older than its newest ones.
const MAX_EXPLICIT_TTL: Duration = Duration::from_mins(55);
const MIN_TTL: Duration = Duration::from_mins(1);
const MAX_TTL: Duration = Duration::from_hours(24);
const MAX_HISTORY: Duration = Duration::from_hours(30 * 24);

/// `events`
#[derive(Clone, Debug)]
pub struct Events {
    /// Listener with the interface of oneShotMetricsServer.
    pub listen: Option<SocketAddr>,
    pub settings: EventSettings,
    pub identity: ScraperIdentity,
    /// Whether `listen` requires credentials.
    pub token_required: bool,
}

pub(super) fn events(s: &mut Section<'_>, env: &PlatformEnv) -> Read<Events> {
    let default = EventSettings::default();
    let listen = s.optional("listen", values::address);
    let metric = s.value("metric", &default.metric, metric);
    let modes = [("scrape", Timestamps::Scrape), ("explicit", Timestamps::Explicit)];
    let has_listener = matches!(listen, Ok(Some(_)));
    let mode = if has_listener && env.explicit_timestamps { "explicit" } else { "scrape" };
    let timestamps = s.value("timestamps", mode, values::choice(&modes));
    if mode == "explicit" {
        s.default_is_of("timestamps", "USE_EXPLICIT_TIMESTAMPS");
    }
    let hold = s.value("hold", "2m", values::period);
    let start = s.value("start", "latest", start);
    let ttl = s.value("ttl", "50m", values::period);
    let collisions = [
        ("defer", Collision::Defer),
        ("sum", Collision::Sum),
        ("last", Collision::Last),
        ("ordinal", Collision::Ordinal),
    ];
    let collision = s.value("collision", "defer", values::choice(&collisions));
    let redeliveries =
        [("until-acknowledged", Redelivery::UntilAcknowledged), ("never", Redelivery::Never)];
    let redelivery = s.value("redelivery", "until-acknowledged", values::choice(&redeliveries));
    let max_pending = s.value("max_pending", "100000", number(1..=10_000_000));
    let max_scrape_samples = s.value("max_scrape_samples", "5000", number(1..=100_000));
    let max_scrapers = s.value("max_scrapers", "16", number(1..=1_000));
    let counters = s.value("counters", "false", values::flag);
    let history = s.value("history", "24h", values::period);
    let header = s.optional("scraper_header", ScraperIdentity::header_name);
    let trusted_proxies = s.texts("trusted_proxies", values::network);
    let access = [("open", false), ("token", true)];
    let token_required = s.value("access", "open", values::choice(&access));

    if let (Ok(ttl), Ok(timestamps)) = (ttl, timestamps) {
        check_ttl(s, ttl, timestamps);
        if hold.is_ok_and(|hold| hold >= ttl) {
            s.mistake("hold", "must be shorter than ttl");
        }
        if let Ok(StartPolicy::Ago(age)) = start
            && age > ttl
        {
            s.mistake("start", "must be at most ttl: older events are not offered");
        }
        if history.is_ok_and(|history| !(ttl..=MAX_HISTORY).contains(&history)) {
            s.mistake("history", "must be at least ttl, and at most 30d");
        }
    }
    let settings = EventSettings {
        metric: metric?,
        timestamps: timestamps?,
        hold: hold?,
        start: start?,
        ttl: ttl?,
        collision: collision?,
        redelivery: redelivery?,
        max_pending: max_pending?,
        max_scrape_samples: max_scrape_samples?,
        max_scrapers: max_scrapers?,
        counters: counters?,
        history: history?,
    };
    let identity = ScraperIdentity { header: header?, trusted_proxies: trusted_proxies? };
    Ok(Events { listen: listen?, settings, identity, token_required: token_required? })
}

fn check_ttl(s: &mut Section<'_>, ttl: Duration, timestamps: Timestamps) {
    if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
        s.mistake("ttl", "must be 1m to 24h");
    } else if timestamps == Timestamps::Explicit && ttl > MAX_EXPLICIT_TTL {
        s.mistake(
            "ttl",
            "must be at most 55m with explicit timestamps: Prometheus refuses samples that are about an hour old",
        );
    }
}

fn metric(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = text.bytes().next().is_some_and(is_letter)
        && text.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit());
    if !is_name || text.len() > 64 {
        return Err("is not a metric name of at most 64 letters, digits and _".to_owned());
    }
    if text.starts_with("scrapebroker_") || text.starts_with("promfetch") {
        return Err("must not begin like the metrics of Scrapebroker itself".to_owned());
    }
    Ok(text.to_owned())
}

fn start(text: &str) -> Result<StartPolicy, String> {
    match text {
        "latest" => Ok(StartPolicy::Latest),
        "earliest" => Ok(StartPolicy::Earliest),
        _ => values::period(text)
            .map(StartPolicy::Ago)
            .map_err(|problem| format!("{problem}; or use latest or earliest")),
    }
}
