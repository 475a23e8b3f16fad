//! All sources, what each has said, and how long that counts.
//!
//! Pure but for memory: time comes in as an argument, and nothing here waits,
//! so every rule about ages is a unit test. [`writer`](super::writer) drives it.
//!
//! A source is *here* when its last try succeeded, else *away*. While any is
//! here, what an away one said counts until `stale_after` since its last good
//! answer. While all are away the last table serves as it is, until `keep`
//! since the newest good answer of any; then it is empty. A bus is told of each
//! endpoint by itself, so it knows the age of each and judges by that instead.
//! So does a source of apps that no other source knows, and since it neither
//! covers for the others nor they for it, it has no part in these rules.

use super::{
    claims::{Change, Claims, Hearing, Key},
    document::parse_into,
    drop_log::DropLog,
    error::SourceError,
    index::Index,
    intern::Interner,
    merge::{Addresses, Voice, merge},
    route_table::SourceStatus,
};
use std::{collections::BTreeSet, hash::BuildHasher, mem, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long what was said counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    pub(super) stale_after: Duration,
    pub(super) keep: Duration,
    /// First answers within this time tell nothing about who knows more: they
    /// come in the order in which the polls happened to end.
    pub(super) first_round: Duration,
}

/// News of one source.
#[derive(Debug)]
pub(super) enum Report {
    /// Everything it knows, in gorouter's format.
    Answer(Vec<u8>),
    /// It still says what it said, and did not need to repeat it.
    Unchanged,
    /// What changed since its last report; it never says everything.
    Changes(Changes),
    /// It could not be asked.
    Failure(SourceError),
    /// It still cannot be asked, and this is why by now.
    StillAway(SourceError),
}

/// What a source heard that is told of changes only.
#[derive(Debug)]
pub(super) struct Changes {
    /// In the order in which they happened.
    pub(super) changes: Vec<Change>,
    /// How far to trust that this is all.
    pub(super) standing: Standing,
    /// Tries that failed since its last report, and cost no more than
    /// themselves.
    pub(super) failed: u64,
    /// Messages that were of no use, since the start.
    pub(super) skipped: usize,
    /// Endpoints of platform components that it knows of.
    pub(super) without_app: usize,
}

/// How much a source that is told of changes only knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It cannot hear anything; what it reports it heard before.
    Away,
    /// It has not listened for long enough to know everything.
    Filling,
    /// It knows what there is.
    Current,
}

/// What a source is like. Sources of one kind show the same routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Learns its table anew after a restart, so a small answer may mean that.
    Router,
    /// Whatever it says is meant.
    File,
    /// Is told of changes, and decides itself what is too old.
    Bus,
    /// Tells changes of apps that no other source knows, and decides itself
    /// what is too old.
    Apart,
    /// The same, made of what we know ourselves: no source unless it says
    /// something.
    ApartIfAny,
}

impl Kind {
    /// The configuration key of its sources.
    pub fn key(self) -> &'static str {
        match self {
            Self::Router => "routes.gorouters",
            Self::File => "routes.file",
            Self::Bus => "routes.nats",
            Self::Apart => "routes.tsuru",
            Self::ApartIfAny => "hosts of bound Tsuru apps",
        }
    }

    /// Whether an operator configures it.
    pub fn is_configured(self) -> bool {
        self != Self::ApartIfAny
    }

    /// Whether its apps are Tsuru's; other kinds never show such an app.
    pub fn is_tsuru(self) -> bool {
        matches!(self, Self::Apart | Self::ApartIfAny)
    }
}

/// A source, and how people call it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) kind: Kind,
    /// Its place in the configuration, as in `routes.gorouters[0]`.
    pub(super) key: Arc<str>,
    /// What it is and where, without credentials.
    pub(super) name: Arc<str>,
}

#[derive(Debug)]
struct Source {
    kind: Kind,
    drop_log: DropLog,
    claims: Claims,
    /// Hash of the answer that `claims` were read from.
    answer: Option<u64>,
    status: SourceStatus,
}

impl Source {
    fn is_here(&self) -> bool {
        self.status.last_answer.is_some() && self.status.failure.is_none()
    }

    /// Others tell themselves what has grown too old.
    fn is_judged_by_age(&self) -> bool {
        matches!(self.kind, Kind::Router | Kind::File)
    }

    /// Whether it speaks of what others speak of too.
    fn is_one_of_many(&self) -> bool {
        !matches!(self.kind, Kind::Apart | Kind::ApartIfAny)
    }

