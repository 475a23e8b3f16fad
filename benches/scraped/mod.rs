//! An app that the complete program scrapes over real sockets.

use crate::{program::Program, server};
use std::{error::Error, net::SocketAddr};

impl Program {
    /// Scrapes the app `bench-guid`. Returns the length of the response.
    pub(crate) fn scrape(&self, gzip: bool) -> Result<usize, Box<dyn Error>> {
        let header = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let (status, bytes) = self.get("/v1/apps/bench-guid/metrics", header)?;
        if status == 200 { Ok(bytes) } else { Err(format!("status {status}").into()) }
    }

    /// Peak memory.
    pub(crate) fn peak_kb(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.status()?.vmhwm.unwrap_or_default())
    }
}

/// Starts an instance on a free port. It responds to all requests with `body`.
pub(crate) fn instance(body: String) -> SocketAddr {
    let response = server::response("text/plain; version=0.0.4", &body);
    server::start(move |_, out| out.write_all(&response))
}
