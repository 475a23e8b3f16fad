//! Builds every component with what it needs of the others.

use super::{
    StartError, broker_failure, certificates,
    connections::{ConnectionMetrics, Connections},
    descriptors::Descriptors,
    file_watcher::{FileWatcher, ReloadMetrics, WatchedFiles},
    metrics::{BindingMetrics, RouteMetrics, UpMetric},
    provisioning,
    query_pools::QueryPools,
    route_sources, store_failure,
    tls_handshake::HandshakeFailures,
    warnings,
    web_config::WebConfig,
};
use crate::{
    broker::{Broker, Provisioning},
    config::{self, Config, catalog},
    discovery::{Discovery, RouteTable},
    domain::BaseUrl,
    events::{EventMetrics, Events},
    http::{
        access::{Access, AccessMetrics, Operators, gate::Gate},
        apps::{
            Apps,
            pages::{AppIndexes, AppPages},
        },
        auth::BasicCredentials,
        browser::OwnOrigin,
        doc::Doc,
        events::{EventsParts, EventsState},
        health::Health,
        lifecycle::Lifecycle,
        osb::OsbState,
        overview::Overview,
        own_metrics::OwnMetrics,
        pools::Pools,
        prometheus::Prometheus,
        routes::Routes,
        sd::{Sd, SdMetrics, SdSettings},
        tsuru::{Leftovers, TsuruState},
    },
    net::{ConnectionLimiter, ConnectionLimiterMetrics, Resolver},
    provisioner::{Lease, process},
    query::{Pool, PrometheusClient, ServerStates, Summaries},
    scrape::{self, Exporters, MemoryBudget, MemoryBudgetMetrics, ScrapeHistory, Scrapes},
    store::Store,
    telemetry::metrics,
    tls,
    tsuru::TsuruApi,
};
use actix_web::web;
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Interval at which data of deleted apps is removed.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// Timeout for the end of loops and the closing of the database after requests were aborted.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// The same for the reconciler: Prometheus servers that do not end get SIGKILL after 8 seconds.
const RECONCILER_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval at which expired events are removed.
const EVENTS_SWEEP: Duration = Duration::from_secs(10);

/// Interval at which changes of other replicas are read.
const BINDINGS_REFRESH: Duration = Duration::from_millis(500);

/// The components that live as long as the program.
pub(super) struct Components {
    store: Store,
    pub(super) broker: Broker,
    pub(super) discovery: Discovery,
    pub(super) lifecycle: Lifecycle,
    pub(super) connections: Connections,
    pub(super) outgoing: ConnectionLimiter,
    pub(super) server_states: ServerStates,
    query_pools: QueryPools,
    events: Events,
    started: Instant,
    scrape_metrics: Arc<scrape::ScrapeMetrics>,
    last: Arc<ScrapeHistory>,
    budget: MemoryBudget,
    exporters: Exporters,
    access: Access,
    pub(super) web_config: WebConfig,
    process_metrics: process::ProcessMetrics,
    own_metrics: OwnMetrics,
    sd_metrics: SdMetrics,
    /// The URL at which provisioned Prometheus servers reach this program; set once it listens.
    scrape_url: Arc<OnceLock<BaseUrl>>,
    pub(super) backends: tls::ClientTls,
    /// Verifies provisioned Prometheus servers that are reached over TLS.
    pub(super) servers: Arc<tls::ClientConfig>,
    /// Its threads serve no requests.
    pub(super) resolver: Resolver,
    pub(super) listener: Option<tls::ListenerTls>,
    /// All files that are applied again when they change, except for routes.
    pub(super) watchers: Vec<FileWatcher>,
    pub(super) reload_metrics: ReloadMetrics,
    pub(super) handshake_failures: HandshakeFailures,
    warning: Option<&'static str>,
    tsuru_api: Option<TsuruApi>,
    /// Notifies the reconciler of new operations.
    operations_changed: Arc<Notify>,
    lease: Lease,
    /// Whether a reloaded catalog may offer a Prometheus.
    pub(super) may_offer_prometheus: bool,
    loops: TaskTracker,
    /// Runs the reconciler, whose end takes longest.
    reconciler: TaskTracker,
    shutdown: CancellationToken,
}

/// Data of the handlers, shared by all workers.
#[derive(Clone)]
pub(super) struct HttpData {
    pub(super) apps: web::Data<Apps>,
    pub(super) app_pages: web::Data<AppPages>,
    pub(super) health: web::Data<Health>,
    pub(super) overview: web::Data<Overview>,
    pub(super) doc: web::Data<Doc>,
    pub(super) own_metrics: OwnMetrics,
    pub(super) osb: web::Data<OsbState>,
    pub(super) tsuru: web::Data<TsuruState>,
    pub(super) leftovers: web::Data<Leftovers>,
    pub(super) routes: web::Data<Routes>,
    pub(super) sd: web::Data<Sd>,
    pub(super) access: web::Data<Access>,
    pub(super) own_origin: web::Data<OwnOrigin>,
    pub(super) prometheus: web::Data<Prometheus>,
    pub(super) pools: web::Data<Pools>,
    pub(super) events: web::Data<EventsState>,
}

