//! The bindings in force, as scrapes see them.

use super::{
    Targets,
    bound_prometheus::{self, Bindings, BoundPrometheus},
    error::unsealable,
};
use crate::{
    domain::{App, AppGuid, BindingId, InstanceId, ScrapeOptions, SpaceGuid, TsuruApp, is_pool_of},
    secrets::{AssociatedData, Keys, TOKEN_PREFIX, token_hash},
    store::{
        ImportedBinding, ServiceBinding, Store, StoreError, bindings, imported, prometheus, state,
        tsuru_apps,
    },
};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, watch};

/// Which apps are bound and how; clones see the same.
///
/// Readers never wait. A snapshot is replaced whole, by one writer at a time,
/// when the store's revision says that there is something new.
#[derive(Clone, Debug, Default)]
pub struct BoundApps(Arc<Published>);

#[derive(Debug, Default)]
struct Published {
    snapshot: ArcSwap<Snapshot>,
    tsuru_apps: watch::Sender<Arc<[TsuruApp]>>,
    /// When the store last said that this is what it holds.
    confirmed: ArcSwapOption<Instant>,
    refreshing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Snapshot {
    /// Which store, and which of its revisions, this was read from.
    source: Option<(String, i64)>,
    /// Of several bindings of an app the newest.
    in_force: HashMap<AppGuid, Arc<InForce>>,
    scopes: HashMap<String, Scope>,
    prometheus: Arc<HashMap<InstanceId, Arc<BoundPrometheus>>>,
}

/// The binding that says how an app is scraped.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Its id.
    pub binding_id: BindingId,
    /// What it says.
    pub options: ScrapeOptions,
}

/// What a token allows to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One app.
    App(AppGuid),
    /// All apps of a space.
    Space(SpaceGuid),
    /// No app: what a Prometheus has stored.
    Query(InstanceId),
    /// The apps bound to a Prometheus, which scrapes them.
    PrometheusTargets(InstanceId, Targets),
}

impl Scope {
    /// What the token of a binding is good for; `is_prometheus` if its instance is one.
    pub(super) fn of(binding: &ServiceBinding, is_prometheus: bool) -> Self {
        match &binding.app_guid {
            _ if is_prometheus => Self::Query(binding.instance_id.clone()),
            Some(app) => Self::App(app.clone()),
            None => Self::Space(binding.space_guid.clone()),
        }
    }

    /// Whether `app` may be scraped with it.
    pub fn covers(&self, app: &App) -> bool {
        match self {
            Self::App(guid) => *guid == app.id,
            Self::Space(guid) => app
                .space_id
                .as_ref()
                .is_some_and(|space| space == guid || is_pool_of(guid.as_str(), space.as_str())),
            Self::Query(_) => false,
            Self::PrometheusTargets(_, targets) => targets.options_of(app.id.as_str()).is_some(),
        }
    }
}

/// The bindings of one moment.
#[derive(Clone, Debug)]
pub struct BindingsInForce(Arc<Snapshot>);

/// Tells the bindings of one moment from those of another, without keeping them.
#[derive(Clone, Debug)]
pub struct BindingsEdition(Weak<Snapshot>);

impl PartialEq for BindingsEdition {
    /// Whether both are of the same bindings.
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

impl BindingsInForce {
    /// How this app is scraped, if it is bound.
    pub fn options_of(&self, app: &str) -> Option<&Arc<InForce>> {
        self.0.in_force.get(app)
    }

    /// A Prometheus.
    pub fn prometheus(&self, instance: &str) -> Option<&Arc<BoundPrometheus>> {
        self.0.prometheus.get(instance)
    }

    /// Which bindings these are.
    pub fn edition(&self) -> BindingsEdition {
        BindingsEdition(Arc::downgrade(&self.0))
    }
}

impl BoundApps {
    /// All bindings as they are now, for who needs more than one to fit together.
    pub fn now(&self) -> BindingsInForce {
        BindingsInForce(self.0.snapshot.load_full())
    }

    /// How this app is scraped, if it is bound.
    pub fn options_of(&self, app: &str) -> Option<Arc<InForce>> {
        self.0.snapshot.load().in_force.get(app).cloned()
    }

    /// A Prometheus.
    pub fn prometheus(&self, instance: &str) -> Option<Arc<BoundPrometheus>> {
        self.0.snapshot.load().prometheus.get(instance).cloned()
    }

    /// Every Prometheus; the same as before unless something has changed.
    pub fn all_prometheus(&self) -> Arc<HashMap<InstanceId, Arc<BoundPrometheus>>> {
        Arc::clone(&self.0.snapshot.load().prometheus)
    }

    /// What this token allows, if it is one of ours.
    pub fn scope_of_token(&self, token: &str) -> Option<Scope> {
        if !token.starts_with(TOKEN_PREFIX) {
            return None;
        }
        self.0.snapshot.load().scopes.get(&token_hash(token)).cloned()
    }

    /// The bound apps of Tsuru, sorted by name; of several bindings the newest one's word counts.
    pub fn tsuru_apps(&self) -> Arc<[TsuruApp]> {
        self.0.tsuru_apps.borrow().clone()
    }

