//! Polls Tsuru's API for the addresses of the units of bound apps.
//!
//! Tsuru has no API that lists the units of all apps for a scraper, so each bound app is polled by
//! name. Each app has its own schedule ([`app_states`]): a slow app does not delay others, and an
//! app that cannot be polled keeps its units.
//!
//! Without an API token, only the hosts in the bind request are known ([`hosts`]). They belong to
//! routers that select a different unit for each scrape. Such endpoints are marked.

mod app_states;
mod hosts;
mod units;

use crate::{
    discovery::{
        Reporting, RouteSource, Settings, SourceContext, SourceKind,
        document::Entry,
        drop_log::{DESCRIBED, DropLog, Dropped},
        error::SourceError,
    },
    domain::TsuruApp,
    tsuru::{CallLimits, TSURU_CALLS, TsuruApi, TsuruClient},
};
use app_states::AppStates;
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use hosts::Hosts;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

pub(in crate::discovery) const UNITS: SourceKind = SourceKind {
    key: "routes.tsuru",
    is_list: false,
    is_configured: true,
    is_tsuru: true,
    reporting: Reporting::Changes,
};
pub(in crate::discovery) const HOSTS: SourceKind =
    SourceKind { key: "hosts of bound Tsuru apps", is_configured: false, ..UNITS };

/// Timeout for one app.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of the response for one app, in bytes. A unit takes less than one KiB.
const BODY_BYTES: u64 = 16 << 20;
/// Interval at which changes are reported.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The units of bound Tsuru apps, from Tsuru's API.
#[derive(Clone, Debug)]
pub struct TsuruUnits {
    pub api: TsuruApi,
    pub apps: BoundTsuruApps,
}

/// The hosts of bound Tsuru apps. Needs no API.
#[derive(Clone, Debug)]
pub struct TsuruHosts {
    pub apps: BoundTsuruApps,
}

/// The bound apps, without duplicates.
pub type BoundTsuruApps = watch::Receiver<Arc<[TsuruApp]>>;

impl RouteSource for TsuruUnits {
    fn name(&self) -> String {
        self.api.name()
    }

    fn kind(&self) -> SourceKind {
        UNITS
    }

    fn run(self: Box<Self>, context: SourceContext) -> LocalBoxFuture<'static, ()> {
        let timeout = app_timeout(context.settings);
        let body_bytes = context.settings.limits.body_bytes.min(BODY_BYTES);
        let limits = CallLimits { timeout, stream_timeout: timeout, body_bytes };
        let client = self.api.client(limits).keeping_connections();
        Box::pin(poll(client, self.name(), self.apps, context))
    }
}

impl RouteSource for TsuruHosts {
    fn name(&self) -> String {
        "hosts of tsuru apps".to_owned()
    }

    fn kind(&self) -> SourceKind {
        HOSTS
    }

    fn run(self: Box<Self>, context: SourceContext) -> LocalBoxFuture<'static, ()> {
        Box::pin(poll(Hosts::new(), self.name(), self.apps, context))
    }
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

/// A way to find the units of an app.
trait FindUnits {
    async fn find(&self, app: &TsuruApp) -> UnitsResult;

    /// Drops what is cached for other apps.
    fn keep_only(&self, _apps: &[TsuruApp]) {}
}

impl FindUnits for TsuruClient {
    async fn find(&self, app: &TsuruApp) -> UnitsResult {
        let info = self.app(&app.name).await?;
        info.map(|info| units::of_app(&info, app)).transpose()
    }
}

impl FindUnits for Hosts {
    async fn find(&self, app: &TsuruApp) -> UnitsResult {
        self.resolve(app).await.map(Some)
    }

    fn keep_only(&self, apps: &[TsuruApp]) {
        self.retain(apps);
    }
}

fn app_timeout(settings: Settings) -> Duration {
    settings.limits.timeout.min(TIMEOUT)
}

/// Polls bound apps: a new app immediately, then every `refresh_interval`.
async fn poll(
    units: impl FindUnits,
    name: String,
    mut apps: BoundTsuruApps,
    context: SourceContext,
) {
    let SourceContext { settings, reporter, .. } = context;
    let limit = app_timeout(settings);
    let mut states = AppStates::new(settings, DropLog::new(name.into()), Instant::now());
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
            let units = &units;
            requests.push(async move {
                let found = timeout(limit, units.find(&app)).await;
                (app, found.unwrap_or(Err(SourceError::Timeout(limit))))
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
                units.keep_only(&bound);
                states.set_bound(&bound, Instant::now());
            }
            Some((app, result)) = requests.next() => states.apply(&app, result, Instant::now()),
            () = wait => {}
        }
    }
}
