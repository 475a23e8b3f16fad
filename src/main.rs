//! The program: command line, environment, exit codes. Everything else is in
//! the library.

use clap::{Parser, Subcommand};
use scrapebroker::{
    config::Config,
    demo_app::{DemoApp, Options},
    domain::{BasicAuth, MetricsPath},
};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};

/// Makes Prometheus metrics a service of the platform.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the settings in force, secrets masked, or every mistake
    CheckConfig {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Run one sample app instance on its own, on PORT (8080 when not set)
    DemoApp {
        /// Where its metrics are
        #[arg(long, value_name = "P", default_value = "/metrics")]
        path: MetricsPath,
        /// Who may read its metrics
        // Taken apart by us: clap would show a wrong value.
        #[arg(long, value_name = "U:P")]
        basic_auth: Option<String>,
    },
}

#[derive(clap::Args)]
struct ConfigFile {
    /// YAML file with settings
    #[arg(long = "config", value_name = "FILE", env = "SCRAPEBROKER_CONFIG")]
    file: Option<PathBuf>,
}

/// Why the program stops before it was asked to.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The settings or the command line are wrong; starting again does not help (`EX_USAGE`).
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 64, error: error.into() }
    }

    /// Something that we need is not there (`EX_UNAVAILABLE`).
    fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 69, error: error.into() }
    }

    /// Anything else.
    fn other(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 1, error: error.into() }
    }
}

fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(CommandLine { command }) => command,
        Err(error) => {
            // Help and version come this way too. A reader that has gone away misses nothing.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match run(command, environment()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            let _ = writeln!(io::stderr(), "scrapebroker: {error:#}");
            ExitCode::from(code)
        }
    }
}

fn run(command: Command, environment: BTreeMap<String, String>) -> Result<(), Failure> {
    match command {
        Command::CheckConfig { config } => check_config(config, environment),
        Command::DemoApp { path, basic_auth } => {
            actix_web::rt::System::new().block_on(demo_app(path, basic_auth, &environment))
        }
    }
}

/// The environment, once and whole. A variable that is no text is none of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn check_config(config: ConfigFile, environment: BTreeMap<String, String>) -> Result<(), Failure> {
    let loaded = Config::load_effective(config.file.as_deref(), environment);
    let (_, effective) = loaded.map_err(Failure::usage)?;
    print(&effective)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &dyn std::fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        _ => Ok(()),
    }
}

async fn demo_app(
    path: MetricsPath,
    basic_auth: Option<String>,
    environment: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let number = |name: &str, default: u16| match environment.get(name).map(|text| text.trim()) {
        None | Some("") => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Failure::usage(anyhow::anyhow!("{name} is not a number from 0 to 65535"))),
    };
    let listen = SocketAddr::from(([0, 0, 0, 0], number("PORT", 8080)?));
    let index = number("CF_INSTANCE_INDEX", 0)?.into();
    let options = Options { path, basic_auth: basic_auth.map(credentials).transpose()?, index };
    // Before anybody is told that we run, so that a signal is never missed.
    let shutdown = shutdown_signal().map_err(Failure::other)?;
    let metrics = options.path.to_string();
    let app = DemoApp::bind(listen, options).map_err(|error| {
        Failure::unavailable(
            anyhow::Error::from(error)
                .context(format!("cannot listen on {listen}; set PORT to another port")),
        )
    })?;
    print(&format_args!("demo app on http://{}, its metrics at {metrics}", app.address()))?;
    app.run_until(shutdown).await.map_err(Failure::other)
}

fn credentials(text: String) -> Result<BasicAuth, Failure> {
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() => {
            Ok(BasicAuth { username: username.to_owned(), password: password.into() })
        }
        _ => Err(Failure::usage(anyhow::anyhow!(
            "--basic-auth must be a user name, a colon and a password"
        ))),
    }
}

/// Resolves on SIGTERM and SIGINT.
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
