//! A server that returns what the pages of a Prometheus show.

use crate::query_pools::history;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Instance, Reply};

/// Starts the server. `text` is the error of a target, and occurs in names and labels of an alert.
pub(super) async fn fake_prometheus(app: &str, text: &str) -> Instance {
    let (app, text) = (app.to_owned(), text.to_owned());
    Instance::start(move |request| {
        let target = request.line.split(' ').nth(1).unwrap_or_default();
        let data = match target.split('?').next().unwrap_or_default() {
            "/metrics" => return Reply::Metrics(metrics()),
            "/-/ready" => return Reply::Http(200, vec![], b"ready".to_vec()),
            "/api/v1/targets" => targets(&app, &text),
            "/api/v1/rules" => rules(&text),
            "/api/v1/label/__name__/values" => json!(["jobs_total", "queue_length"]),
            "/api/v1/metadata" => json!({}),
            "/api/v1/query_range" => range(&text),
            _ => return Reply::Http(404, vec![], vec![]),
        };
        let body = json!({"status": "success", "data": data}).to_string();
        let json = vec![("Content-Type", "application/json".to_owned())];
        Reply::Http(200, json, body.into_bytes())
    })
    .await
}

fn metrics() -> String {
    let usage = "prometheus_tsdb_storage_blocks_bytes 402653184\n\
        prometheus_tsdb_wal_storage_size_bytes 134217728\n\
        prometheus_tsdb_head_series 1200\nprocess_resident_memory_bytes 268435456\n";
    history(Duration::from_secs(3600)) + usage
}

fn targets(app: &str, error: &str) -> Value {
    let target = |index: &str, health: &str, error: &str| {
        json!({
            "discoveredLabels": {"__meta_cf_app_id": "app-guid", "instance": format!("web/{index}")},
            "labels": {"organization_name": app, "space_name": app, "app_name": app, "index": index},
            "health": health, "lastError": error,
            "lastScrape": "2026-11-21T11:18:06.886Z", "lastScrapeDuration": 0.25,
        })
    };
    let own = [target("0", "up", ""), target("1", "down", "server returned HTTP status 502")];
    let other = target("7", "down", error);
    let many = (100..220).map(|index| target(&index.to_string(), "up", ""));
    let targets: Vec<_> = own.into_iter().chain([other]).chain(many).collect();
    json!({"activeTargets": targets})
}

fn rules(text: &str) -> Value {
    let alert = json!({
        "labels": {"alertname": "InstanceFailing", "detail": text}, "annotations": {"summary": text},
        "state": "firing", "activeAt": "2026-11-21T11:18:06.886Z", "value": "0e+00",
    });
    let rules = json!([
        {"name": "InstanceFailing", "type": "alerting", "alerts": [alert]},
        {"name": "broken", "type": "recording", "health": "err", "lastError": text},
    ]);
    json!({"groups": [{"name": "g", "file": "/srv/secret-folder/rules.yml", "rules": rules}]})
}

fn range(text: &str) -> Value {
    let series = |index: usize| {
        let values: Vec<_> =
            (0..20).map(|at| json!([1_764_428_400 + 30 * at, at.to_string()])).collect();
        json!({"metric": {"app_name": text, "index": index.to_string()}, "values": values})
    };
    json!({"resultType": "matrix", "result": (0..12).map(series).collect::<Vec<_>>()})
}