impl Components {
    pub(super) async fn open(
        config: &Config,
        descriptors: Descriptors,
    ) -> Result<Self, StartError> {
        let catalog = catalog::read(config.broker.catalog.as_deref(), &config.base_url)
            .map_err(|error| StartError::Configuration(error.into()))?;
        let (backends, backend_files) =
            certificates::backends(config).map_err(certificates::failure)?;
        let listener = certificates::listener(config).map_err(certificates::failure)?;
        let (listener, listener_files) = listener.unzip();
        // Their certificates are signed by the system's CAs.
        let servers = tls::ClientSettings::default().config().map_err(certificates::failure)?;
        let resolver = Resolver::new(tokio::runtime::Handle::current());
        warnings::log(config);
        let store = Store::open(&config.database_url, config.database.max_connections)
            .await
            .map_err(store_failure)?;
        let broker = Broker::open(store.clone(), config.broker.token_key.as_ref(), catalog.clone())
            .await
            .map_err(broker_failure)?;
        broker.adopt_unknown_instances(config.broker.adopt_unknown_instances);

        let (lease, may_offer_prometheus) = provisioning::claim(config, &store, &catalog).await?;
        let operations_changed = Arc::new(Notify::new());
        if config.prometheus.provisioner != config::Provisioner::None {
            let provisioning = Provisioning {
                max_instances: config.prometheus.max_instances,
                max_instances_per_space: config.prometheus.max_instances_per_space,
                policy: provisioning::policy(config, resolver.clone()),
                operations_changed: Arc::clone(&operations_changed),
            };
            broker.enable_provisioning(provisioning, catalog);
        }

        let (shutdown, loops) = (CancellationToken::new(), TaskTracker::new());
        let bound_on_tsuru = broker.binding_table().watch_tsuru_apps();
        let tsuru_api = route_sources::tsuru_api(&config.routes)?;
        let sources = route_sources::sources(&config.routes, tsuru_api.clone(), bound_on_tsuru)?;
        let discovery = Discovery::start(config.routes.settings, sources, &shutdown);
        loops.spawn_local(warnings::log_first_table(discovery.table.clone(), shutdown.clone()));
        loops.spawn_local(broker.clone().keep_current(BINDINGS_REFRESH, shutdown.clone()));

        let mut registry = metrics::registry();
        let server_states = ServerStates::register(&mut registry);
        let (query_pools, pool_files) = QueryPools::open(config, &mut registry)?;
        let certificates = [("backends".to_owned(), backend_files)];
        let certificates = listener_files
            .map(|files| ("tls".to_owned(), files))
            .into_iter()
            .chain(certificates)
            .chain(pool_files)
            .map(|(section, files)| WatchedFiles::certificates(section, files));
        let scrape_metrics = Arc::new(scrape::ScrapeMetrics::register(
            &mut registry,
            config.telemetry.promfetcher_names,
        ));
        let budget = MemoryBudget::new(
            config.scrape.max_memory,
            MemoryBudgetMetrics::register(&mut registry),
        );
        let exporters =
            Exporters::new(config.external_exporters.iter().cloned(), Arc::clone(&scrape_metrics));
        let metrics = ConnectionMetrics::register(&mut registry);
        let connections = Connections::new(descriptors.incoming, metrics);
        let metrics = ConnectionLimiterMetrics::register(&mut registry);
        let outgoing = ConnectionLimiter::new(descriptors.outgoing, metrics);
        let servers = Arc::new(servers);
        let client = PrometheusClient::new(
            Arc::clone(&servers),
            resolver.clone(),
            outgoing.clone(),
            server_states.clone(),
        );
        let table = broker.binding_table();
        query_pools.start(&client, &table, &config.base_url, &loops, &shutdown)?;
        let access = access(config, &broker, AccessMetrics::register(&mut registry));
        let gate = Gate::new(
            config.web_file.as_ref().map(|file| file.gate.clone()).unwrap_or_default(),
            access.clone(),
            tokio::runtime::Handle::current(),
            &mut registry,
        );
        let (web_config, web_files) = WebConfig::open(config, gate)?;
        let reload_metrics = ReloadMetrics::register(&mut registry);
        let handshake_failures = HandshakeFailures::register(&mut registry);
        let watchers = web_files
            .into_iter()
            .chain(certificates)
            .map(|files| FileWatcher::start(files, &reload_metrics, &loops, &shutdown))
            .collect();
        let metrics = EventMetrics::register(&mut registry);
        let events = Events::open(store.clone(), config.events.settings.clone(), metrics);
        let events = events.await.map_err(store_failure)?;
        loops.spawn_local(events.clone().write(shutdown.clone()));
        loops.spawn_local(events.clone().resolve_deliveries(shutdown.clone()));
        loops.spawn_local(events.clone().sweep(EVENTS_SWEEP, shutdown.clone()));
        let process_metrics = process::ProcessMetrics::register(&mut registry);
        let sd_metrics = SdMetrics::register(&mut registry);
        let table = discovery.table.clone();
        let promfetcher_names = config.telemetry.promfetcher_names;
        RouteMetrics { table, promfetcher_names }.register(&mut registry);
        let (table, bound) = (discovery.table.clone(), broker.binding_table());
        let stale_after = config.routes.settings.stale_after;
        UpMetric { table, bound, stale_after }.register(&mut registry);
        BindingMetrics::register(&mut registry, broker.binding_table());
        let last = Arc::new(ScrapeHistory::default());
        loops.spawn_local(prune_metrics_and_history(
            discovery.table.clone(),
            Arc::clone(&scrape_metrics),
            Arc::clone(&last),
            shutdown.clone(),
        ));
        Ok(Self {
            store,
            broker,
            discovery,
            lifecycle: Lifecycle::default(),
            connections,
            outgoing,
            server_states,
            query_pools,
            events,
            started: Instant::now(),
            scrape_metrics,
            last,
            budget,
            exporters,
            access,
            web_config,
            process_metrics,
            own_metrics: OwnMetrics::new(
                registry,
                config.telemetry.path.clone(),
                config.telemetry.namespace.clone(),
            ),
            sd_metrics,
            scrape_url: Arc::default(),
            backends,
            servers,
            resolver,
            listener,
            watchers,
            reload_metrics,
            handshake_failures,
            warning: warnings::not_durable(config),
            tsuru_api,
            operations_changed,
            lease,
            may_offer_prometheus,
            loops,
            reconciler: TaskTracker::new(),
            shutdown,
        })
    }

