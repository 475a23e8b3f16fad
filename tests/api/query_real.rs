//! `/prometheus/{instance}/…` in front of a real Prometheus.

use crate::{
    helpers::*,
    prometheus::{Process, free_address, start},
    query::{World, encoded, server},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;

/// A real Prometheus that scrapes an app, behind our password.
struct Real {
    world: World,
    token: String,
    _app: Instance,
    _process: Process,
    _folder: TempDir,
}

impl Real {
    async fn start() -> Self {
        let world = World::start().await;
        let app = Instance::with_metrics("# TYPE jobs_total counter\njobs_total 5\n").await;
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let hash = bcrypt::hash(world.web_password("real").expose_secret(), 4).unwrap();
        let web = write("web.yml", format!("basic_auth_users: {{scrapebroker: '{hash}'}}\n"));
        let config = write(
            "prometheus.yml",
            format!(
                "global: {{scrape_interval: 1s}}\nrule_files: [rules.yml]\nscrape_configs:\n- job_name: app\n  static_configs: [{{targets: ['{}']}}]\n",
                app.address
            ),
        );
        let rules = "groups: [{name: g, rules: [{alert: A, expr: vector(1)}]}]\n";
        write("rules.yml", rules.to_owned());
        let address = free_address();
        let process = start(
            "prometheus",
            &[
                format!("--config.file={config}"),
                format!("--web.config.file={web}"),
                format!("--storage.tsdb.path={}/data", folder.path().display()),
                format!("--web.listen-address={address}"),
                "--web.external-url=http://metrics.example.com/prometheus/real".to_owned(),
                // All that must not be reached through us.
                "--web.enable-lifecycle".to_owned(),
                "--web.enable-admin-api".to_owned(),
                "--web.enable-remote-write-receiver".to_owned(),
                "--enable-feature=exemplar-storage".to_owned(),
            ],
        );
        let url = format!("http://{address}/prometheus/real");
        let token = world.instance("real", &[server(0, &url)]).await;
        let real = Self { world, token, _app: app, _process: process, _folder: folder };
        eventually(async || {
            let answer = real.get("/api/v1/query?query=jobs_total").await;
            let found = answer.status == 200 && answer.json()["data"]["result"][0].is_object();
            found.then_some(())
        })
        .await;
        real
    }

    async fn get(&self, path: &str) -> Answer {
        self.world.get(&format!("/prometheus/real{path}"), &self.token).await
    }

    async fn ask(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let authorization = basic("grafana", &self.token);
        let mut headers = vec![("Authorization", authorization.as_str())];
        headers.extend_from_slice(more);
        let url = self.world.app.url(&format!("/prometheus/real{path}"));
        send(method, &url, &headers, Some(body.to_owned())).await
    }
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[actix_web::test]
async fn a_real_prometheus_is_read_through_us_in_all_its_ways() {
    let real = Real::start().await;
    let selector = encoded("{__name__=~\"jobs.*\"}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let range = format!("query=jobs_total&start={}&end={}&step=15", now - 60, now + 60);
    let exemplars = format!("query=jobs_total&start={}&end={}", now - 60, now + 60);
    let ways = [
        ("query", "query=jobs_total".to_owned(), "/data/result/0/value/1"),
        ("query_range", range, "/data/result/0/values/0/1"),
        ("series", format!("match[]={selector}"), "/data/0/__name__"),
        ("labels", String::new(), "/data/0"),
        ("query_exemplars", exemplars, "/status"),
        ("format_query", "query=sum(jobs_total)".to_owned(), "/data"),
    ];
    for (name, parameters, expected) in &ways {
        let by_get = real.get(&format!("/api/v1/{name}?{parameters}")).await;
        let by_form = real.ask("POST", &format!("/api/v1/{name}"), &[FORM], parameters).await;
        for answer in [by_get, by_form] {
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            let json = answer.json();
            assert_eq!(json["status"], "success");
            assert!(json.pointer(expected).is_some(), "{name}: {json}");
        }
    }
    for (path, expected) in [
        ("/api/v1/label/__name__/values", "/data/0"),
        ("/api/v1/metadata", "/data/jobs_total/0/type"),
        ("/api/v1/targets", "/data/activeTargets/0/labels/job"),
        ("/api/v1/rules", "/data/groups"),
        ("/api/v1/alerts", "/data/alerts"),
        ("/api/v1/status/buildinfo", "/data/version"),
    ] {
        let answer = real.get(path).await;
        assert!(answer.json().pointer(expected).is_some(), "{path}: {}", answer.text());
    }
    let federated = real.get(&format!("/federate?match[]={selector}")).await;
    assert_eq!(federated.lines("jobs_total{").len(), 1, "{}", federated.text());
    assert_eq!(real.get("/-/ready").await.status, 200);

    let head = real.ask("HEAD", "/api/v1/query?query=1", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.headers["content-length"].parse::<u64>().unwrap() > 0);
    let packed = real.ask("GET", "/federate?match[]=up", &[("Accept-Encoding", "gzip")], "").await;
    assert_eq!(
        (&*packed.headers["content-encoding"], &packed.body[..2]),
        ("gzip", &b"\x1f\x8b"[..])
    );
    let wrong = real.get("/api/v1/query?query=sum(").await;
    assert_eq!((wrong.status, &wrong.json()["errorType"]), (400, &Value::from("bad_data")));

    // The page for queries, wherever this version has it, and what it loads.
    let mut path = "/graph".to_owned();
    let page = loop {
        let answer = real.get(&path).await;
        match answer.headers.get("location") {
            None => break answer,
            Some(next) => path = next.strip_prefix("/prometheus/real").unwrap().to_owned(),
        }
    };
    assert_eq!(page.status, 200, "{path}");
    let text = page.text();
    let scripts = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let scripts: Vec<_> = scripts.map(|script| script.trim_start_matches("./")).collect();
    assert!(!scripts.is_empty(), "{text}");
    for script in scripts {
        let asset = script.strip_prefix("/prometheus/real").unwrap_or(script);
        let asset = format!("/{}", asset.trim_start_matches('/'));
        assert_eq!(real.get(&asset).await.status, 200, "{asset}");
    }
}

#[actix_web::test]
async fn a_real_prometheus_names_its_files_without_our_folders() {
    let real = Real::start().await;
    let folder = real._folder.path().display().to_string();
    let rules = real.get("/api/v1/rules").await;
    assert_eq!(rules.json()["data"]["groups"][0]["file"], "rules.yml", "{}", rules.text());
    for path in ["/api/v1/rules", "/api/v1/alerts", "/classic/rules", "/classic/alerts"] {
        let answer = real.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains(&folder), "{path}: {}", answer.text());
    }
    assert!(real.get("/classic/alerts").await.text().contains("rules.yml > g"));
    assert_eq!(real.get("/api/v1/scrape_pools").await.json()["data"]["scrapePools"][0], "app");
}

#[actix_web::test]
async fn nothing_but_reads_reaches_a_real_prometheus() {
    let real = Real::start().await;
    for path in [
        "/api/v1/write",
        "/api/v1/read",
        "/api/v1/admin/tsdb/snapshot",
        "/api/v1/admin/tsdb/delete_series?match[]=up",
        "/api/v1/admin/tsdb/clean_tombstones",
        "/api/v1/query/../admin/tsdb/snapshot",
        "/static/../api/v1/admin/tsdb/snapshot",
        "/static/%2e%2e/api/v1/admin/tsdb/snapshot",
        "/classic/static/..%2f..%2f-/quit",
        "/../real/-/quit",
        "/-/reload",
        "/-/quit",
        "/%2d/quit",
        "/./-/quit",
        "//-/quit",
        "/api/v1/status/config",
        "/api/v1/status/flags",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/tsdb",
        "/classic/config",
        "/config",
        "/metrics",
        "/debug/pprof/heap",
        "/consoles/index.html.example",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = real.ask(method, path, &[FORM], "").await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
            assert!(answer.text().contains("not forwarded"), "{method} {path}: {}", answer.text());
        }
    }
    for (method, path, allow) in [
        ("DELETE", "/api/v1/series?match[]=up", "GET, HEAD, POST"),
        ("PUT", "/api/v1/query", "GET, HEAD, POST"),
        ("OPTIONS", "/api/v1/query", "GET, HEAD, POST"),
        ("POST", "/api/v1/targets", "GET, HEAD"),
        ("POST", "/federate", "GET, HEAD"),
        ("POST", "/-/ready", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let answer = real.ask(method, path, &[FORM], "").await;
        assert_eq!((answer.status, &*answer.headers["allow"]), (405, allow), "{method} {path}");
    }
    let json = [("Content-Type", "application/json")];
    assert_eq!(real.ask("POST", "/api/v1/query", &json, "{}").await.status, 415);
    let long = format!("query=1&x={}", "x".repeat(1 << 20));
    assert_eq!(real.ask("POST", "/api/v1/query", &[FORM], &long).await.status, 413);
    let long = format!("query=1&x={}", "x".repeat(1_000_000));
    assert_eq!(real.ask("POST", "/api/v1/query", &[FORM], &long).await.status, 200);

    // It still runs, with all it had.
    let answer = real.get("/api/v1/query?query=count(jobs_total)").await;
    assert_eq!(answer.json()["data"]["result"][0]["value"][1], "1");
    let page = real.get("/").await.text();
    assert!(page.contains("1 of 1 are up"), "{page}");
    assert!(page.contains("series in memory"), "{page}");
}
