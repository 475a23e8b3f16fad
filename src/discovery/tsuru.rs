//! Polls Tsuru's API for the addresses of the units of bound apps.
//!
//! Tsuru has no API that lists the units of all apps for a scraper, so each bound app is polled by
//! name. Each app has its own schedule ([`app_states`]): a slow app does not delay others, and an
//! app that cannot be polled keeps its units.
//!
//! Without an API token, only the hosts in the bind request are known ([`hosts`]). They belong to
//! routers that select a different unit for each scrape. Such endpoints are marked.

mod api;
mod app_states;
mod hosts;
mod instances;
mod units;

pub use api::TsuruApi;
pub use instances::{TsuruApiError, TsuruBinds};

use super::{
    Limits,
    document::Entry,
    drop_log::{DESCRIBED, DropLog, Dropped},
    error::SourceError,
    writer::Reporter,
};
use crate::domain::TsuruApp;
use app_states::{AppStates, Expiry};
use futures_util::{StreamExt, stream::FuturesUnordered};
use hosts::Hosts;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Maximum number of concurrent polls, and of concurrent calls of [`TsuruApi::binds_of`].
pub const TSURU_CALLS: usize = 16;
/// Timeout for one app.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of the response for one app, in bytes. A unit takes less than one KiB.
const BODY_BYTES: u64 = 16 << 20;
/// Interval at which changes are reported.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Tsuru apps to poll.
#[derive(Clone, Debug)]
pub struct Tsuru {
    /// Source of units. None: only the hosts of the apps are known.
    pub api: Option<TsuruApi>,
    /// The bound apps, without duplicates.
    pub apps: watch::Receiver<Arc<[TsuruApp]>>,
}

impl Tsuru {
    /// Display name.
    pub(super) fn name(&self) -> String {
        self.api.as_ref().map_or_else(|| "hosts of tsuru apps".to_owned(), TsuruApi::name)
    }
}

/// Poll interval, limits, and lifetime of units.
#[derive(Clone, Copy, Debug)]
pub(super) struct PollSettings {
    /// Interval between two polls of an app. Not zero.
    pub(super) refresh_interval: Duration,
    /// Lifetime of the units of an app that cannot be polled, while others can.
    pub(super) stale_after: Duration,
    /// Lifetime of all units while the API is unavailable.
    pub(super) keep: Duration,
    pub(super) limits: Limits,
}

/// The units of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AppUnits {
    entries: Vec<Entry>,
    /// Number of units and hosts that cannot be scraped.
    skipped: usize,
    dropped: Vec<Dropped>,
}

impl AppUnits {
    fn skip(&mut self, dropped: Dropped) {
        self.skipped += 1;
        self.describe(dropped);
    }

    /// Describes a unit that is not a target and not counted.
    fn describe(&mut self, dropped: Dropped) {
        if self.dropped.len() < DESCRIBED {
            self.dropped.push(dropped);
        }
    }

    fn has_endpoints(&self) -> bool {
        self.entries.iter().any(|entry| entry.endpoint.is_some())
    }
}

/// None: the app does not exist.
type UnitsResult = Result<Option<AppUnits>, SourceError>;

enum UnitSource {
    Api(api::Client),
    Hosts(Hosts),
}

impl UnitSource {
    async fn fetch(&self, app: &TsuruApp) -> UnitsResult {
        match self {
            Self::Api(client) => match client.fetch_app(&app.name).await {
                Ok(body) => units::read(&body, app).map(Some),
                Err(SourceError::Status(404)) => Ok(None),
                Err(error) => Err(error),
            },
            Self::Hosts(hosts) => hosts.resolve(app).await.map(Some),
        }
    }
}

/// Polls bound apps until `shutdown`: a new app immediately, then every `refresh_interval`.
///
/// Must run where `spawn_local` works, because awc's clients are not `Send`.
pub(super) async fn poll(
    tsuru: Tsuru,
    settings: PollSettings,
    reporter: Reporter,
    shutdown: CancellationToken,
) {
    let drop_log = DropLog::new(tsuru.name().into());
    let Tsuru { api, mut apps } = tsuru;
    let time = settings.limits.timeout.min(TIMEOUT);
    let body_bytes = settings.limits.body_bytes.min(BODY_BYTES);
    let unit_source = match api {
        Some(api) => UnitSource::Api(api::Client::new(api, time, body_bytes)),
        None => UnitSource::Hosts(Hosts::new()),
    };
    let expiry = Expiry {
        refresh_interval: settings.refresh_interval,
        stale_after: settings.stale_after,
        keep: settings.keep,
    };
    let polling = async {
        let mut states = AppStates::new(expiry, drop_log, Instant::now());
        let bound = apps.borrow_and_update().clone();
        states.set_bound(&bound, Instant::now());
        let mut requests = FuturesUnordered::new();
        let mut report_at = Instant::now();
        let mut is_open = true;
        loop {
            let now = Instant::now();
            states.expire(now);
            while requests.len() < TSURU_CALLS
                && let Some(app) = states.take_due(now)
            {
                let unit_source = &unit_source;
                requests.push(async move {
                    let fetched = timeout(time, unit_source.fetch(&app)).await;
                    (app, fetched.unwrap_or(Err(SourceError::Timeout(time))))
                });
            }
            if states.has_report() && report_at <= now {
                for report in states.report(now) {
                    reporter.report(report).await;
                }
                report_at = now + BATCH_INTERVAL;
            }
            let next_report = states.has_report().then_some(report_at);
            let next_poll = states.next_poll().filter(|_| requests.len() < TSURU_CALLS);
            let wake = [next_report, next_poll, states.next_due()].into_iter().flatten().min();
            let wait = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = apps.changed(), if is_open => {
                    // The sender was dropped: the bound apps stay the same.
                    is_open = changed.is_ok();
                    let bound = apps.borrow_and_update().clone();
                    if let UnitSource::Hosts(hosts) = &unit_source {
                        hosts.keep_only(&bound);
                    }
                    states.set_bound(&bound, Instant::now());
                }
                Some((app, result)) = requests.next() => states.apply(&app, result, Instant::now()),
                () = wait => {}
            }
        }
    };
    shutdown.run_until_cancelled(polling).await;
}
