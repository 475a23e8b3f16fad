//! Endpoints that are forwarded only if writes are allowed: writes, and reads of the configuration and
//! the process of a server.
//!
//! These are never forwarded: `/api/v1/admin`, `/-/reload`, `/-/quit` and `/debug`, because they manage
//! one server; `/metrics`, whose values differ per server; `/consoles` and `/user`.

use super::{BodyKind, reads::AllowedMethods};

/// Whether a pool forwards more than reads of its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    #[default]
    Deny,
    Allow,
}

const ENDPOINTS: &[(&str, AllowedMethods)] = &[
    ("/api/v1/write", AllowedMethods::Post(BodyKind::Write)),
    ("/api/v1/otlp/v1/metrics", AllowedMethods::Post(BodyKind::Write)),
    ("/api/v1/read", AllowedMethods::Post(BodyKind::RemoteRead)),
    ("/api/v1/alertmanagers", AllowedMethods::Get),
    ("/api/v1/scrape_pools/config", AllowedMethods::Get),
    ("/api/v1/status/config", AllowedMethods::Get),
    ("/api/v1/status/flags", AllowedMethods::Get),
    ("/api/v1/status/runtimeinfo", AllowedMethods::Get),
    ("/api/v1/status/self_metrics", AllowedMethods::Get),
    ("/api/v1/status/tsdb", AllowedMethods::Get),
    ("/api/v1/status/tsdb/blocks", AllowedMethods::Get),
    // The pages of these, in versions 2 and 3 and below /classic.
    ("/agent", AllowedMethods::Get),
    ("/alertmanager-discovery", AllowedMethods::Get),
    ("/config", AllowedMethods::Get),
    ("/discovered-alertmanagers", AllowedMethods::Get),
    ("/flags", AllowedMethods::Get),
    ("/status", AllowedMethods::Get),
    ("/tsdb-status", AllowedMethods::Get),
    ("/classic/config", AllowedMethods::Get),
    ("/classic/flags", AllowedMethods::Get),
    ("/classic/status", AllowedMethods::Get),
];

impl Writes {
    pub(super) fn endpoints(self) -> &'static [(&'static str, AllowedMethods)] {
        match self {
            Self::Deny => &[],
            Self::Allow => ENDPOINTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::ReadEndpoint;

    #[test]
    fn more_endpoints_are_forwarded_only_if_writes_are_allowed() {
        let find = |path| ReadEndpoint::find(path, Writes::Allow);
        for (path, _) in ENDPOINTS {
            assert_eq!(ReadEndpoint::find(path, Writes::Deny), None, "{path}");
            assert_eq!(find(path).unwrap().path, *path);
        }
        let write = find("/api/v1/write").unwrap();
        assert_eq!((write.body(), write.methods()), (Some(BodyKind::Write), "POST"));
        assert!(!write.allows_get() && find("/api/v1/status/tsdb").unwrap().allows_get());
        assert_eq!(find("/api/v1/read").unwrap().body(), Some(BodyKind::RemoteRead));
        assert_eq!(find("/api/v1/query").unwrap().body(), Some(BodyKind::Form));
    }

    #[test]
    fn administration_is_never_forwarded() {
        for path in [
            "/api/v1/admin/tsdb/delete_series",
            "/api/v1/admin/tsdb/snapshot",
            "/api/v1/admin/tsdb/clean_tombstones",
            "/api/v1/write/../admin/tsdb/snapshot",
            "/api/v1/status/%2e%2e/admin/tsdb/snapshot",
            "/api/v1/%61dmin/tsdb/snapshot",
            "/-/reload",
            "/-/quit",
            "/debug/pprof/",
            "/debug/pprof/heap",
            "/metrics",
            "/api/v1/notifications/live",
            "/api/v1/write//",
            "/user/x",
        ] {
            assert_eq!(ReadEndpoint::find(path, Writes::Allow), None, "{path}");
        }
    }
}
