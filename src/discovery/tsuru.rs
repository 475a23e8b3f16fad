//! Asks Tsuru's API where the units of bound apps are.
//!
//! Tsuru has no table of everything that a scraper may read: an app is asked
//! for by its name, one at a time, and only those that are bound are of
//! interest. So each app has a turn of its own ([`known`]): a slow one holds
//! back nobody, and one that cannot be told of now keeps what it had.
//!
//! Without a token for the API there are still the hosts that the bind call
//! named ([`hosts`]). Behind each stands a router that chooses a unit, another
//! one at each scrape: better than nothing, and marked.

mod api;
mod hosts;
mod instances;
mod known;
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
use futures_util::{StreamExt, stream::FuturesUnordered};
use hosts::Hosts;
use known::{Ages, Known};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Apps that are asked for at once, and as many calls of [`TsuruApi::binds_of`].
pub const TSURU_CALLS: usize = 16;
/// Longest time for one app: it is a small answer of a database.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer about one app, in bytes; a unit takes less than one KiB.
const BODY_BYTES: u64 = 16 << 20;
/// How long news are gathered before they are reported.
const GATHER: Duration = Duration::from_millis(100);

/// Apps of Tsuru to look after.
#[derive(Clone, Debug)]
pub struct Tsuru {
    /// Who knows their units. None: their hosts are all there is.
    pub api: Option<TsuruApi>,
    /// Those that are bound, each once; looked at whenever they change.
    pub apps: watch::Receiver<Arc<[TsuruApp]>>,
}

impl Tsuru {
    /// What to call it where people read it.
    pub(super) fn name(&self) -> String {
        self.api.as_ref().map_or_else(|| "hosts of tsuru apps".to_owned(), TsuruApi::name)
    }
}

/// How often to ask, and how long an answer counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Pause between two questions about an app; not zero.
    pub(super) refresh_interval: Duration,
    /// What an app had, while others are told of and it is not.
    pub(super) stale_after: Duration,
    /// Everything, while the API is away.
    pub(super) keep: Duration,
    /// What one answer may cost.
    pub(super) limits: Limits,
}

/// What is known of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    entries: Vec<Entry>,
    /// Units and hosts that should be scraped and cannot be.
    skipped: usize,
    /// The first of these.
    dropped: Vec<Dropped>,
}

impl Told {
    fn skip(&mut self, dropped: Dropped) {
        self.skipped += 1;
        self.describe(dropped);
    }

    /// For what is no target: it is not counted.
    fn describe(&mut self, dropped: Dropped) {
        if self.dropped.len() < DESCRIBED {
            self.dropped.push(dropped);
        }
    }

    fn has_endpoints(&self) -> bool {
        self.entries.iter().any(|entry| entry.endpoint.is_some())
    }
}

/// None: there is no such app.
type Answer = Result<Option<Told>, SourceError>;

/// Whom to ask for an app.
enum Teller {
    Api(api::Client),
    Hosts(Hosts),
}

impl Teller {
    async fn ask(&self, app: &TsuruApp) -> Answer {
        match self {
            Self::Api(client) => match client.ask(&app.name).await {
                Ok(body) => units::read(&body, app).map(Some),
                Err(SourceError::Status(404)) => Ok(None),
                Err(error) => Err(error),
            },
            Self::Hosts(hosts) => hosts.ask(app).await.map(Some),
        }
    }
}

/// Looks after the bound apps until `shutdown`: asks at once for one that is
/// new, and then every `refresh_interval`.
///
/// Must run where `spawn_local` works: awc's clients do not change threads.
pub(super) async fn follow(
    tsuru: Tsuru,
    pace: Pace,
    reporter: Reporter,
    shutdown: CancellationToken,
) {
    let drop_log = DropLog::new(tsuru.name().into());
    let Tsuru { api, mut apps } = tsuru;
    let time = pace.limits.timeout.min(TIMEOUT);
    let body_bytes = pace.limits.body_bytes.min(BODY_BYTES);
    let teller = match api {
        Some(api) => Teller::Api(api::Client::new(api, time, body_bytes)),
        None => Teller::Hosts(Hosts::default()),
    };
    let ages = Ages {
        refresh_interval: pace.refresh_interval,
        stale_after: pace.stale_after,
        keep: pace.keep,
    };
    let following = async {
        let mut known = Known::new(ages, drop_log, Instant::now());
        let bound = apps.borrow_and_update().clone();
        known.bind(&bound, Instant::now());
        let mut asking = FuturesUnordered::new();
        let mut report_at = Instant::now();
        let mut is_open = true;
        loop {
            let now = Instant::now();
            known.expire(now);
            while asking.len() < TSURU_CALLS
                && let Some(app) = known.next_to_ask(now)
            {
                let teller = &teller;
                asking.push(async move {
                    let asked = timeout(time, teller.ask(&app)).await;
                    (app, asked.unwrap_or(Err(SourceError::Timeout(time))))
                });
            }
            if known.has_news() && report_at <= now {
                for report in known.report(now) {
                    reporter.report(report).await;
                }
                report_at = now + GATHER;
            }
            let news = known.has_news().then_some(report_at);
            let turn = known.next_turn().filter(|_| asking.len() < TSURU_CALLS);
            let wake = [news, turn, known.next_due()].into_iter().flatten().min();
            let wait = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = apps.changed(), if is_open => {
                    // Who tells of bindings has gone: what is bound stays.
                    is_open = changed.is_ok();
                    let bound = apps.borrow_and_update().clone();
                    if let Teller::Hosts(hosts) = &teller {
                        hosts.keep_only(&bound);
                    }
                    known.bind(&bound, Instant::now());
                }
                Some((app, answer)) = asking.next() => known.take(&app, answer, Instant::now()),
                () = wait => {}
            }
        }
    };
    shutdown.run_until_cancelled(following).await;
}
