//! `scrapebroker serve`: the server.

use super::{ConfigFile, Environment, SettingFlags, block_on, failure::Failure, log};
use crate::{
    COMMIT, VERSION,
    app::{Application, Reloader, passed_sockets, signals},
    config::Config,
    domain::BaseUrl,
};
use futures_util::StreamExt;
use std::{net::TcpListener, path::PathBuf, pin::pin};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::field;

#[derive(clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    flags: SettingFlags,
}

impl Serve {
    pub(super) fn run(self, environment: Environment) -> Result<(), Failure> {
        let file = self.config.file.as_deref();
        let loaded = Config::load_effective(file, environment.clone(), &self.flags.into());
        let (mut config, effective) = loaded.map_err(Failure::usage)?;
        log(&config.log.level, config.log.format)?;
        let sockets = match config.systemd_socket {
            true => passed_sockets::take(&environment)?,
            false => Vec::new(),
        };
        if let Some(socket) = sockets.first()
            && effective.is_default("base_url")
        {
            // Its default is derived from `listen`, which is not used.
            let port = socket.local_addr().map_err(Failure::other)?.port();
            config.base_url = BaseUrl::of_localhost(config.has_tls(), port);
        }
        block_on(serve(config, sockets, self.config.file))
    }
}

async fn serve(
    config: Config,
    sockets: Vec<TcpListener>,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    // Registered before the listeners are opened, so that no signal is lost.
    let mut stops = pin!(signals::stops().map_err(Failure::other)?);
    let hangup = signal(SignalKind::hangup()).map_err(Failure::other)?;
    let database = config.database_url.to_string();
    let (tls, http2) = (config.has_tls(), config.has_http2());
    let gate = config.web_file.as_ref().map(|file| file.gate.clone()).unwrap_or_default();
    let application = tokio::select! {
        built = Application::build_on(config, sockets) => built?,
        // During startup no request is served. Opening the database may take long.
        _ = stops.next() => return Ok(()),
    };
    let all: Vec<_> = application.addresses().iter().map(ToString::to_string).collect();
    tracing::info!(
        address = %application.address(),
        addresses = (all.len() > 1).then(|| field::display(all.join(", "))),
        health_address = application.health_address().map(field::display),
        query_address = application.query_address().map(field::display),
        events_address = application.events_address().map(field::display),
        tls,
        http2,
        users = gate.users.len(),
        rate_limit = gate.rate_limit.map(field::display),
        version = VERSION,
        commit = COMMIT,
        configuration = file.as_deref().map(|file| field::display(file.display())),
        database,
        "listening"
    );
    actix_web::rt::spawn(reload_on(hangup, application.reloader()));
    application.run_until(stops).await.map_err(Failure::other)
}

async fn reload_on(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        // An error is in the log.
        let _ = reloader.reload().await;
    }
}
