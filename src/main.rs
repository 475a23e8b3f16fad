//! The program: command line, environment, exit codes. Everything else is in
//! the library.

use clap::{Parser, Subcommand};
use exposition::{Escaping, Format};
use futures_util::StreamExt;
use scrapebroker::{
    COMMIT, VERSION,
    broker::{self, Backup, BackupError},
    config::{Config, LogFormat, catalog, promfetcher},
    demo::{Demo, DemoError},
    demo_app::{DemoApp, Options},
    domain::{BasicAuth, MetricsPath},
    merge_files::{self, Arguments, MergeError},
    sd_export::{self, Export, ExportError},
    shutdown,
    startup::{Application, Reloader, StartError, check_certificates, import_promfetcher},
    store::StoreError,
    telemetry,
};
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Bodies come and go by the hundred, megabytes each; with the system's allocator each thread
/// keeps the holes that they leave.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Makes Prometheus metrics a service of the platform.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the fetch router and the broker
    Serve {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Run everything embedded: a route table, three app instances, a bound app
    Demo {
        /// Where to listen [default: 127.0.0.1:8085, or a free port]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Print the settings in force, secrets masked, or every mistake; with --promfetcher, print
    /// settings and catalog made of promfetcher's
    CheckConfig {
        #[command(flatten)]
        config: ConfigFile,
        /// promfetcher's configuration, to make ours of it; secrets are printed as they are
        #[arg(long, value_name = "FILE")]
        promfetcher: Option<PathBuf>,
        /// Where to write the catalog [default: printed behind the settings, as a second document]
        #[arg(long, value_name = "FILE", requires = "promfetcher")]
        catalog: Option<PathBuf>,
    },
    /// Copy the bindings of promfetcher's database; safe to repeat
    ImportPromfetcher {
        #[command(flatten)]
        config: ConfigFile,
        /// promfetcher's db_conn: sqlite://…, mysql://… or postgres://…
        #[arg(
            long,
            value_name = "DATABASE_URL",
            env = "SCRAPEBROKER_IMPORT_FROM",
            hide_env_values = true
        )]
        from: String,
    },
    /// Copy the SQLite database, and its generated token key, while the broker runs
    Backup {
        #[command(flatten)]
        config: ConfigFile,
        /// Where the copy goes; the key goes beside it, with .token-key at the end of its name
        #[arg(value_name = "FILE")]
        copy: PathBuf,
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
    /// Write the targets of a running installation to a file, for file_sd_configs
    Sd {
        /// That of /sd, as in https://scrapebroker.example.com/sd?mode=direct
        #[arg(long, value_name = "URL")]
        url: String,
        /// Holds a token, or USER:PASSWORD of an operator
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// The file; it is exchanged whole, and stays as it is when there is no answer
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the built-in catalog, to make another one of it for broker.catalog
    Catalog,
    /// Merge exposition files to standard output, or only check them, without any network
    Merge(MergeOptions),
}

#[derive(clap::Args)]
struct MergeOptions {
    /// What is written: text, text-1.0.0, openmetrics-0.0.1, openmetrics or protobuf
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Text004)]
    to: Format,
    /// What the files are [default: told from the content of each]
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// How names are written that old readers do not know: allow-utf-8, underscores, dots or
    /// values [default: allow-utf-8 where the format can have them, else underscores]
    #[arg(long, value_name = "SCHEME", value_parser = escaping)]
    escaping: Option<Escaping>,
    /// Write no exposition, but each problem as FILE:LINE: REASON, and what a merge would mend
    #[arg(long)]
    check: bool,
    /// A label for the samples of all files
    #[arg(long = "label", value_name = "K=V")]
    labels: Vec<String>,
    /// Files to merge, in this order; `-` is standard input; each may have labels of its own
    #[arg(required = true, value_name = "FILE[:K=V,K=V]")]
    files: Vec<OsString>,
}

fn escaping(name: &str) -> Result<Escaping, &'static str> {
    Escaping::of_parameter(name).ok_or("not one of allow-utf-8, underscores, dots, values")
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
            let _ = writeln!(io::stderr(), "scrapebroker: {}", telemetry::causes(error.as_ref()));
            ExitCode::from(code)
        }
    }
}

fn run(command: Command, environment: BTreeMap<String, String>) -> Result<(), Failure> {
    match command {
        Command::Serve { config: ConfigFile { file } } => {
            let config = Config::load(file.as_deref(), environment);
            let config = config.map_err(Failure::usage)?;
            log(&config.log.level, config.log.format)?;
            actix_web::rt::System::new().block_on(serve(config, file))
        }
        Command::Demo { listen } => {
            log("warn", LogFormat::Text)?;
            actix_web::rt::System::new().block_on(demo(listen))
        }
        Command::CheckConfig { promfetcher: Some(file), catalog, .. } => convert(&file, catalog),
        Command::CheckConfig { config, .. } => check_config(config, environment),
        Command::ImportPromfetcher { config, from } => {
            let config = Config::load(config.file.as_deref(), environment);
            let config = config.map_err(Failure::usage)?;
            log("warn", config.log.format)?;
            actix_web::rt::System::new().block_on(import(config, from.into()))
        }
        Command::Backup { config, copy } => {
            let config = Config::load(config.file.as_deref(), environment);
            let config = config.map_err(Failure::usage)?;
            log("warn", LogFormat::Text)?;
            actix_web::rt::System::new().block_on(backup(config, &copy))
        }
        Command::DemoApp { path, basic_auth } => {
            actix_web::rt::System::new().block_on(demo_app(path, basic_auth, &environment))
        }
        Command::Sd { url, token_file, out } => {
            log("warn", LogFormat::Text)?;
            actix_web::rt::System::new().block_on(sd(Export { url, token_file, out }))
        }
        Command::Catalog => print(&catalog::BUILT_IN.trim_end()),
        Command::Merge(options) => merge(options),
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
    let (config, effective) = loaded.map_err(Failure::usage)?;
    catalog::read(config.broker.catalog.as_deref(), &config.base_url).map_err(Failure::usage)?;
    check_certificates(&config).map_err(Failure::usage)?;
    print(&effective)
}

fn convert(file: &Path, catalog: Option<PathBuf>) -> Result<(), Failure> {
    let converted = promfetcher::convert(file, catalog.as_deref()).map_err(Failure::usage)?;
    let Some(path) = catalog else {
        return print(&format_args!("{}\n---\n{}", converted.settings, converted.catalog));
    };
    std::fs::write(&path, format!("{}\n", converted.catalog)).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Failure::other(anyhow::Error::from(error).context(what))
    })?;
    print(&converted.settings)
}

