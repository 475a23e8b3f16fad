//! The active bindings, as scrapes see them.

use super::{
    Targets,
    error::cannot_decrypt,
    prometheus_snapshot::{self, PrometheusBindings, PrometheusSnapshot},
};
use crate::{
    domain::{
        App, AppGuid, BindingId, InstanceId, QueueId, ScrapeOptions, SpaceGuid, TsuruApp,
        tsuru_ids::is_pool_of,
    },
    secrets::{AssociatedData, Keys, TOKEN_PREFIX, token_hash},
    store::{
        ImportedBinding, ServiceBinding, Store, StoreError, bindings, events, imported, prometheus,
        state, tsuru_apps,
    },
};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, watch};

/// The active bindings. Clones share their state.
///
/// Readers never wait. One writer at a time replaces the snapshot when the revision of the store
/// has changed.
#[derive(Clone, Debug, Default)]
pub struct BindingTable(Arc<Published>);

#[derive(Debug, Default)]
struct Published {
    snapshot: ArcSwap<BindingSnapshot>,
    tsuru_apps: watch::Sender<Arc<[TsuruApp]>>,
    changed: watch::Sender<()>,
    /// When the store last confirmed this snapshot.
    confirmed: ArcSwapOption<Instant>,
    refreshing: Mutex<()>,
}

#[derive(Debug, Default)]
struct BindingSnapshot {
    /// Id and revision of the store from which this was read.
    source: Option<(String, i64)>,
    /// The newest binding of each app.
    active: HashMap<AppGuid, Arc<ActiveBinding>>,
    /// The bindings of all apps, with the text that they were decrypted from.
    decrypted: HashMap<BindingId, (String, Arc<ActiveBinding>)>,
    scopes: HashMap<String, Scope>,
    event_queues: Vec<EventQueue>,
    prometheus: Arc<HashMap<InstanceId, Arc<PrometheusSnapshot>>>,
}

/// The active binding of an app.
#[derive(Clone, Debug)]
pub struct ActiveBinding {
    pub binding_id: BindingId,
    pub options: ScrapeOptions,
}

/// The queue of events of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQueue {
    pub queue: QueueId,
    pub binding_id: BindingId,
    /// None for a service key.
    pub app_guid: Option<AppGuid>,
    /// The space of the service instance.
    pub space_guid: SpaceGuid,
}

impl EventQueue {
    /// Whether a Prometheus of this space gets the events. On Tsuru a queue of a team without a pool
    /// belongs to all pools of the team, and so does a Prometheus.
    pub fn is_for(&self, space: &SpaceGuid) -> bool {
        let (own, other) = (self.space_guid.as_str(), space.as_str());
        own == other || is_pool_of(own, other) || is_pool_of(other, own)
    }
}

/// What a binding gives access to.
pub(super) enum BindingKind {
    /// The metrics of an app or space.
    Scrape,
    /// The samples of a Prometheus.
    Prometheus,
    /// A queue of events.
    Events(QueueId),
}

impl BindingKind {
    pub(super) fn new(is_prometheus: bool, queue: Option<QueueId>) -> Self {
        match queue {
            Some(queue) => Self::Events(queue),
            None if is_prometheus => Self::Prometheus,
            None => Self::Scrape,
        }
    }
}

/// The apps or the Prometheus that a token gives access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One app.
    App(AppGuid),
    /// All apps of a space.
    Space(SpaceGuid),
    /// The stored samples of a Prometheus, and no app.
    Query(InstanceId),
    /// The apps bound to a Prometheus, for its own scrapes.
    PrometheusTargets(InstanceId, Targets),
    /// A queue of events, and no app.
    Events(EventQueue),
}

impl Scope {
    /// The scope of the token of a binding.
    pub(super) fn of(binding: &ServiceBinding, kind: BindingKind) -> Self {
        match (kind, &binding.app_guid) {
            (BindingKind::Events(queue), _) => Self::Events(EventQueue {
                queue,
                binding_id: binding.binding_id.clone(),
                app_guid: binding.app_guid.clone(),
                space_guid: binding.space_guid.clone(),
            }),
            (BindingKind::Prometheus, _) => Self::Query(binding.instance_id.clone()),
            (BindingKind::Scrape, Some(app)) => Self::App(app.clone()),
            (BindingKind::Scrape, None) => Self::Space(binding.space_guid.clone()),
        }
    }

    /// Whether the token gives access to `app`.
    pub fn covers(&self, app: &App) -> bool {
        match self {
            Self::App(guid) => *guid == app.id,
            Self::Space(guid) => app
                .space_id
                .as_ref()
                .is_some_and(|space| space == guid || is_pool_of(guid.as_str(), space.as_str())),
            Self::Query(_) | Self::Events(_) => false,
            Self::PrometheusTargets(_, targets) => targets.binding_for(app.id.as_str()).is_some(),
        }
    }
}