    pub(super) fn data(&self, config: &Config) -> HttpData {
        let apps = Apps {
            table: self.discovery.table.clone(),
            bound: self.broker.binding_table(),
            keep: config.routes.settings.keep,
            access: self.access.clone(),
            scrapes: Scrapes {
                limits: config.scrape.limits,
                metrics: Arc::clone(&self.scrape_metrics),
                history: Arc::clone(&self.last),
                budget: self.budget.clone(),
            },
            timeouts: config.scrape.timeouts,
            series_when_all_failed: config.scrape.series_when_all_failed,
            own_id: uuid::Uuid::new_v4().to_string(),
            scheme: config.base_url.scheme(),
            exporters: self.exporters.clone(),
        };
        let overview = Overview {
            base_url: config.base_url.clone(),
            lifecycle: self.lifecycle.clone(),
            table: self.discovery.table.clone(),
            access: self.access.clone(),
            broker: self.broker.clone(),
            bound: self.broker.binding_table(),
            last: Arc::clone(&self.last),
            pools: self.query_pools.pools.clone(),
            events: self.events.clone(),
            provisioner: config.prometheus.provisioner.as_str(),
            started: self.started,
            warning: self.warning,
            metrics_path: config.telemetry.path.clone(),
        };
        let sd = Sd::new(SdSettings {
            table: self.discovery.table.clone(),
            bound: self.broker.binding_table(),
            access: self.access.clone(),
            keep: config.routes.settings.keep,
            base_url: config.base_url.clone(),
            own_base_url: Arc::clone(&self.scrape_url),
            metrics: self.sd_metrics.clone(),
        });
        HttpData {
            sd: web::Data::new(sd),
            apps: web::Data::new(apps),
            app_pages: web::Data::new(AppPages {
                base_url: config.base_url.clone(),
                indexes: AppIndexes::default(),
            }),
            health: web::Data::new(self.health()),
            overview: web::Data::new(overview),
            doc: web::Data::new(Doc {
                base_url: config.base_url.clone(),
                access: self.access.clone(),
                metrics_path: config.telemetry.path.clone(),
            }),
            own_metrics: self.own_metrics.clone(),
            osb: web::Data::new(OsbState {
                broker: self.broker.clone(),
                credentials: credentials(config),
                base_url: config.base_url.clone(),
            }),
            tsuru: web::Data::new(TsuruState {
                broker: self.broker.clone(),
                credentials: credentials(config),
                base_url: config.base_url.clone(),
                api: self.tsuru_api.clone(),
                calls_without_event_id: config.broker.tsuru_calls_without_event_id,
                table: self.discovery.table.clone(),
                last: Arc::clone(&self.last),
                pools: self.query_pools.instance_pools.clone(),
            }),
            leftovers: web::Data::new(Leftovers {
                broker: self.broker.clone(),
                api: self.tsuru_api.clone(),
                access: self.access.clone(),
            }),
            access: web::Data::new(self.access.clone()),
            own_origin: web::Data::new(OwnOrigin::of(config.base_url.clone())),
            prometheus: web::Data::new(Prometheus {
                bound: self.broker.binding_table(),
                catalog: self.broker.clone(),
                access: self.access.clone(),
                base_url: config.base_url.clone(),
                table: self.discovery.table.clone(),
                last: Arc::clone(&self.last),
                pools: self.query_pools.instance_pools.clone(),
                summaries: Summaries::default(),
                stored_sizes: provisioning::stored_sizes(config),
            }),
            pools: web::Data::new(self.pools(config)),
            events: web::Data::new(EventsState::new(EventsParts {
                events: self.events.clone(),
                access: self.access.clone(),
                identity: config.events.identity.clone(),
                lifecycle: self.lifecycle.clone(),
                table: self.discovery.table.clone(),
                bound: self.broker.binding_table(),
                base_url: config.base_url.clone(),
            })),
            routes: web::Data::new(Routes {
                table: self.discovery.table.clone(),
                access: self.access.clone(),
            }),
        }
    }