    fn is_listed(&self) -> bool {
        self.kind.is_configured() || self.status.failure.is_some() || !self.claims.is_empty()
    }

    fn forget(&mut self) -> Vec<Key> {
        // The same answer would be news after this.
        self.answer = None;
        self.status.is_forgotten = true;
        self.claims.clear()
    }
}

/// Every source with its claims.
#[derive(Debug)]
pub(super) struct Sources {
    ages: Ages,
    started: Instant,
    sources: Vec<Source>,
    interner: Interner,
    hasher: foldhash::quality::RandomState,
    addresses: Addresses,
    /// Routes whose last merge depended on who was here.
    disputed: BTreeSet<Arc<str>>,
    /// Routes that have to be merged anew.
    outdated: BTreeSet<Arc<str>>,
}

impl Sources {
    pub(super) fn new(ages: Ages, names: &[Named], started: Instant) -> Self {
        let source = |named: &Named| Source {
            kind: named.kind,
            drop_log: DropLog::new(Arc::clone(&named.name)),
            claims: Claims::default(),
            answer: None,
            status: SourceStatus::unheard(named),
        };
        Self {
            ages,
            started,
            sources: names.iter().map(source).collect(),
            interner: Interner::default(),
            hasher: foldhash::quality::RandomState::default(),
            addresses: Addresses::default(),
            disputed: BTreeSet::new(),
            outdated: BTreeSet::new(),
        }
    }

    /// Takes the news of the source at position `source`; true if the table
    /// has to be built anew.
    pub(super) fn take(&mut self, source: usize, report: Report, now: Instant) -> bool {
        let Some(source) = self.sources.get_mut(source) else { return false };
        let was_here = source.is_here();
        let had_answered = source.status.last_answer.is_some();
        let mut changed = Vec::new();
        match report {
            Report::Answer(body) => {
                let is_first = source.status.last_answer.is_none();
                let is_first_round = now.duration_since(self.started) < self.ages.first_round;
                let since = if is_first && is_first_round { self.started } else { now };
                let hash = self.hasher.hash_one(&body);
                match source.read(&body, hash, &mut self.interner, since) {
                    Ok(news) => {
                        changed = news;
                        source.succeeded(now);
                    }
                    Err(error) => source.failed(&error),
                }
            }
            Report::Changes(news) => {
                // Until it knows everything, what it hears tells nothing about
                // when that came to be.
                let is_first = source.status.last_answer.is_none();
                let since = if is_first { self.started } else { now };
                changed = source.hear(news, since, now);
            }
            // What cannot be read does not get better by staying as it is.
            Report::Unchanged if source.status.failure.is_some() => {}
            Report::Unchanged => source.succeeded(now),
            Report::Failure(error) => source.failed(&error),
            Report::StillAway(error) => source.status.failure = Some(error.to_string().into()),
        }
        if !had_answered && source.status.last_answer.is_some() {
            source.log_first_table();
        }
        if source.is_here() != was_here {
            self.outdated.extend(self.disputed.iter().cloned());
        }
        self.note(changed);
        !self.outdated.is_empty()
    }

    /// Notes which routes have to be merged anew.
    fn note(&mut self, changed: Vec<Key>) {
        for key in changed {
            let is_claimed = self.sources.iter().any(|source| source.claims.get(&key).is_some());
            self.outdated.extend(self.addresses.note(&key, is_claimed).iter().cloned());
            self.outdated.insert(key.0);
        }
    }

