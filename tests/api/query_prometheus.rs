//! The query API `/prometheus/{instance}/…` with a real Prometheus.

use crate::query::{Fixture, encoded, server};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{
    programs::{Process, free_address, start},
    *,
};
use tempfile::TempDir;

/// A real Prometheus that scrapes an app and requires the password of the program.
struct RealPrometheus {
    fixture: Fixture,
    token: String,
    _app: Instance,
    _process: Process,
    _folder: TempDir,
}

impl RealPrometheus {
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let app = Instance::with_metrics("# TYPE jobs_total counter\njobs_total 5\n").await;
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let hash = bcrypt::hash(fixture.web_password("real").expose_secret(), 4).unwrap();
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
                // The query API must not forward requests to these endpoints.
                "--web.enable-lifecycle".to_owned(),
                "--web.enable-admin-api".to_owned(),
                "--web.enable-remote-write-receiver".to_owned(),
                "--enable-feature=exemplar-storage".to_owned(),
            ],
        );
        let url = format!("http://{address}/prometheus/real");
        let token = fixture.instance("real", &[server(0, &url)]).await;
        let real = Self { fixture, token, _app: app, _process: process, _folder: folder };
        eventually(async || {
            let answer = real.get("/api/v1/query?query=jobs_total").await;
            let found = answer.status == 200 && answer.json()["data"]["result"][0].is_object();
            found.then_some(())
        })
        .await;
        real
    }

    async fn get(&self, path: &str) -> Response {
        self.fixture.get(&format!("/prometheus/real{path}"), &self.token).await
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let authorization = basic("grafana", &self.token);
        let mut headers = vec![("Authorization", authorization.as_str())];
        headers.extend_from_slice(more);
        let url = self.fixture.app.url(&format!("/prometheus/real{path}"));
        send(method, &url, &headers, Some(body.to_owned())).await
    }
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[actix_web::test]
async fn a_real_prometheus_serves_all_read_requests() {
    let real = RealPrometheus::start().await;
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
        let by_form = real.request("POST", &format!("/api/v1/{name}"), &[FORM], parameters).await;
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

    let head = real.request("HEAD", "/api/v1/query?query=1", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.headers["content-length"].parse::<u64>().unwrap() > 0);
    let packed =
        real.request("GET", "/federate?match[]=up", &[("Accept-Encoding", "gzip")], "").await;
    assert_eq!(
        (&*packed.headers["content-encoding"], &packed.body[..2]),
        ("gzip", &b"\x1f\x8b"[..])
    );
    let wrong = real.get("/api/v1/query?query=sum(").await;
    assert_eq!((wrong.status, &wrong.json()["errorType"]), (400, &Value::from("bad_data")));

    // The query page, whose path depends on the version, and the assets that it loads.
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
async fn a_real_prometheus_names_its_files_without_local_folders() {
    let real = RealPrometheus::start().await;
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
async fn only_reads_are_forwarded_to_a_real_prometheus() {
    let real = RealPrometheus::start().await;
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
            let answer = real.request(method, path, &[FORM], "").await;
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
        let answer = real.request(method, path, &[FORM], "").await;
        assert_eq!((answer.status, &*answer.headers["allow"]), (405, allow), "{method} {path}");
    }
    let json = [("Content-Type", "application/json")];
    assert_eq!(real.request("POST", "/api/v1/query", &json, "{}").await.status, 415);
    // Forms of up to 1 MiB are kept, and longer ones are streamed.
    for length in [1_000_000, 3_000_000] {
        let form = format!("query=1&x={}", "x".repeat(length));
        let answer = real.request("POST", "/api/v1/query", &[FORM], &form).await;
        assert_eq!(answer.status, 200, "{length}: {}", answer.text());
    }

    // Prometheus still runs and has its samples.
    let answer = real.get("/api/v1/query?query=count(jobs_total)").await;
    assert_eq!(answer.json()["data"]["result"][0]["value"][1], "1");
    let page = real.get("/").await.text();
    assert!(page.contains("1 of 1 are up"), "{page}");
    assert!(page.contains("<dt>Series</dt>") && page.contains("in memory"), "{page}");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Requests of a Grafana data source (pkg/promlib and packages/grafana-prometheus in
/// grafana/grafana). Grafana uses POST first, and GET after a 405.
#[actix_web::test]
async fn all_requests_of_grafana_are_served() {
    let real = RealPrometheus::start().await;
    // The first sample may be from the current second.
    let (end, start) = (now() + 2, now() - 60);
    let times = format!("start={start}&end={end}");
    let selector = encoded("{job=\"app\"}");
    let by_form = [
        // This is the health check of "Save & test".
        ("query", "query=1%2B1&time=4".to_owned(), "/data/result/1"),
        ("query", format!("query=jobs_total&time={end}.123&timeout=60s"), "/data/result/0/metric"),
        ("query_range", format!("query=jobs_total&{times}&step=1"), "/data/result/0/values"),
        ("query_exemplars", format!("query=jobs_total&{times}"), "/status"),
        ("labels", format!("{times}&limit=40000&match%5B%5D={selector}"), "/data/0"),
        ("series", format!("{times}&limit=40000&match%5B%5D={selector}"), "/data/0/job"),
    ];
    for (name, form, expected) in &by_form {
        let path = format!("/api/v1/{name}");
        let posted = real.request("POST", &path, &[FORM], form).await;
        let got = real.get(&format!("{path}?{form}")).await;
        for answer in [posted, got] {
            assert_eq!(answer.status, 200, "{name} {form}: {}", answer.text());
            assert!(answer.json().pointer(expected).is_some(), "{name}: {}", answer.text());
        }
    }
    for (path, expected) in [
        (format!("/api/v1/label/__name__/values?limit=40000&{times}"), "/data/0"),
        (format!("/api/v1/label/job/values?{times}&match%5B%5D={selector}"), "/data/0"),
        ("/api/v1/metadata?limit=40000".to_owned(), "/data/jobs_total"),
        ("/api/v1/rules".to_owned(), "/data/groups/0/rules/0/name"),
        ("/api/v1/rules?type=alert".to_owned(), "/data/groups/0"),
        ("/api/v1/alerts".to_owned(), "/data/alerts"),
        ("/api/v1/status/buildinfo".to_owned(), "/data/version"),
    ] {
        let refused = real.request("POST", &path, &[FORM], "").await;
        assert_eq!(refused.status, 405, "{path}");
        let answer = real.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.json().pointer(expected).is_some(), "{path}: {}", answer.text());
    }
    // Grafana checks for exemplars with times in milliseconds. The response comes from Prometheus.
    let probe = format!("/api/v1/query_exemplars?query=test&start={start}000&end={end}000");
    let answer = real.get(&probe).await;
    assert!(["success", "error"].contains(&answer.json()["status"].as_str().unwrap()));
}

/// Requests of the web UI of Prometheus 2.42 and 3 (web/ui in prometheus/prometheus).
#[actix_web::test]
async fn requests_of_the_prometheus_ui_are_forwarded_or_refused() {
    let real = RealPrometheus::start().await;
    for path in [
        "/-/ready",
        "/-/healthy",
        "/version",
        "/api/v1/status/walreplay",
        "/api/v1/status/buildinfo",
        "/api/v1/label/__name__/values",
        "/api/v1/query?query=time()",
        "/api/v1/metadata?metric=jobs_total",
        "/api/v1/rules?type=alert",
        "/api/v1/rules",
        "/api/v1/scrape_pools",
        "/api/v1/targets?state=active",
        "/api/v1/targets?scrapePool=app&state=active",
        "/api/v1/targets/metadata",
        "/api/v1/format_query?query=up",
        "/classic/graph",
        "/classic/alerts",
        "/classic/rules",
        "/classic/targets",
        "/classic/service-discovery",
    ] {
        let answer = real.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let live = real.get("/api/v1/notifications/live").await;
    assert_eq!((live.status, live.body.len()), (204, 0));
    // Version 3 supports these paths. Version 2.42 responds with an error of its own.
    for path in [
        "/api/v1/notifications",
        "/api/v1/parse_query?query=up",
        "/api/v1/features",
        "/api/v1/targets/relabel_steps?scrapePool=app&labels={}",
        "/api/v1/search/metric_names?search=jobs",
        "/api/v1/openapi.yaml",
        "/query",
    ] {
        let answer = real.get(path).await;
        assert!(!answer.text().contains("not forwarded"), "{path}: {}", answer.text());
    }
    // The web UI shows the message of a JSON error.
    for path in [
        "/api/v1/status/config",
        "/api/v1/status/flags",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/self_metrics",
        "/api/v1/status/tsdb",
        "/api/v1/alertmanagers",
        "/api/v1/scrape_pools/config?scrapePool=app",
    ] {
        let answer = real.get(path).await;
        let json = answer.json();
        assert_eq!((answer.status, &json["status"]), (404, &Value::from("error")), "{path}");
        let text = json["error"].as_str().unwrap();
        assert!(text.contains("configuration, flags and statistics"), "{path}: {text}");
        assert!(answer.headers["content-type"].starts_with("application/json"), "{path}");
    }
}

#[actix_web::test]
async fn promtool_can_query() {
    let real = RealPrometheus::start().await;
    let end = now();
    let url = |token: &str| {
        let address = real.fixture.app.address;
        format!("http://grafana:{token}@{address}/prometheus/real")
    };
    let promtool = async |arguments: Vec<String>| {
        let output = actix_web::web::block(move || {
            std::process::Command::new("promtool").args(arguments).output().unwrap()
        });
        let output = output.await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    for slash in ["", "/"] {
        let url = format!("{}{slash}", url(&real.token));
        for (arguments, expected) in [
            (vec!["instant", &url, "jobs_total"], "=> 5 @["),
            (vec!["range", "--step=1s", &url, "jobs_total"], "5 @["),
            (vec!["series", "--match=jobs_total", &url], "__name__=\"jobs_total\""),
            (vec!["labels", &url, "job"], "app"),
        ] {
            let mut all = vec!["query".to_owned()];
            all.extend(arguments.iter().map(|it| (*it).to_owned()));
            if arguments[0] == "range" {
                all.splice(2..2, [format!("--start={}", end - 60), format!("--end={}", end + 5)]);
            }
            let (is_good, text) = promtool(all).await;
            assert!(is_good && text.contains(expected), "{arguments:?}: {text}");
        }
    }
    let query = |url: String, expression: &str| {
        vec!["query".to_owned(), "instant".to_owned(), url, expression.to_owned()]
    };
    for (url, expression, expected) in [
        (url(&real.token), "sum(", "unclosed left parenthesis"),
        (url("wrong"), "up", "token or password is invalid"),
    ] {
        let (is_good, text) = promtool(query(url, expression)).await;
        assert!(!is_good && text.contains(expected), "{expression}: {text}");
    }
}

/// vmalert evaluates rules and restores the state of alerts with POST requests that have a content
/// type but no body.
#[actix_web::test]
async fn vmalert_can_evaluate_rules() {
    let real = RealPrometheus::start().await;
    let sink = Instance::start(|_| Reply::Http(204, vec![], vec![])).await;
    let rules = real._folder.path().join("vmalert.yml");
    let text = "groups:
- name: g
  interval: 1s
  rules:
  - alert: Jobs
    expr: jobs_total > 1
    for: 1s
    annotations: {summary: '{{ with query \"up\" }}{{ . | first | value }}{{ end }}'}
  - record: jobs:sum
    expr: sum(jobs_total)
  - record: jobs:rate
    expr: rate(jobs_total[1m])
";
    std::fs::write(&rules, text).unwrap();
    let url = real.fixture.app.url("/prometheus/real");
    let token = &real.token;
    for credentials in [
        vec!["basicAuth.username=x".to_owned(), format!("basicAuth.password={token}")],
        vec![format!("bearerToken={token}")],
    ] {
        let address = free_address();
        let arguments = [
            format!("-rule={}", rules.display()),
            format!("-datasource.url={url}"),
            format!("-remoteRead.url={url}"),
            "-remoteRead.ignoreRestoreErrors=false".to_owned(),
            format!("-remoteWrite.url=http://{}", sink.address),
            format!("-notifier.url=http://{}", sink.address),
            format!("-httpListenAddr={address}"),
        ];
        let of = |component: &'static str| {
            credentials.iter().map(move |it| format!("-{component}.{it}"))
        };
        let all = arguments.into_iter().chain(of("datasource")).chain(of("remoteRead"));
        let _process = start("vmalert", &all.collect::<Vec<_>>());
        let rules = eventually(async || {
            tokio::net::TcpStream::connect(address).await.ok()?;
            let answer = send("GET", &format!("http://{address}/api/v1/rules"), &[], None).await;
            let rules = answer.json()["data"]["groups"][0]["rules"].as_array()?.clone();
            let is_evaluated = rules.len() == 3
                && rules
                    .iter()
                    .all(|rule| rule["lastSamples"].as_u64() > Some(0) || rule["health"] != "ok");
            is_evaluated.then_some(rules)
        })
        .await;
        for rule in rules {
            assert_eq!((&rule["health"], &rule["lastError"]), (&"ok".into(), &"".into()), "{rule}");
        }
    }
}