    fn pools(&self, config: &Config) -> Pools {
        let QueryPools { pools, metrics, .. } = self.query_pools.clone();
        let is_default =
            |pool: &&Pool| Some(&pool.settings().name) == config.query.default_pool.as_ref();
        Pools {
            default: pools.iter().find(is_default).cloned(),
            pools,
            operators_only: config.query.operators_only,
            has_tls: config.has_tls(),
            base_url: config.base_url.clone(),
            access: self.access.clone(),
            lifecycle: self.lifecycle.clone(),
            metrics,
            started: self.started,
        }
    }

    pub(super) fn access(&self) -> Access {
        self.access.clone()
    }

    pub(super) fn health(&self) -> Health {
        Health {
            lifecycle: self.lifecycle.clone(),
            table: self.discovery.table.clone(),
            warning: self.warning,
        }
    }

    /// Starts the reconciler, now that this machine reaches the main listener at `address`.
    pub(super) fn start_reconciler(&self, config: &Config, address: SocketAddr) {
        // It is set only here.
        let _ = self.scrape_url.set(provisioning::own_address(config, address).scrape_url);
        let (keys, operations_changed) = (self.broker.keys(), Arc::clone(&self.operations_changed));
        let provisioner = provisioning::provisioner(
            config,
            self.process_metrics.clone(),
            self.tsuru_api.as_ref(),
            Arc::clone(&self.servers),
        );
        let lease = self.lease.clone();
        let reconciler =
            provisioning::reconciler(config, address, lease, keys, operations_changed, provisioner);
        self.reconciler.spawn_local(reconciler.run(self.shutdown.clone()));
    }

    /// Closes connections of the listeners that are idle for too long.
    pub(super) fn watch_connections(&self) {
        self.loops.spawn_local(self.connections.clone().end_idle(self.shutdown.clone()));
    }

    /// Ends the loops, then closes the database.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.reconciler.close();
        self.reconciler.wait().await;
        self.loops.close();
        self.loops.wait().await;
        self.discovery.stopped().await;
        self.store.close().await;
    }

    /// The same after requests were aborted, which may still hold connections of the database.
    /// Prometheus servers get their time to end, because they write their newest samples then.
    pub(super) async fn stop_after_abort(self) {
        self.shutdown.cancel();
        self.reconciler.close();
        // What is not done within the timeouts is not needed for the data.
        let _ = timeout(RECONCILER_STOP_TIMEOUT, self.reconciler.wait()).await;
        let _ = timeout(STOP_TIMEOUT, self.stop()).await;
    }
}

fn credentials(config: &Config) -> Option<BasicCredentials> {
    let credentials = config.broker.credentials.as_ref();
    credentials.map(|it| BasicCredentials::new(&it.username, &it.password))
}

fn access(config: &Config, broker: &Broker, metrics: AccessMetrics) -> Access {
    let operators = Operators::new(config.operators.clone(), tokio::runtime::Handle::current());
    operators.measure();
    Access::new(
        config.scrape.token_required,
        broker.binding_table(),
        credentials(config),
        operators,
        metrics,
    )
}

/// Series and last scrapes of apps that left the table go.
async fn prune_metrics_and_history(
    table: RouteTable,
    metrics: Arc<scrape::ScrapeMetrics>,
    last: Arc<ScrapeHistory>,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let snapshot = table.snapshot();
        metrics.prune(&snapshot);
        last.prune(&snapshot);
    }
}