async fn import(config: Config, from: SecretString) -> Result<(), Failure> {
    let import = import_promfetcher(config, from).await.map_err(start_failure)?;
    print(&import)?;
    match import.left_out.is_empty() {
        true => Ok(()),
        false => Err(Failure::other(anyhow::anyhow!(
            "{} bindings could not be imported",
            import.left_out.len()
        ))),
    }
}

async fn sd(export: Export) -> Result<(), Failure> {
    let failure = |error: ExportError| match (error.is_usage(), error.is_unavailable()) {
        (true, _) => Failure::usage(error),
        (_, true) => Failure::unavailable(error),
        _ => Failure::other(error),
    };
    let targets = sd_export::export(&export).await.map_err(failure)?;
    print(&format_args!("{targets} targets in {}", export.out.display()))
}

fn merge(options: MergeOptions) -> Result<(), Failure> {
    let failure = |error: MergeError| match error.is_usage() {
        true => Failure::usage(error),
        false => Failure::other(error),
    };
    let MergeOptions { to, from, escaping, check, labels, files } = options;
    let arguments = Arguments::parse(labels, files)
        .and_then(|arguments| arguments.read_as(from).written_as(to, escaping))
        .map_err(failure)?;
    let mut out = io::stdout().lock();
    let done = match check {
        true => merge_files::check(&arguments, &mut out),
        false => merge_files::merge(&arguments, &mut out).map(|merged| {
            for line in merged.repeated {
                eprintln!("warning: {line}, and left out");
            }
        }),
    };
    match done {
        // A reader that has seen enough (`| head`) is no failure.
        Err(MergeError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(failure),
    }
}

fn log(level: &str, format: LogFormat) -> Result<(), Failure> {
    let format = match format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::init(level, format).map_err(Failure::usage)
}

async fn serve(config: Config, file: Option<PathBuf>) -> Result<(), Failure> {
    // Before anybody is told that we run, so that a signal is never missed.
    let mut stops = pin!(shutdown::requested().map_err(Failure::other)?);
    let hangup = signal(SignalKind::hangup()).map_err(Failure::other)?;
    let database = config.shown_database_url();
    let application = tokio::select! {
        built = Application::build(config) => built.map_err(start_failure)?,
        // Perhaps it waits for the database; nobody waits for us yet.
        _ = stops.next() => return Ok(()),
    };
    tracing::info!(
        address = %application.address(),
        health_address = application.health_address().map(tracing::field::display),
        version = VERSION,
        commit = COMMIT,
        configuration = file.as_deref().map(|file| tracing::field::display(file.display())),
        database,
        "listening"
    );
    actix_web::rt::spawn(reload_on(hangup, application.reloader()));
    application.run_until(stops).await.map_err(Failure::other)
}

async fn reload_on(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        reloader.reload();
    }
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Configuration(error) => Failure::usage(error),
        StartError::Unavailable(error) => Failure::unavailable(error),
    }
}

async fn backup(config: Config, copy: &Path) -> Result<(), Failure> {
    let key = config.broker.token_key.as_ref();
    let done = broker::backup(&config.database_url, key, copy).await;
    let Backup { database, token_key } = done.map_err(|error| match error {
        BackupError::Store(StoreError::Unavailable { .. }) => Failure::unavailable(error),
        BackupError::NotSqlite | BackupError::OtherKey | BackupError::TokenKey(_) => {
            Failure::usage(error)
        }
        error => Failure::other(error),
    })?;
    let database = database.display();
    match token_key {
        Some(key) => print(&format_args!("{database}\n{}", key.display())),
        None => print(&format_args!(
            "{database}\nIts secrets need the broker.token_key of this configuration: keep it, too."
        )),
    }
}

async fn demo(listen: Option<SocketAddr>) -> Result<(), Failure> {
    let failure = |error| match error {
        DemoError::Start(error) => start_failure(error),
        DemoError::Other(error) => Failure::other(error),
    };
    let stops = shutdown::requested().map_err(Failure::other)?;
    let demo = Demo::build(listen).await.map_err(failure)?;
    demo.run_until(stops, |tour| write_line(tour)).await.map_err(failure)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &dyn std::fmt::Display) -> Result<(), Failure> {
    write_line(text).map_err(Failure::other)
}

fn write_line(text: &dyn std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
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
    let stops = shutdown::requested().map_err(Failure::other)?;
    let metrics = options.path.to_string();
    let app = DemoApp::bind(listen, options).map_err(|error| {
        Failure::unavailable(
            anyhow::Error::from(error)
                .context(format!("cannot listen on {listen}; set PORT to another port")),
        )
    })?;
    print(&format_args!("demo app on http://{}, its metrics at {metrics}", app.address()))?;
    let stop = async {
        pin!(stops).next().await;
    };
    app.run_until(stop).await.map_err(Failure::other)
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
