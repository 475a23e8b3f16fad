//! External exporters, which are scraped once per app in addition to its instances.

use crate::{promtool, test_app::*};
use serde_json::{Value, json};
use support::*;

/// The six labels that identify the app `app`.
const APP: &str = "organization_id=\"org-guid\",space_id=\"space-guid\",app_id=\"app-guid\",\
                   organization_name=\"acme\",space_name=\"prod\",app_name=\"app\"";

const METRICS: &str = "/v1/apps/app-guid/metrics";

fn exporters(list: &Value) -> (&'static str, String) {
    ("EXTERNAL_EXPORTERS", list.to_string())
}

#[actix_web::test]
async fn an_exporter_is_scraped_once_per_app_and_its_samples_have_only_app_labels() {
    let zero = Instance::with_metrics("# TYPE jobs gauge\njobs 1\n").await;
    let one = Instance::with_metrics("# TYPE jobs gauge\njobs 2\n").await;
    let exporter =
        Instance::with_metrics("# TYPE jobs gauge\njobs{instance=\"own\",app_id=\"own\"} 3\n")
            .await;
    let routes = RouteFile::of_app([&zero, &one]);
    // Operators configure a host name, which must be resolved.
    let host = format!("localhost:{}", exporter.address.port());
    let list = json!([{
        "host": host, "metrics_path": "/federate?fixed=1",
        "params": {"match[]": ["{app=\"{{ .AppName }}\"}", "b"], "org": "{{organization_name}}"},
    }]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let scraper = [("Authorization", "Bearer of-the-scraper"), ("X-Api-Key", "k")];
    let path = "/v1/apps/app-guid/metrics?metric_path=/other&module=x";
    let answer = app.get_with(path, &scraper).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = [
        format!("jobs{{{}}} 1", labels(0, zero.address)),
        format!("jobs{{{}}} 2", labels(1, one.address)),
        format!("jobs{{instance=\"own\",exported_app_id=\"own\",{APP}}} 3"),
    ];
    assert_eq!(answer.lines("jobs{"), expected);
    assert_eq!(answer.lines("# TYPE jobs "), ["# TYPE jobs gauge"]);
    assert_eq!(answer.headers["x-scrapebroker-instances"], "2/2");
    assert_eq!(answer.lines("scrapebroker_instance_up{").len(), 2);

    let seen = exporter.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].line,
        "GET /federate?fixed=1&match%5B%5D=%7Bapp%3D%22app%22%7D&match%5B%5D=b&org=acme HTTP/1.1"
    );
    assert_eq!(seen[0].headers["host"], host);
    for kept in ["authorization", "x-api-key"] {
        assert!(
            !seen[0].headers.contains_key(kept),
            "{kept} must not be forwarded to the exporter"
        );
    }
    assert!(zero.requests()[0].headers.contains_key("x-api-key"));
    assert!(seen[0].headers.contains_key("x-prometheus-scrape-timeout-seconds"));
}

#[actix_web::test]
async fn exporters_are_not_part_of_only_app_metrics_and_single_instances() {
    let instance = Instance::with_metrics("a 1\n").await;
    let exporter = Instance::with_metrics("b 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let list = json!([{"host": exporter.address.to_string()}]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    for path in [
        "/v1/apps/app-guid/only-app-metrics",
        "/v1/apps/app-guid/metrics?only_from_app=1",
        "/v1/apps/app-guid/instances/0/metrics",
        "/v1/apps/app-guid",
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.lines("b{").is_empty(), "{path}: {}", answer.text());
    }
    assert!(exporter.requests().is_empty());
    assert_eq!(app.get(METRICS).await.lines("b{").len(), 1);
    assert_eq!(exporter.requests()[0].line, "GET /metrics HTTP/1.1");
}

