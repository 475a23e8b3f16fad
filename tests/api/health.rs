//! Health, readiness, the metrics of the program itself, and pages.

use crate::{promtool, test_app::*};
use exposition::{AddedLabels, Format, Limits, Merge, OutputFormat, Reader};
use serde_json::json;
use std::io::Read;
use support::{programs::Prometheus, *};

#[actix_web::test]
async fn without_route_sources_the_program_is_healthy_and_ready() {
    let app = spawn_app(&[]).await;
    assert_eq!(app.get("/-/healthy").await.status, 200);
    assert_eq!(app.get("/-/ready").await.text(), "ready\n");
}

#[actix_web::test]
async fn the_health_listener_serves_only_health_on_every_path() {
    let app = spawn_app(&[("HEALTH_LISTEN", "127.0.0.1:0".to_owned())]).await;
    let health = app.health_address.unwrap();
    for path in ["/", "/health", "/-/healthy", "/-/ready", "/metrics"] {
        let answer = send("GET", &format!("http://{health}{path}"), &[], None).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.len() < 20, "{}", answer.text());
    }
}

#[actix_web::test]
async fn own_metrics_pass_promtool_and_omit_removed_apps() {
    let instance = Instance::with_metrics("a 1\n").await;
    let bad = Instance::start(|_| Reply::Http(500, vec![], vec![])).await;
    let routes = RouteFile::of_app([&instance, &bad]);
    let app = spawn_app(&[routes.setting()]).await;
    app.get("/v1/apps/app-guid/metrics").await;
    let own = app.get("/metrics").await;
    assert_eq!(own.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let six = "organization_id=\"org-guid\",space_id=\"space-guid\",app_id=\"app-guid\",\
               organization_name=\"acme\",space_name=\"prod\",app_name=\"app\"";
    for line in [
        format!("promfetch_metric_fetch_success_total{{{six}}} 1"),
        format!("promfetch_metric_fetch_failed_total{{{six},index=\"1\",instance_id=\"1\"}} 1"),
        "promfetch_scrape_route_failed_total 0".to_owned(),
        "scrapebroker_instances_scraped_total 2".to_owned(),
        "scrapebroker_instance_failures_total{reason=\"status_5xx\"} 1".to_owned(),
    ] {
        assert_eq!(own.lines(&line), [line], "{}", own.text());
    }
    let age = own.lines("promfetch_latest_time_scrape_route ").remove(0);
    let seconds: f64 = age.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((0.0..3600.0).contains(&seconds), "{age}");
    assert_eq!(own.lines("scrapebroker_bindings_age_seconds ").len(), 1);
    assert_eq!(own.lines("scrapebroker_build_info{").len(), 1);
    assert_eq!(own.lines("process_open_fds ").len(), 1);
    let (code, findings) = promtool::check(&own.body);
    assert!(matches!(code, Some(0 | 3)), "{findings}");
    // The four metrics of promfetcher do not follow the naming guide and keep their names for
    // compatibility.
    let ours: Vec<_> = findings.lines().filter(|line| !line.starts_with("promfetch_")).collect();
    assert!(ours.is_empty(), "{findings}");

    routes.write(&json!({ "other.example.com": [endpoint("other", 0, instance.address)] }));
    eventually(async || {
        let own = app.get("/metrics").await;
        own.lines("promfetch_metric_fetch_").is_empty().then_some(())
    })
    .await;
}

#[actix_web::test]
async fn pages_contain_the_urls_of_the_installation() {
    let routes = RouteFile::new(&json!({}));
    let settings = [routes.setting(), ("BASE_URL", "https://metrics.example.com/".to_owned())];
    let app = spawn_app(&settings).await;
    let page = app.get("/").await;
    assert!(page.headers["content-type"].starts_with("text/html"));
    for link in ["/doc", "/metrics", "/-/healthy", "/-/ready"] {
        assert!(page.text().contains(&format!("href=\"{link}\"")), "{link}");
    }
    // Only operators see the link to the route table.
    assert!(!page.text().contains("href=\"/routes\""));
    let page = app.get_with("/", &[("Authorization", &basic(USER, PASSWORD))]).await;
    assert!(page.text().contains("href=\"/routes\""));
    let doc = app.get("/doc").await.text();
    assert!(doc.contains("curl https://metrics.example.com/v1/apps/"), "{doc}");
    assert!(doc.contains("targets: ['metrics.example.com:443']"), "{doc}");
    assert_eq!(app.get("/nowhere").await.status, 404);
}

#[actix_web::test]
async fn only_operators_can_read_the_route_table() {
    let instance = Instance::with_metrics("").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    for headers in [vec![], vec![("Authorization", basic(USER, "wrong"))]] {
        let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let answer = app.get_with("/routes", &headers).await;
        assert_eq!(answer.status, 401);
        assert!(answer.headers["www-authenticate"].starts_with("Basic"));
    }
    let authorization = basic(USER, PASSWORD);
    let answer = app.get_with("/routes", &[("Authorization", &authorization)]).await;
    assert_eq!(answer.status, 200);
    let table = answer.json();
    assert_eq!(table["app.example.com"][0]["address"], instance.address.to_string());
    assert_eq!(table["app.example.com"][0]["tags"]["app_id"], "app-guid");
}

#[actix_web::test]
async fn own_scrapes_are_counted_and_timed_and_up_follows_the_sources() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let first = app.get("/metrics").await;
    let value = |own: &Response, name: &str| -> f64 {
        let line = own.lines(&format!("{name} ")).remove(0);
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let scrapes = "scrapebroker_exporter_scrapes_total";
    let second = app.get("/metrics").await;
    assert_eq!(value(&second, scrapes), value(&first, scrapes) + 1.0);
    // A scrape contains the durations of those before.
    let timed = "scrapebroker_exporter_scrape_duration_seconds_count";
    assert_eq!(value(&second, timed), value(&second, scrapes) - 1.0);
    assert!(value(&second, "scrapebroker_exporter_last_scrape_duration_seconds") > 0.0);
    assert_eq!(value(&second, "scrapebroker_up"), 1.0);
    assert_eq!(second.lines("process_virtual_memory_max_bytes ").len(), 1);

    // While no source has answered, the routes are not current.
    let gone = json!([{"url": format!("http://{}/routes", closed_address())}]).to_string();
    let waiting = spawn_app(&[("ROUTES__GOROUTERS", gone)]).await;
    eventually(async || {
        let own = waiting.get("/metrics").await;
        // Alerts on the age of the table must not see the hosts of bound apps as an answer.
        assert!(own.lines("promfetch_latest_time_scrape_route ").is_empty(), "{}", own.text());
        (value(&own, "scrapebroker_up") == 0.0).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn the_metrics_of_promfetcher_can_be_left_out() {
    let instance = Instance::with_metrics("a 1\n").await;
    let bad = Instance::start(|_| Reply::Close).await;
    let routes = RouteFile::of_app([&instance, &bad]);
    let without = ("TELEMETRY__PROMFETCHER_NAMES", "false".to_owned());
    let app = spawn_app(&[routes.setting(), without]).await;
    let metrics = app.get("/v1/apps/app-guid/metrics").await;
    // The failure series in the metrics of apps is not affected.
    assert_eq!(metrics.lines("promfetcher_scrape_error{").len(), 1);
    let own = app.get("/metrics").await;
    assert!(!own.text().contains("promfetch_"), "{}", own.text());
    assert_eq!(own.lines("scrapebroker_instances_scraped_total 2").len(), 1);
    let (code, findings) = promtool::check(&own.body);
    assert_eq!((code, &*findings), (Some(0), ""));
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

#[actix_web::test]
async fn own_metrics_are_written_in_every_format_and_compressed() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    app.get("/v1/apps/app-guid/metrics").await;
    let formats = [
        ("", Format::Text004),
        ("text/plain;version=1.0.0", Format::Text100),
        ("application/openmetrics-text;version=0.0.1", Format::OpenMetrics001),
        ("application/openmetrics-text;version=1.0.0", Format::OpenMetrics100),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            Format::Protobuf,
        ),
    ];
    for (accept, format) in formats {
        let mut bodies = Vec::new();
        for encoding in ["identity", "gzip"] {
            let headers = [("Accept", accept), ("Accept-Encoding", encoding)];
            let own = app.get_with("/metrics", &headers).await;
            let content_type = OutputFormat::new(format).content_type();
            assert_eq!(own.headers["content-type"], content_type, "{accept}");
            assert_eq!(own.headers["vary"], "Accept, Accept-Encoding");
            let body = match encoding {
                "gzip" => {
                    assert_eq!(own.headers["content-encoding"], "gzip");
                    gunzip(&own.body)
                }
                _ => own.body.clone(),
            };
            // A reader of the format accepts it, and finds the same families as text.
            let output = OutputFormat::default();
            let reader = Reader::new(output, Limits { max_samples: 0, ..Limits::default() });
            let body = reader.parse(body, format, AddedLabels::new([])).unwrap();
            let mut merge = Merge::new(output, vec![body]);
            let mut text = Vec::new();
            while merge.next_chunk(&mut text, 1 << 20) {}
            bodies.push(String::from_utf8(text).unwrap());
        }
        for text in bodies {
            for line in [
                "# TYPE scrapebroker_instances_scraped_total counter",
                "scrapebroker_instances_scraped_total 1",
                "# TYPE scrapebroker_scrape_duration_seconds histogram",
                "# TYPE scrapebroker_build_info gauge",
                "# TYPE process_open_fds gauge",
            ] {
                assert!(text.lines().any(|it| it == line), "{line} in {accept}: {text}");
            }
        }
    }
}

#[actix_web::test]
async fn own_metrics_have_the_configured_path_and_namespace() {
    let instance = Instance::with_metrics("scrapebroker_a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[
        routes.setting(),
        ("TELEMETRY__PATH", "/own/metrics".to_owned()),
        ("TELEMETRY__NAMESPACE", "demo".to_owned()),
    ])
    .await;
    assert_eq!(app.get("/metrics").await.status, 404);
    let merged = app.get("/v1/apps/app-guid/metrics").await;
    for series in ["scrapebroker_instance_up{", "scrapebroker_a{"] {
        assert_eq!(merged.lines(series).len(), 1, "{}", merged.text());
    }
    let own = app.get("/own/metrics/").await;
    for line in ["demo_exporter_scrapes_total 1", "demo_up 1", "demo_instances_scraped_total 1"] {
        assert_eq!(own.lines(line), [line], "{}", own.text());
    }
    for start in [
        "demo_build_info{",
        "demo_exporter_scrape_duration_seconds_count ",
        "demo_exporter_last_scrape_duration_seconds ",
        "process_open_fds ",
        "promfetch_metric_fetch_success_total{",
    ] {
        assert_eq!(own.lines(start).len(), 1, "{start}");
    }
    assert!(!own.text().contains("scrapebroker_"), "{}", own.text());
    let (code, findings) = promtool::check(&own.body);
    assert!(matches!(code, Some(0 | 3)), "{findings}");
    for page in ["/", "/doc"] {
        let page = app.get(page).await.text();
        assert!(page.contains("<a href=\"/own/metrics\">/own/metrics</a>"), "{page}");
    }
}

#[actix_web::test]
async fn a_real_prometheus_scrapes_the_own_metrics_in_its_preferred_formats() {
    let app = spawn_app(&[("TELEMETRY__PATH", "/own".to_owned())]).await;
    // With this feature Prometheus requests protobuf, and otherwise OpenMetrics.
    for features in [&["native-histograms"][..], &[]] {
        let config = format!(
            "- {{job_name: own, metrics_path: /own, static_configs: [{{targets: ['{}']}}]}}",
            app.address
        );
        let prometheus = Prometheus::start_with(features, &config);
        let up = prometheus.query("up{job=\"own\"} == 1").await;
        assert_eq!(up.len(), 1, "{features:?}");
        let scrapes = prometheus.query("scrapebroker_exporter_scrapes_total > 0").await;
        assert_eq!(scrapes.len(), 1, "{features:?}");
    }
}