    /// Drops what is due; true if the table has to be built anew.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let Ages { stale_after, keep, .. } = self.ages;
        let is_due = |at: Instant, after| at.checked_add(after).is_some_and(|due| due <= now);
        let mut changed = Vec::new();
        if self.is_any_here() {
            for source in self.sources.iter_mut().filter(|source| source.is_judged_by_age()) {
                let heard = source.status.last_answer;
                if !source.is_here() && heard.is_some_and(|at| is_due(at, stale_after)) {
                    changed.extend(source.forget());
                }
                changed.extend(source.claims.drop_kept(|at| is_due(at, stale_after)));
            }
        } else if self.newest_answer().is_some_and(|at| is_due(at, keep)) {
            for source in self.sources.iter_mut().filter(|source| source.is_judged_by_age()) {
                changed.extend(source.forget());
            }
        }
        let has_changed = !changed.is_empty();
        self.note(changed);
        has_changed
    }

    /// When [`expire`](Self::expire) will next have something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let Ages { stale_after, keep, .. } = self.ages;
        let has_claims = |source: &&Source| source.is_judged_by_age() && !source.claims.is_empty();
        if self.is_any_here() {
            let away = self.sources.iter().filter(has_claims).filter(|source| !source.is_here());
            let away = away.filter_map(|source| source.status.last_answer);
            let kept = self.sources.iter().filter_map(|source| source.claims.oldest_kept());
            away.chain(kept).filter_map(|at| at.checked_add(stale_after)).min()
        } else if self.sources.iter().any(|source| has_claims(&source)) {
            self.newest_answer()?.checked_add(keep)
        } else {
            None
        }
    }

    /// Builds the table of what is claimed now out of the one that was built
    /// before.
    pub(super) fn build(&mut self, before: &Index) -> Index {
        let voices: Vec<Voice<'_>> = self
            .sources
            .iter()
            .map(|source| Voice { claims: &source.claims, is_here: source.is_here() })
            .collect();
        let (addresses, disputed) = (&self.addresses, &mut self.disputed);
        let news = mem::take(&mut self.outdated).into_iter().map(|route| {
            let merged = merge(&voices, addresses, &route);
            match merged.is_disputed {
                true => drop(disputed.insert(route)),
                false => drop(disputed.remove(&route)),
            }
            merged.news
        });
        before.with(news)
    }

    /// Lets go of what is no longer said by anyone.
    pub(super) fn tidy(&mut self) {
        self.interner.forget_unused();
    }

    /// How the sources are doing.
    pub(super) fn status(&self) -> Vec<SourceStatus> {
        let status = |source: &Source| {
            let (endpoints, kept) = source.claims.count_endpoints();
            let is_listed = source.is_listed();
            SourceStatus { endpoints, kept, is_listed, ..source.status.clone() }
        };
        self.sources.iter().map(status).collect()
    }

    fn is_any_here(&self) -> bool {
        self.sources.iter().any(|source| source.is_one_of_many() && source.is_here())
    }

    fn newest_answer(&self) -> Option<Instant> {
        let sources = self.sources.iter().filter(|source| source.is_one_of_many());
        sources.filter_map(|source| source.status.last_answer).max()
    }
}

impl Source {
    /// Takes a full answer, and tells what it changes. The same bytes as last
    /// time are not even read.
    fn read(
        &mut self,
        body: &[u8],
        hash: u64,
        interner: &mut Interner,
        now: Instant,
    ) -> Result<Vec<Key>, SourceError> {
        if self.answer == Some(hash) {
            return Ok(Vec::new());
        }
        let document = parse_into(body, interner)?;
        for dropped in document.dropped {
            self.drop_log.note(dropped, now);
        }
        self.answer = Some(hash);
        self.status.skipped = document.skipped;
        self.status.without_app = document.without_app;
        let last_answer = self.status.last_answer;
        let may_be_filling = self.kind == Kind::Router;
        Ok(self.claims.hear(document.entries, Hearing { now, last_answer, may_be_filling }))
    }

    /// Takes what changed.
    fn hear(&mut self, news: Changes, since: Instant, now: Instant) -> Vec<Key> {
        (self.status.skipped, self.status.without_app) = (news.skipped, news.without_app);
        self.status.failed += news.failed;
        match news.standing {
            Standing::Away => {}
            Standing::Filling => self.recovered(),
            Standing::Current => self.succeeded(now),
        }
        self.claims.apply(news.changes, since)
    }

    fn succeeded(&mut self, now: Instant) {
        self.recovered();
        self.status.last_answer = Some(now);
        self.status.is_forgotten = false;
    }

    fn recovered(&mut self) {
        if self.status.failure.take().is_some() {
            tracing::info!(source.name = %self.status.name, "route source is available again");
        }
    }

    /// Once per source, so that an operator sees what it contributes.
    fn log_first_table(&self) {
        if self.is_listed() {
            let (endpoints, apps) = (self.claims.count_endpoints().0, self.claims.count_apps());
            tracing::info!(source.name = %self.status.name, endpoints, apps, "first route table");
        }
    }

    /// Logs the first failure only: the rest is counted and stands on the
    /// status page.
    fn failed(&mut self, error: &SourceError) {
        if self.status.failure.is_none() {
            tracing::warn!(source.name = %self.status.name, %error, "route source failed");
        }
        self.status.failure = Some(error.to_string().into());
        self.status.failed += 1;
    }
}

#[cfg(test)]
mod tests;
