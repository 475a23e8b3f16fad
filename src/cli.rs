//! The command line. Each subcommand has a module with its arguments, its implementation and its
//! exit codes.

mod backup;
mod check_config;
mod demo;
mod demo_app;
mod event;
mod failure;
mod import_promfetcher;
mod merge;
mod request;
mod sd;
mod serve;
mod setting_flags;

use crate::{
    config::{Config, LogFormat, catalog},
    telemetry,
};
use clap::{Parser, Subcommand};
use failure::Failure;
use setting_flags::SettingFlags;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("SCRAPEBROKER_COMMIT"), ")");

/// Makes Prometheus metrics a service of the platform.
#[derive(Parser)]
#[command(version = VERSION_AND_COMMIT)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the fetch router and the broker
    Serve(serve::Serve),
    /// Run everything embedded: a route table, three app instances, a bound app
    Demo(demo::Arguments),
    /// Print the effective settings, secrets masked, or every mistake; with --promfetcher or --mpp,
    /// print settings converted from those of another program
    CheckConfig(check_config::CheckConfig),
    /// Copy the bindings of promfetcher's database; safe to repeat
    ImportPromfetcher(import_promfetcher::ImportPromfetcher),
    /// Copy the SQLite database, and its generated token key, while the broker runs
    Backup(backup::Backup),
    /// Run one sample app instance on its own, on PORT (default: 8080)
    DemoApp(demo_app::Arguments),
    /// Write the targets of a running installation to a file, for file_sd_configs
    Sd(sd::Sd),
    /// Post an event to a running installation, and repeat failed requests
    Event(event::Event),
    /// Print the built-in catalog, as a start for a catalog of your own (broker.catalog)
    Catalog,
    /// Merge exposition files to standard output, or only check them, without any network
    Merge(merge::Options),
}

#[derive(clap::Args)]
struct ConfigFile {
    /// YAML file with settings
    #[arg(long = "config", value_name = "FILE", env = "SCRAPEBROKER_CONFIG")]
    file: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self, environment: Environment) -> Result<Config, Failure> {
        Config::load(self.file.as_deref(), environment).map_err(Failure::usage)
    }
}

type Environment = BTreeMap<String, String>;

/// Runs the subcommand. If it fails, the error is written to standard error.
pub fn main(arguments: impl Iterator<Item = OsString>, environment: Environment) -> ExitCode {
    let command = match CommandLine::try_parse_from(arguments) {
        Ok(CommandLine { command }) => command,
        Err(error) => {
            // clap also returns help and version as errors. A closed output is not a failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    match run(command, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            let _ = writeln!(io::stderr(), "scrapebroker: {}", telemetry::causes(error.as_ref()));
            ExitCode::from(code)
        }
    }
}

fn run(command: Command, environment: Environment) -> Result<(), Failure> {
    match command {
        Command::Serve(serve) => serve.run(environment),
        Command::Demo(demo) => demo.run(&environment),
        Command::CheckConfig(check) => check.run(environment),
        Command::ImportPromfetcher(import) => import.run(environment),
        Command::Backup(backup) => backup.run(environment),
        Command::DemoApp(app) => app.run(&environment),
        Command::Sd(sd) => sd.run(),
        Command::Event(event) => event.run(&environment),
        Command::Catalog => print(&catalog::BUILT_IN.trim_end()),
        Command::Merge(options) => options.run(),
    }
}

/// Runs `work` on an actix system, which provides `spawn_local`.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(work)
}

fn log(level: &str, format: LogFormat) -> Result<(), Failure> {
    let format = match format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
        LogFormat::Logfmt => telemetry::Format::Logfmt,
    };
    telemetry::init(level, format).map_err(Failure::usage)
}

fn print(text: &dyn Display) -> Result<(), Failure> {
    write_line(text).map_err(Failure::other)
}

/// Writes to standard output. A reader that closed it (`| head`) is not a failure.
fn write_line(text: &dyn Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
