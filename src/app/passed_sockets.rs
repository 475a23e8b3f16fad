//! Sockets that systemd passes to the program (sd_listen_fds(3)).

use super::StartError;
use anyhow::{Context, anyhow};
use listenfd::ListenFd;
use socket2::SockRef;
use std::{collections::BTreeMap, net::TcpListener};

const KEY: &str = "systemd_socket";

/// Takes all sockets that systemd passed to this process. Call it before other threads start: it
/// removes variables of the process.
///
/// # Errors
/// There is none, or one of them is no listening TCP socket.
pub(crate) fn take(environment: &BTreeMap<String, String>) -> Result<Vec<TcpListener>, StartError> {
    taken(ListenFd::from_env(), environment).map_err(StartError::Configuration)
}

fn taken(
    mut passed: ListenFd,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<TcpListener>> {
    if passed.len() == 0 {
        let why = match (environment.get("LISTEN_FDS"), environment.get("LISTEN_PID")) {
            (None, _) => "LISTEN_FDS is not set".to_owned(),
            (Some(_), Some(pid)) => {
                format!("LISTEN_FDS is for the process {pid}, and this is {}", std::process::id())
            }
            (Some(count), None) => format!("LISTEN_FDS is {count:?}"),
        };
        return Err(anyhow!(
            "{KEY}: systemd passed no sockets: {why}; start the program by a socket unit, or unset {KEY}"
        ));
    }
    let names = environment.get("LISTEN_FDNAMES").map(String::as_str).unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    (0..passed.len())
        .map(|index| {
            let name = names.get(index).filter(|name| !name.is_empty());
            let what = match name {
                Some(name) => format!("{KEY}: the socket {name}, number {index}"),
                None => format!("{KEY}: the socket number {index}"),
            };
            let listener = passed.take_tcp_listener(index);
            let listener = listener.map_err(|error| anyhow!("{what}, cannot be used: {error}"))?;
            let listener = listener.with_context(|| format!("{what}, was not passed"))?;
            let is_listening = SockRef::from(&listener).is_listener();
            match is_listening.with_context(|| format!("{what}, cannot be used"))? {
                true => Ok(listener),
                false => Err(anyhow!(
                    "{what}, does not listen; use ListenStream= and Accept=no in the socket unit"
                )),
            }
        })
        .collect()
}
