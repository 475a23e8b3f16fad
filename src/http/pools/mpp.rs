//! Paths and metrics of mpp, which this program replaces.

use crate::query::{Pool, PoolMetrics};
use actix_web::HttpResponse;

/// Like mpp, this only says that the program is alive. `/-/ready` says whether it can respond.
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("OK")
}

/// The metrics of mpp, with its names and labels, for the default pool.
pub(super) fn metrics(pool: &Pool, metrics: &PoolMetrics) -> String {
    let (name, snapshot) = (&pool.settings().name, pool.snapshot());
    let mut text = String::new();
    let info =
        format!("{{branch=\"\",goversion=\"\",revision=\"\",version=\"{}\"}}", crate::VERSION);
    let family = |text: &mut String, name: &str, kind: &str, help: &str, samples: &[String]| {
        if samples.is_empty() {
            return;
        }
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        samples.iter().for_each(|sample| text.push_str(&format!("{name}{sample}\n")));
    };
    let backends = snapshot.replicas.iter().map(|it| {
        // A URL contains neither quotes nor backslashes.
        (format!("{{backend=\"{}\"}}", it.server.url), it.state.status())
    });
    let backends: Vec<_> = backends.collect();
    let of_backends = |value: &dyn Fn(&crate::query::ServerStatus) -> u128| -> Vec<String> {
        backends.iter().map(|(labels, status)| format!("{labels} {}", value(status))).collect()
    };
    family(&mut text, "mpp_build_info", "gauge", "Version of the program", &[format!("{info} 1")]);
    let selected = [format!(" {}", snapshot.selected().len())];
    family(&mut text, "mpp_selected_backends", "gauge", "Selected replicas", &selected);
    let requests = of_backends(&|it| it.queries.into());
    family(&mut text, "mpp_requests", "counter", "Queries that were sent to a replica", &requests);
    let retries = of_backends(&|it| it.failures.into());
    family(
        &mut text,
        "mpp_retries",
        "counter",
        "Queries that a replica failed to respond to",
        &retries,
    );
    let latency = of_backends(&|it| it.latency.as_millis());
    let help = "Sum of the latencies of a replica, in milliseconds";
    family(&mut text, "mpp_response_milliseconds", "counter", help, &latency);
    let selections = [format!(" {}", metrics.selections(name))];
    let help = "Times that other replicas were selected";
    family(&mut text, "mpp_selection_events", "counter", help, &selections);
    let hits = [("cookies", "cookies"), ("sourceip", "source-ip")]
        .map(|(label, kind)| format!("{{type=\"{label}\"}} {}", metrics.affinity_hits(name, kind)));
    let help = "Queries that were sent to the replica that their client used before";
    family(&mut text, "mpp_affinity_hits", "counter", help, &hits);
    text
}