/// A consistent snapshot of the active bindings.
#[derive(Clone, Debug)]
pub struct ActiveBindings(Arc<BindingSnapshot>);

/// Version of a snapshot. It does not keep the snapshot alive.
#[derive(Clone, Debug)]
pub struct BindingsVersion(Weak<BindingSnapshot>);

impl PartialEq for BindingsVersion {
    /// Whether both refer to the same snapshot.
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

impl ActiveBindings {
    /// The active binding of an app.
    pub fn binding_for(&self, app: &str) -> Option<&Arc<ActiveBinding>> {
        self.0.active.get(app)
    }

    pub fn prometheus(&self, instance: &str) -> Option<&Arc<PrometheusSnapshot>> {
        self.0.prometheus.get(instance)
    }

    /// The queues of all bindings, in the order of their bindings.
    pub fn event_queues(&self) -> &[EventQueue] {
        &self.0.event_queues
    }

    pub fn version(&self) -> BindingsVersion {
        BindingsVersion(Arc::downgrade(&self.0))
    }
}

impl BindingTable {
    /// The current snapshot, for consistent reads of several bindings.
    pub fn snapshot(&self) -> ActiveBindings {
        ActiveBindings(self.0.snapshot.load_full())
    }

    /// The active binding of an app.
    pub fn binding_for(&self, app: &str) -> Option<Arc<ActiveBinding>> {
        self.0.snapshot.load().active.get(app).cloned()
    }

    pub fn prometheus(&self, instance: &str) -> Option<Arc<PrometheusSnapshot>> {
        self.0.snapshot.load().prometheus.get(instance).cloned()
    }

    /// All Prometheus instances. The same `Arc` as before unless something has changed.
    pub fn all_prometheus(&self) -> Arc<HashMap<InstanceId, Arc<PrometheusSnapshot>>> {
        Arc::clone(&self.0.snapshot.load().prometheus)
    }

    /// The scope of a token of Scrapebroker.
    pub fn scope_of_token(&self, token: &str) -> Option<Scope> {
        if !token.starts_with(TOKEN_PREFIX) {
            return None;
        }
        self.0.snapshot.load().scopes.get(&token_hash(token)).cloned()
    }

    /// The bound apps of Tsuru, sorted by name, each with the data of its newest binding.
    pub fn tsuru_apps(&self) -> Arc<[TsuruApp]> {
        self.0.tsuru_apps.borrow().clone()
    }

    /// Like [`tsuru_apps`](Self::tsuru_apps), with notification of changes.
    pub fn watch_tsuru_apps(&self) -> watch::Receiver<Arc<[TsuruApp]>> {
        self.0.tsuru_apps.subscribe()
    }

    /// Notifies of every change of the snapshot.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Time since the store last confirmed these bindings.
    pub fn age(&self) -> Option<Duration> {
        self.0.confirmed.load().as_ref().map(|confirmed| confirmed.elapsed())
    }

    /// Reads all bindings if the revision of the store has changed.
    pub(super) async fn refresh(&self, store: &Store, keys: &Keys) -> Result<(), StoreError> {
        let _guard = self.0.refreshing.lock().await;
        let requested_at = Arc::new(Instant::now());
        let mut tx = store.begin_read().await?;
        let state = state::read(&mut tx).await?;
        if !state.key_fingerprint.is_empty() && state.key_fingerprint != keys.fingerprint() {
            return Err(StoreError::KeyChanged);
        }
        let source = Some((state.store_id, state.revision));
        if self.0.snapshot.load().source == source {
            self.0.confirmed.store(Some(requested_at));
            return Ok(());
        }
        // The bindings are read after the revision. They may be newer than it, which only causes
        // another refresh.
        let bindings = bindings::all(&mut tx).await?;
        let imported = imported::all(&mut tx).await?;
        let tsuru_apps = tsuru_apps::all(&mut tx).await?;
        let before = self.0.snapshot.load_full();
        let mut snapshot = BindingSnapshot { source, ..BindingSnapshot::default() };
        let mut prometheus_bindings = PrometheusBindings::default();
        let known: HashSet<_> = prometheus::ids(&mut tx).await?;
        let queues = events::queues::bound(&mut tx).await?;
        for binding in bindings {
            let added = binding.and_then(|binding| {
                let is_prometheus = known.contains(&binding.instance_id);
                let queue = queues.get(&binding.binding_id).copied();
                let kind = BindingKind::new(is_prometheus, queue);
                let options = snapshot.add(&binding, &before, keys, kind)?;
                if let (true, Some(app), Some(options)) =
                    (is_prometheus, &binding.app_guid, options)
                {
                    prometheus_bindings.add(&binding.instance_id, app, &options);
                }
                Ok(())
            });
            if let Err(error) = added {
                tracing::error!(%error, "binding not readable");
            }
        }
        // Imported bindings come last, because bindings of this database take precedence.
        for binding in imported {
            let added = binding.and_then(|it| snapshot.add_imported(&it, &before, keys));
            if let Err(error) = added {
                tracing::error!(%error, "imported binding not readable");
            }
        }
        let prometheus = prometheus_snapshot::read(&mut tx, keys, prometheus_bindings).await?;
        for one in prometheus.values() {
            let scope = Scope::PrometheusTargets(one.instance_id.clone(), one.targets.clone());
            snapshot.scopes.insert(one.scraper_token_hash.clone(), scope);
        }
        snapshot.prometheus = Arc::new(prometheus);
        self.0.snapshot.store(Arc::new(snapshot));
        self.publish(tsuru_apps);
        self.0.confirmed.store(Some(requested_at));
        self.0.changed.send_replace(());
        Ok(())
    }

