//! Flags of the command line that set keys. They have the names that exporters use.

use super::{
    Mistakes,
    platform::Port,
    sources::{self, Table},
    values::number,
};
use ::config::{Value, ValueKind};

/// Values of flags. An empty value counts as not set, as in a variable.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--web.listen-address`
    pub listen_addresses: Vec<String>,
    /// `--web.listen-port`
    pub listen_port: Option<String>,
    /// `--web.telemetry-path`
    pub telemetry_path: Option<String>,
    /// `--metric.namespace`
    pub namespace: Option<String>,
    /// `--web.config.file`
    pub web_config_file: Option<String>,
    /// `--web.systemd-socket`
    pub systemd_socket: Option<bool>,
    /// `--log.level`
    pub log_level: Option<String>,
    /// `--log.format`
    pub log_format: Option<String>,
}

const LISTEN_ADDRESS: &str = "--web.listen-address";
const LISTEN_PORT: &str = "--web.listen-port";

impl Flags {
    /// Overrides `table` with the flags.
    pub(super) fn merge_into(&self, table: &mut Table) {
        let addresses: Vec<Value> = self.listen_addresses().map(Value::from).collect();
        match &*addresses {
            [] => {}
            [one] => set(table, LISTEN_ADDRESS, &["listen"], one.kind.clone()),
            _ => set(table, LISTEN_ADDRESS, &["listen"], ValueKind::Array(addresses)),
        }
        for (flag, path, value) in [
            ("--web.telemetry-path", &["telemetry", "path"][..], &self.telemetry_path),
            ("--metric.namespace", &["telemetry", "namespace"], &self.namespace),
            ("--web.config.file", &["web_config_file"], &self.web_config_file),
            ("--log.level", &["log", "level"], &self.log_level),
            ("--log.format", &["log", "format"], &self.log_format),
        ] {
            if let Some(text) = given(value) {
                set(table, flag, path, ValueKind::String(text.to_owned()));
            }
        }
        if let Some(is_set) = self.systemd_socket {
            let value = ValueKind::Boolean(is_set);
            set(table, "--web.systemd-socket", &["systemd_socket"], value);
        }
    }

    /// The port that replaces that of the first address in `listen`. `platform` is the platform's.
    pub(super) fn listen_port(
        &self,
        platform: Option<Port>,
        mistakes: &mut Mistakes,
    ) -> Option<Port> {
        let has_addresses = self.listen_addresses().next().is_some();
        let Some(text) = given(&self.listen_port) else {
            return platform.filter(|_| !has_addresses);
        };
        if has_addresses {
            let problem = format!("is given together with {LISTEN_ADDRESS}, which has a port");
            mistakes.add(LISTEN_PORT, problem);
        }
        match number(0..=u16::MAX)(text) {
            Ok(number) => Some(Port { number, source: LISTEN_PORT }),
            Err(problem) => {
                mistakes.add(LISTEN_PORT, problem);
                None
            }
        }
    }

    fn listen_addresses(&self) -> impl Iterator<Item = &str> {
        // As in a variable, one value may have several addresses.
        let all = self.listen_addresses.iter().flat_map(|value| value.split(','));
        all.map(str::trim).filter(|it| !it.is_empty())
    }
}

fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn set(table: &mut Table, flag: &str, path: &[&str], value: ValueKind) {
    let flag = flag.to_owned();
    let value = match value {
        ValueKind::Array(items) => {
            let items = items.into_iter().map(|item| Value::new(Some(&flag), item.kind));
            ValueKind::Array(items.collect())
        }
        value => value,
    };
    sources::set(table, path, Value::new(Some(&flag), value));
}
