//! Flags that set keys of the configuration. They have the names that exporters use.

use crate::config::Flags;

/// They take precedence over variables and the file.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SettingFlags {
    /// Address and port of the main listener; may be repeated [key: listen]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    listen_addresses: Vec<String>,
    /// Port of the first address of the main listener [key: listen]
    #[arg(long = "web.listen-port", value_name = "PORT")]
    listen_port: Option<String>,
    /// Path of Scrapebroker's own metrics [key: telemetry.path]
    #[arg(long = "web.telemetry-path", value_name = "PATH")]
    telemetry_path: Option<String>,
    /// Prefix of the names of Scrapebroker's own metrics [key: telemetry.namespace]
    #[arg(long = "metric.namespace", value_name = "PREFIX")]
    namespace: Option<String>,
    /// TLS, users, headers and a rate limit in the format of exporter-toolkit [key: web_config_file]
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<String>,
    /// Use the sockets that systemd passes for the main listener [key: systemd_socket]
    #[arg(
        long = "web.systemd-socket",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    systemd_socket: Option<bool>,
    /// Least severe level that is logged [key: log.level]
    #[arg(long = "log.level", value_name = "LEVEL")]
    log_level: Option<String>,
    /// Format of the log: text, json or logfmt [key: log.format]
    #[arg(long = "log.format", value_name = "FORMAT")]
    log_format: Option<String>,
}

impl From<SettingFlags> for Flags {
    fn from(flags: SettingFlags) -> Self {
        Self {
            listen_addresses: flags.listen_addresses,
            listen_port: flags.listen_port,
            telemetry_path: flags.telemetry_path,
            namespace: flags.namespace,
            web_config_file: flags.web_config_file,
            systemd_socket: flags.systemd_socket,
            log_level: flags.log_level,
            log_format: flags.log_format,
        }
    }
}