    /// The same, for who waits for changes.
    pub fn watch_tsuru_apps(&self) -> watch::Receiver<Arc<[TsuruApp]>> {
        self.0.tsuru_apps.subscribe()
    }

    /// How long ago the store last said that these are its bindings.
    pub fn age(&self) -> Option<Duration> {
        self.0.confirmed.load().as_ref().map(|confirmed| confirmed.elapsed())
    }

    /// Reads the bindings anew if something has changed.
    pub(super) async fn refresh(&self, store: &Store, keys: &Keys) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.refreshing.lock().await;
        let asked = Arc::new(Instant::now());
        let mut tx = store.begin_read().await?;
        let state = state::read(&mut tx).await?;
        if !state.key_fingerprint.is_empty() && state.key_fingerprint != keys.fingerprint() {
            return Err(StoreError::KeyChanged);
        }
        let source = Some((state.store_id, state.revision));
        if self.0.snapshot.load().source == source {
            self.0.confirmed.store(Some(asked));
            return Ok(());
        }
        // Read after the revision: they may be newer than it, then we come again, but never older.
        let bindings = bindings::all(&mut tx).await?;
        let imported = imported::all(&mut tx).await?;
        let tsuru_apps = tsuru_apps::all(&mut tx).await?;
        let mut snapshot = Snapshot { source, ..Snapshot::default() };
        let mut of_prometheus = Bindings::default();
        let known: HashSet<_> = prometheus::ids(&mut tx).await?;
        for binding in bindings {
            let added = binding.and_then(|binding| {
                let is_prometheus = known.contains(&binding.instance_id);
                let options = snapshot.add(&binding, keys, is_prometheus)?;
                if let (true, Some(app), Some(options)) =
                    (is_prometheus, &binding.app_guid, options)
                {
                    of_prometheus.note(&binding.instance_id, app, &options);
                }
                Ok(())
            });
            if let Err(error) = added {
                tracing::error!(%error, "a binding is not in force");
            }
        }
        // Last: whatever was bound here is newer than what was bound at promfetcher.
        for binding in imported {
            if let Err(error) = binding.and_then(|binding| snapshot.add_imported(&binding, keys)) {
                tracing::error!(%error, "an imported binding is not in force");
            }
        }
        let prometheus = bound_prometheus::read(&mut tx, keys, of_prometheus).await?;
        for one in prometheus.values() {
            let scope = Scope::PrometheusTargets(one.instance_id.clone(), one.targets.clone());
            snapshot.scopes.insert(one.scraper_token_hash.clone(), scope);
        }
        snapshot.prometheus = Arc::new(prometheus);
        self.0.snapshot.store(Arc::new(snapshot));
        self.publish(tsuru_apps);
        self.0.confirmed.store(Some(asked));
        Ok(())
    }

    fn publish(&self, newest_first: Vec<Result<TsuruApp, StoreError>>) {
        let mut apps = BTreeMap::new();
        for app in newest_first {
            match app {
                Ok(app) => drop(apps.entry(app.name.clone()).or_insert(app)),
                Err(error) => tracing::error!(%error, "hosts of a bound app are not known"),
            }
        }
        let apps: Arc<[TsuruApp]> = apps.into_values().collect();
        self.0.tsuru_apps.send_if_modified(|published| {
            let changed = *published != apps;
            *published = apps;
            changed
        });
    }
}

impl Snapshot {
    /// Adds a binding, and gives what it says; of each app the first one that is added is in
    /// force.
    fn add(
        &mut self,
        binding: &ServiceBinding,
        keys: &Keys,
        is_prometheus: bool,
    ) -> Result<Option<Arc<InForce>>, StoreError> {
        let mut said = None;
        if let Some(app) = &binding.app_guid {
            let options = in_force(&binding.binding_id, &binding.parameters, keys)?;
            self.put_in_force(app, &options);
            said = Some(options);
        }
        self.scopes.insert(binding.token_hash.clone(), Scope::of(binding, is_prometheus));
        Ok(said)
    }

    fn add_imported(&mut self, binding: &ImportedBinding, keys: &Keys) -> Result<(), StoreError> {
        let app = &binding.app_guid;
        self.put_in_force(app, &in_force(&binding.binding_id, &binding.parameters, keys)?);
        self.scopes.insert(binding.token_hash.clone(), Scope::App(app.clone()));
        Ok(())
    }

    fn put_in_force(&mut self, app: &AppGuid, options: &Arc<InForce>) {
        if let Entry::Vacant(free) = self.in_force.entry(app.clone()) {
            free.insert(Arc::clone(options));
        }
    }
}

fn in_force(id: &BindingId, sealed: &str, keys: &Keys) -> Result<Arc<InForce>, StoreError> {
    let parameters = keys
        .decrypt(AssociatedData::Binding(id.as_str()), sealed)
        .ok_or_else(|| unsealable("service_bindings.parameters"))?;
    let options = ScrapeOptions::from_parameters(&parameters).map_err(|error| {
        let problem = error.to_string();
        StoreError::Corrupt { column: "service_bindings.parameters", problem }
    })?;
    Ok(Arc::new(InForce { binding_id: id.clone(), options }))
}