    fn publish(&self, newest_first: Vec<Result<TsuruApp, StoreError>>) {
        let mut apps = BTreeMap::new();
        for app in newest_first {
            match app {
                Ok(app) => drop(apps.entry(app.name.clone()).or_insert(app)),
                Err(error) => tracing::error!(%error, "hosts of a bound app not readable"),
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

impl BindingSnapshot {
    /// Adds a binding and returns the options of its app. The first binding that is added for an
    /// app is active.
    fn add(
        &mut self,
        binding: &ServiceBinding,
        before: &Self,
        keys: &Keys,
        kind: BindingKind,
    ) -> Result<Option<Arc<ActiveBinding>>, StoreError> {
        let mut added = None;
        // A queue of events does not change how the app is scraped.
        let has_options = !matches!(kind, BindingKind::Events(_));
        if let Some(app) = binding.app_guid.as_ref().filter(|_| has_options) {
            let options = before.decrypt(&binding.binding_id, &binding.parameters, keys)?;
            self.activate(app, &binding.parameters, &options);
            added = Some(options);
        }
        let scope = Scope::of(binding, kind);
        if let Scope::Events(queue) = &scope {
            self.event_queues.push(queue.clone());
        }
        self.scopes.insert(binding.token_hash.clone(), scope);
        Ok(added)
    }

    fn add_imported(
        &mut self,
        binding: &ImportedBinding,
        before: &Self,
        keys: &Keys,
    ) -> Result<(), StoreError> {
        let app = &binding.app_guid;
        let options = before.decrypt(&binding.binding_id, &binding.parameters, keys)?;
        self.activate(app, &binding.parameters, &options);
        self.scopes.insert(binding.token_hash.clone(), Scope::App(app.clone()));
        Ok(())
    }

    fn activate(&mut self, app: &AppGuid, encrypted: &str, options: &Arc<ActiveBinding>) {
        let decrypted = (encrypted.to_owned(), Arc::clone(options));
        self.decrypted.insert(options.binding_id.clone(), decrypted);
        if let Entry::Vacant(free) = self.active.entry(app.clone()) {
            free.insert(Arc::clone(options));
        }
    }

    /// Decrypts the parameters of a binding, unless this snapshot has decrypted the same text.
    ///
    /// Each encryption has a new nonce, so equal texts have equal parameters.
    fn decrypt(
        &self,
        id: &BindingId,
        encrypted: &str,
        keys: &Keys,
    ) -> Result<Arc<ActiveBinding>, StoreError> {
        match self.decrypted.get(id) {
            Some((known, options)) if known == encrypted => Ok(Arc::clone(options)),
            _ => decrypt_binding(id, encrypted, keys),
        }
    }
}

fn decrypt_binding(
    id: &BindingId,
    encrypted: &str,
    keys: &Keys,
) -> Result<Arc<ActiveBinding>, StoreError> {
    let parameters = keys
        .decrypt(AssociatedData::Binding(id.as_str()), encrypted)
        .ok_or_else(|| cannot_decrypt("service_bindings.parameters"))?;
    let options = ScrapeOptions::from_parameters(&parameters).map_err(|error| {
        let problem = error.to_string();
        StoreError::Corrupt { column: "service_bindings.parameters", problem }
    })?;
    Ok(Arc::new(ActiveBinding { binding_id: id.clone(), options }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_belongs_to_the_prometheus_servers_of_its_space() {
        for (queue, prometheus, expected) in [
            ("space-a", "space-a", true),
            ("space-a", "space-b", false),
            ("tsuru:checkout/", "tsuru:checkout/", true),
            ("tsuru:checkout/", "tsuru:checkout/pool-a", true),
            ("tsuru:checkout/pool-a", "tsuru:checkout/", true),
            ("tsuru:checkout/pool-a", "tsuru:checkout/pool-b", false),
            ("tsuru:checkout/", "tsuru:check/pool-a", false),
        ] {
            let queue = EventQueue {
                queue: QueueId::new(1),
                binding_id: "b".parse().unwrap(),
                app_guid: None,
                space_guid: queue.parse().unwrap(),
            };
            assert_eq!(
                queue.is_for(&prometheus.parse().unwrap()),
                expected,
                "{queue:?} {prometheus}"
            );
        }
    }
}