#[actix_web::test]
async fn an_exporter_is_scraped_for_each_app_of_a_shared_route() {
    let (a, b) = (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let exporter = Instance::with_metrics("e 1\n").await;
    let routes = RouteFile::new(&json!({
        "shared.example.com": [endpoint("a", 0, a.address), endpoint("b", 0, b.address)],
    }));
    let list = json!([
        {"host": exporter.address.to_string(), "params": {"app": ["{{app_id}}"]}},
    ]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let answer = app.get("/v1/apps/metrics?route_url=shared.example.com").await;
    assert_eq!(answer.lines("e{").len(), 2, "{}", answer.text());
    let mut seen: Vec<_> = exporter.requests().into_iter().map(|seen| seen.line).collect();
    seen.sort();
    assert_eq!(seen, ["GET /metrics?app=a-guid HTTP/1.1", "GET /metrics?app=b-guid HTTP/1.1"]);
}

#[actix_web::test]
async fn concurrent_scrapes_do_not_change_the_route_table() {
    let instance = Instance::with_metrics("a 1\n").await;
    let exporter = Instance::with_metrics("b 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let list = json!([{"host": exporter.address.to_string()}]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let authorization = basic(USER, PASSWORD);
    let headers = [("Authorization", authorization.as_str())];
    let listed = async || app.get_with("/routes", &headers).await.json();
    let before = listed().await;
    let scrapes = (0..20).map(|_| app.get("/v1/apps/metrics?route_url=APP.example.com/some/path"));
    for answer in futures_util::future::join_all(scrapes).await {
        assert_eq!(answer.headers["x-scrapebroker-instances"], "1/1");
        assert_eq!((answer.lines("a{").len(), answer.lines("b{").len()), (1, 1));
    }
    assert_eq!((instance.requests().len(), exporter.requests().len()), (20, 20));
    assert_eq!(listed().await, before);
}

#[actix_web::test]
async fn an_unreachable_exporter_does_not_affect_the_others() {
    let instance = Instance::with_metrics("a 1\n").await;
    let good = Instance::with_metrics("b 1\n").await;
    let hanging = Instance::start(|_| Reply::Hang).await;
    let page = Instance::start(|_| {
        let html = ("Content-Type", "text/html".to_owned());
        Reply::Http(200, vec![html], b"<html></html>".to_vec())
    })
    .await;
    let closed = closed_address();
    let routes = RouteFile::of_app([&instance]);
    let unknown = format!("{UNKNOWN_HOST}:9100");
    let list = json!([
        {"name": "hanging", "host": hanging.address.to_string()},
        {"name": "closed", "host": closed.to_string()},
        // Two exporters on the same host result in one error series.
        {"name": "closed too", "host": closed.to_string(), "metrics_path": "/other"},
        {"name": "page", "host": page.address.to_string()},
        {"name": "unknown", "host": unknown},
        {"name": "good", "host": good.address.to_string()},
    ]);
    let concurrency = ("SCRAPE__CONCURRENCY", "1".to_owned());
    let app = spawn_app(&[routes.setting(), exporters(&list), concurrency]).await;
    let headers = [("X-Prometheus-Scrape-Timeout-Seconds", "5")];
    let answer = app.get_with(METRICS, &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.lines("a{").len(), 1);
    assert_eq!(answer.lines("b{"), [format!("b{{{APP},exporter=\"good\"}} 1")]);
    let error = |host: &str, reason: &str| {
        format!("promfetcher_scrape_error{{{APP},instance=\"{host}\",error=\"{reason}\"}} 1")
    };
    let errors = answer.lines("promfetcher_scrape_error{");
    assert_eq!(
        errors,
        [
            error(&hanging.address.to_string(), "timeout"),
            error(&closed.to_string(), "connect"),
            error(&page.address.to_string(), "not_exposition"),
            error(&unknown, "connect"),
        ]
    );
    let (code, findings) = promtool::check(&answer.body);
    assert!(matches!(code, Some(0 | 3)), "{findings}");
    let own = app.get("/metrics").await;
    for (name, reason) in [
        ("hanging", "timeout"),
        ("closed", "connect"),
        ("closed too", "connect"),
        ("page", "not_exposition"),
        ("unknown", "connect"),
    ] {
        let series = format!(
            "scrapebroker_external_exporter_failures_total{{name=\"{name}\",reason=\"{reason}\"}} "
        );
        assert_eq!(own.lines(&series), [format!("{series}1")]);
    }
    let good = "scrapebroker_external_exporter_scrapes_total{name=\"good\"} ";
    assert_eq!(own.lines(good), [format!("{good}1")]);
}

#[actix_web::test]
async fn one_successful_exporter_makes_the_status_200() {
    let instance = Instance::start(|_| Reply::Http(404, vec![], vec![])).await;
    let exporter = Instance::with_metrics("b 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let list = json!([{"host": exporter.address.to_string()}]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let answer = app.get(METRICS).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["x-scrapebroker-instances"], "0/1");
    assert_eq!(answer.lines("b{").len(), 1);
    assert!(answer.lines("promfetcher_scrape_error{")[0].contains("status_4xx"));
    // Without the exporter, the status depends on the instances only.
    assert_eq!(app.get("/v1/apps/app-guid/only-app-metrics").await.status, 406);
}

#[actix_web::test]
async fn if_all_scrapes_failed_the_message_names_the_exporters() {
    let instance = Instance::start(|_| Reply::Http(404, vec![], vec![])).await;
    let closed = closed_address();
    let routes = RouteFile::of_app([&instance]);
    let list = json!([
        {"name": "billing", "host": closed.to_string()},
        {"name": "quota", "host": "e", "params": {"s": "{{space_name}}"}},
    ]);
    let mut table = json!({"app.example.com": [endpoint("app", 0, instance.address)]});
    table["app.example.com"][0]["tags"]["space_name"] = json!("a\"b");
    routes.write(&table);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let answer = app.get(METRICS).await;
    assert_eq!(answer.status, 406, "{}", answer.text());
    assert_eq!(answer.headers["x-scrapebroker-instances"], "0/1");
    let text = answer.text();
    assert!(text.contains(&format!("exporter billing at {closed}: connect")), "{text}");
    assert!(text.contains("exporter quota at e: a tag of the app has quotes"), "{text}");
}

#[actix_web::test]
async fn a_template_error_is_reported_in_a_separate_series() {
    let instance = Instance::with_metrics("a 1\n").await;
    let exporter = Instance::with_metrics("b 1\n").await;
    let mut table = json!({"app.example.com": [endpoint("app", 0, instance.address)]});
    table["app.example.com"][0]["tags"]["space_name"] = json!("a\"b");
    table["app.example.com"][0]["tags"].as_object_mut().unwrap().remove("organization_name");
    let routes = RouteFile::new(&table);
    let host = exporter.address.to_string();
    let list = json!([
        {"name": "unsafe", "host": host, "params": {"s": ["{{.SpaceName}}"]}},
        {"name": "missing", "host": host, "params": {"s": ["x{{organization_name}}"]}},
    ]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let answer = app.get(METRICS).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let labels = "organization_id=\"org-guid\",space_id=\"space-guid\",app_id=\"app-guid\",\
                  organization_name=\"\",space_name=\"a\\\"b\",app_name=\"app\"";
    let error = |name: &str| {
        format!(
            "promfetcher_scrape_external_exporter_error{{{labels},instance=\"{host}\",\
             name=\"{name}\",error=\"{name}_value\"}} 1"
        )
    };
    let errors = answer.lines("promfetcher_scrape_external_exporter_error{");
    assert_eq!(errors, [error("unsafe"), error("missing")]);
    assert!(exporter.requests().is_empty());
    let own = app.get("/metrics").await;
    assert_eq!(
        own.lines(
            "scrapebroker_external_exporter_failures_total{name=\"unsafe\",reason=\"template\"} 1"
        )
        .len(),
        1
    );
}

#[actix_web::test]
async fn exporters_have_the_same_negotiation_and_limits_as_instances() {
    let metrics = |name: &str| format!("{name} 1 # {}\n", "x".repeat(60)).replace(" # ", "\n# ");
    let large: String = (0..10_000).map(|n| metrics(&format!("m{n}"))).collect();
    let small = Instance::with_metrics("a 1\n").await;
    let body = large.clone();
    let exporter = Instance::start(move |seen| {
        if seen.line.contains("openmetrics") {
            let kind = "application/openmetrics-text; version=1.0.0".to_owned();
            let body = b"# TYPE c counter\nc_total 1\n# EOF\n".to_vec();
            return Reply::Http(200, vec![("Content-Type", kind)], body);
        }
        Reply::Metrics(body.clone())
    })
    .await;
    let routes = RouteFile::of_app([&small]);
    let list = |path: &str| {
        exporters(&json!([{"host": exporter.address.to_string(), "metrics_path": path}]))
    };

    let app = spawn_app(&[routes.setting(), list("/openmetrics")]).await;
    let accept = [("Accept", "application/openmetrics-text; version=1.0.0")];
    let answer = app.get_with(METRICS, &accept).await;
    assert_eq!(answer.lines("c_total{"), [format!("c_total{{{APP}}} 1")], "{}", answer.text());
    assert!(answer.text().ends_with("# EOF\n"));
    assert!(exporter.requests()[0].headers["accept"].starts_with("application/openmetrics-text"));

    let limit = ("SCRAPE__MAX_INSTANCE_BODY", "64KiB".to_owned());
    let app = spawn_app(&[routes.setting(), list("/large"), limit]).await;
    let answer = app.get(METRICS).await;
    assert_eq!(answer.status, 200);
    assert!(answer.lines("promfetcher_scrape_error{")[0].contains("too_large"));

    let limit = ("SCRAPE__MAX_SAMPLES", "100".to_owned());
    let app = spawn_app(&[routes.setting(), list("/large"), limit]).await;
    assert!(app.get(METRICS).await.lines("promfetcher_scrape_error{")[0].contains("limit"));

    let body = large.len() + 10_000;
    let limits =
        [("SCRAPE__MAX_INSTANCE_BODY", body.to_string()), ("SCRAPE__MAX_MEMORY", body.to_string())];
    let two = json!([
        {"name": "one", "host": exporter.address.to_string()},
        {"name": "two", "host": exporter.address.to_string()},
    ]);
    let [a, b] = limits;
    let app = spawn_app(&[routes.setting(), exporters(&two), a, b]).await;
    let answer = app.get(METRICS).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("scrape.max_memory"), "{}", answer.text());
}

#[actix_web::test]
async fn samples_of_several_exporters_have_the_name_of_the_exporter() {
    let instance = Instance::with_metrics("# TYPE jobs gauge\njobs 1\n").await;
    let [one, two] =
        ["# TYPE jobs gauge\njobs 2\n", "# TYPE jobs gauge\njobs 3\n"].map(Instance::with_metrics);
    let (one, two) = (one.await, two.await);
    let routes = RouteFile::of_app([&instance]);
    let list = json!([
        {"name": "one", "host": one.address.to_string()},
        {"name": "two", "host": two.address.to_string()},
    ]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let expected = [
        format!("jobs{{{}}} 1", labels(0, instance.address)),
        format!("jobs{{{APP},exporter=\"one\"}} 2"),
        format!("jobs{{{APP},exporter=\"two\"}} 3"),
    ];
    assert_eq!(app.get(METRICS).await.lines("jobs{"), expected);
}

#[actix_web::test]
async fn a_response_contains_no_duplicate_series() {
    let instance = Instance::with_metrics("jobs 1\nscrapebroker_instance_up 0\n").await;
    let spoofed = format!("jobs{{{}}} 2\njobs 3\n", {
        let address = instance.address;
        format!("index=\"0\",instance_id=\"0\",instance=\"{address}\"")
    });
    let exporter = Instance::with_metrics(&spoofed).await;
    let routes = RouteFile::of_app([&instance]);
    let list = json!([{"name": "one", "host": exporter.address.to_string()}]);
    let app = spawn_app(&[routes.setting(), exporters(&list)]).await;
    let answer = app.get(METRICS).await;
    let own = labels(0, instance.address);
    let jobs = [format!("jobs{{{own}}} 1"), format!("jobs{{{APP}}} 3")];
    assert_eq!(answer.lines("jobs{"), jobs, "{}", answer.text());
    // An app cannot override `scrapebroker_instance_up`.
    assert_eq!(
        answer.lines("scrapebroker_instance_up{"),
        [format!("scrapebroker_instance_up{{{own}}} 1")]
    );
}
