//! Scrapes of apps: `/v1/apps/…`.

use crate::test_app::*;
use serde_json::json;
use std::time::Duration;
use support::*;

#[actix_web::test]
async fn one_url_returns_the_labelled_metrics_of_all_instances() {
    let zero = Instance::with_metrics("# TYPE jobs gauge\njobs{queue=\"a\"} 1\n").await;
    let one = Instance::with_metrics("# TYPE jobs gauge\njobs{queue=\"a\"} 2\n").await;
    let routes = RouteFile::of_app([&zero, &one]);
    let app = spawn_app(&[routes.setting()]).await;
    for key in ["app-guid", "acme/prod/app", "acme%2Fprod%2Fapp", "app.example.com"] {
        let answer = app.get(&format!("/v1/apps/{key}/metrics")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let expected = [
            format!("jobs{{queue=\"a\",{}}} 1", labels(0, zero.address)),
            format!("jobs{{queue=\"a\",{}}} 2", labels(1, one.address)),
        ];
        assert_eq!(answer.lines("jobs{"), expected, "{key}");
        assert_eq!(answer.lines("# TYPE jobs "), ["# TYPE jobs gauge"]);
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(answer.headers["x-scrapebroker-instances"], "2/2");
    }
    for query in [
        "app=app-guid",
        "app=acme/prod/app",
        "app=%22acme/prod/app%22",
        "app=app.example.com",
        "route_url=app.example.com",
        "route_url=APP.example.com/some/path?x",
        "route_url=acme/prod/app",
        "route_url=app-guid",
    ] {
        for version in ["v1", "v2"] {
            let answer = app.get(&format!("/{version}/apps/metrics?{query}")).await;
            assert_eq!(answer.lines("jobs{").len(), 2, "{query}: {}", answer.text());
        }
    }
}

#[actix_web::test]
async fn an_unknown_app_is_404_and_the_message_shows_the_three_key_forms() {
    let routes = RouteFile::new(&json!({}));
    let app = spawn_app(&[routes.setting()]).await;
    for key in ["unknown", "a/b/c", "x.example.com", "..%2f..%2fetc", "app"] {
        let answer = app.get(&format!("/v1/apps/{key}/metrics")).await;
        assert_eq!(answer.status, 404, "{key}");
        assert!(answer.text().contains("org/space/app"), "{}", answer.text());
        assert_eq!(app.get(&format!("/v1/apps/{key}")).await.status, 404);
    }
}

#[actix_web::test]
async fn invalid_requests_are_400_with_a_reason() {
    let app = spawn_app(&[]).await;
    for (path, word) in [
        ("/v1/apps/metrics", "GUID"),
        ("/v1/apps/metrics?app=", "GUID"),
        ("/v1/apps/only-app-metrics", "GUID"),
        ("/v1/apps/a%00b/metrics", "control character"),
        ("/v1/apps/a%ffb/metrics", "UTF-8"),
        ("/v1/apps/a/metrics?metric_path=//evil.example", "path like /metrics"),
        ("/v1/apps/a/metrics?metric_path=http://evil.example/", "path like /metrics"),
        ("/v1/apps/a/metrics?metric_path=/x%0d%0aHost:%20evil", "percent-encoded"),
        ("/v1/apps/a/metrics?metric_path=/a/../b", ".."),
        ("/v1/apps/a/metrics?metric_path=/a&metric_path=/b", "twice"),
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(answer.text().contains(word), "{path}: {}", answer.text());
    }
}

#[actix_web::test]
async fn before_the_first_route_table_the_response_is_503_with_retry_after() {
    let gorouter = Instance::start(|_| Reply::Hang).await;
    let url = format!("[{{\"url\": \"http://{}/routes\"}}]", gorouter.address);
    let app = spawn_app(&[("ROUTES__GOROUTERS", url)]).await;
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(app.get("/-/ready").await.status, 503);
    assert_eq!(app.get("/-/healthy").await.status, 200);
}

#[actix_web::test]
async fn head_is_allowed_like_get_and_other_methods_are_405() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    for path in ["/v1/apps/app-guid/metrics", "/v1/apps/app-guid", "/", "/doc", "/metrics"] {
        let get = app.get(path).await;
        let head = send("HEAD", &app.url(path), &[], None).await;
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(get.headers["content-type"], head.headers["content-type"], "{path}");
        let post = send("POST", &app.url(path), &[], Some(String::new())).await;
        assert_eq!((post.status, post.headers["allow"].as_str()), (405, "GET, HEAD"), "{path}");
    }
}

#[actix_web::test]
async fn responses_are_gzip_if_the_client_accepts_it() {
    let instance = Instance::with_metrics("a{x=\"y\"} 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let path = "/v1/apps/app-guid/only-app-metrics";
    let plain = app.get(path).await;
    assert_eq!(plain.headers["content-length"], plain.body.len().to_string());
    let packed = app.get_with(path, &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut content = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed.body[..]);
    std::io::Read::read_to_string(&mut decoder, &mut content).unwrap();
    assert_eq!(content, plain.text());
}

#[actix_web::test]
async fn processes_other_than_web_are_scraped_and_have_different_labels() {
    let (web, worker) =
        (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let mut of_worker = endpoint("app", 0, worker.address);
    of_worker["tags"]["process_type"] = json!("worker");
    of_worker["tags"]["process_instance_id"] = json!("other");
    let table = json!({
        "app.example.com": [endpoint("app", 0, web.address)],
        "worker.example.com": [of_worker],
    });
    let routes = RouteFile::new(&table);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get("/v1/apps/acme/prod/app/metrics").await;
    let worker_labels = labels(0, worker.address);
    let expected = [
        format!("a{{{}}} 1", labels(0, web.address)),
        format!("a{{{worker_labels},process_type=\"worker\"}} 2"),
    ];
    let mut lines = answer.lines("a{");
    lines.sort();
    let mut sorted = expected.to_vec();
    sorted.sort();
    assert_eq!(lines, sorted);

    let one = app.get("/v1/apps/app-guid/instances/0/only-app-metrics").await;
    assert_eq!(one.status, 404, "only-app-metrics does not exist for single instances");
    let one = app.get("/v1/apps/app-guid/instances/0/metrics").await;
    assert_eq!(one.lines("a{"), expected[..1]);
    let one = app.get("/v1/apps/app-guid/instances/0/metrics?process_type=worker").await;
    assert_eq!(one.lines("a{"), expected[1..]);
    let none = app.get("/v1/apps/app-guid/instances/7/metrics").await;
    assert_eq!(none.status, 404);
    assert!(none.text().contains("web/0, worker/0"), "{}", none.text());
}

#[actix_web::test]
async fn a_route_with_two_path_segments_is_not_parsed_as_an_app_name() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::new(
        &json!({ "app.example.com/api/v1": [endpoint("app", 0, instance.address)] }),
    );
    let app = spawn_app(&[routes.setting()]).await;
    for path in [
        "/v1/apps/app.example.com/api/v1/metrics",
        "/v1/apps/metrics?route_url=app.example.com/api/v1",
        "/v1/apps/metrics?app=app.example.com/api/v1/deeper",
    ] {
        assert_eq!(app.get(path).await.lines("a{").len(), 1, "{path}");
    }
    assert_eq!(app.get("/v1/apps/app.example.com/other/metrics").await.status, 404);
}

#[actix_web::test]
async fn wildcard_routes_and_parent_paths_are_found() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes =
        RouteFile::new(&json!({ "*.example.com": [endpoint("app", 0, instance.address)] }));
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get("/v1/apps/metrics?route_url=tenant-7.example.com/x/y").await;
    assert_eq!(answer.lines("a{").len(), 1, "{}", answer.text());
    let host = instance.requests()[0].headers["host"].clone();
    assert_eq!(host, "tenant-7.example.com");
}

#[actix_web::test]
async fn routes_without_an_app_cannot_be_scraped() {
    let component = Instance::with_metrics("secret 1\n").await;
    let endpoint = json!({
        "address": component.address.to_string(), "tls": false, "ttl": 120,
        "tags": {"component": "uaa"},
    });
    let routes = RouteFile::new(&json!({
        "uaa.example.com": [endpoint],
        "null.example.com": [{"address": component.address.to_string(), "tags": null}],
        "empty.example.com": [],
    }));
    let app = spawn_app(&[routes.setting()]).await;
    for host in ["uaa", "null", "empty"] {
        let answer = app.get(&format!("/v1/apps/metrics?route_url={host}.example.com")).await;
        assert_eq!(answer.status, 404, "{host}");
    }
    assert!(component.requests().is_empty());
}

#[actix_web::test]
async fn an_instance_with_4xx_does_not_affect_the_others() {
    let good = Instance::with_metrics("a 1\n").await;
    let old = Instance::start(|_| Reply::Http(404, vec![], b"no such page".to_vec())).await;
    let exporter = Instance::with_metrics("b 1\n").await;
    let routes = RouteFile::of_app([&good, &old]);
    let one = json!([{"host": exporter.address.to_string()}]);
    for (exporters, answered) in [(json!([]), 0), (one, 1)] {
        let exporters = ("EXTERNAL_EXPORTERS", exporters.to_string());
        let app = spawn_app(&[routes.setting(), exporters]).await;
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!((answer.lines("a{").len(), answer.lines("b{").len()), (1, answered));
        let labels = labels(1, old.address);
        assert_eq!(
            answer.lines("promfetcher_scrape_error"),
            [format!("promfetcher_scrape_error{{{labels},error=\"status_4xx\"}} 1")]
        );
    }
}

#[actix_web::test]
async fn instances_receive_the_accepted_formats() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    app.get("/v1/apps/app-guid/metrics").await;
    let accept = instance.requests()[0].headers["accept"].clone();
    assert!(accept.starts_with("text/plain;version=0.0.4"), "{accept}");
    assert!(!accept.contains("openmetrics"), "{accept}");
}

#[actix_web::test]
async fn instances_receive_the_host_of_their_route() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::new(&json!({
        "*.example.com": [endpoint("app", 0, instance.address)],
        "b.example.com": [endpoint("app", 0, instance.address)],
        "c.example.com/path": [endpoint("app", 0, instance.address)],
    }));
    let app = spawn_app(&[routes.setting()]).await;
    app.get_with(
        "/v1/apps/metrics?route_url=c.example.com/path/more",
        &[("X-Prometheus-Scrape-Timeout-Seconds", "10")],
    )
    .await;
    app.get("/v1/apps/app-guid/metrics").await;
    let seen = instance.requests();
    assert_eq!(seen[0].headers["host"], "c.example.com");
    assert_eq!(seen[1].headers["host"], "b.example.com");
    assert_eq!(seen[0].headers["x-promfetcher-scrapping"], "true");
    assert_eq!(seen[0].headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen[0].headers["x-forwarded-proto"], "http");
    assert!(!seen[0].headers.contains_key("x-forwarded-host"));
    let left: f64 = seen[0].headers["x-prometheus-scrape-timeout-seconds"].parse().unwrap();
    assert!(left > 1.0 && left <= 9.5, "{left}");
}

#[actix_web::test]
async fn headers_and_parameters_are_forwarded_to_the_app() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let headers = [
        ("Authorization", "Bearer of-the-app"),
        ("X-Tenant", "7"),
        ("Cookie", "session=1"),
        ("X-Forwarded-For", "10.1.2.3"),
        ("User-Agent", "Prometheus/3.0"),
    ];
    let path = "/v1/apps/metrics?app=app-guid&metric_path=probe%3Fx%3D1&module=http&t=%2F%20";
    app.get_with(path, &headers).await;
    let seen = &instance.requests()[0];
    assert_eq!(seen.line, "GET /probe?x=1&module=http&t=%2F%20 HTTP/1.1");
    assert_eq!(seen.headers["authorization"], "Bearer of-the-app");
    assert_eq!(seen.headers["x-tenant"], "7");
    assert!(!seen.headers.contains_key("cookie"));
    assert_eq!(seen.headers["x-forwarded-for"], "10.1.2.3, 127.0.0.1");
    assert!(!seen.headers["user-agent"].contains("Prometheus"));
}

#[actix_web::test]
async fn three_redirects_to_the_same_instance_are_followed() {
    let to = |location: &str| Reply::Http(302, vec![("Location", location.to_owned())], vec![]);
    let django = Instance::start(move |seen| match seen.line.split(' ').nth(1).unwrap() {
        "/metrics" => to("http://app.example.com/metrics/"),
        "/metrics/" => to("/real"),
        _ => Reply::metrics("a 1\n"),
    })
    .await;
    let spinning = Instance::start(move |_| to("/metrics")).await;
    let elsewhere = Instance::start(move |_| to("http://169.254.169.254/latest")).await;
    let routes = RouteFile::of_app([&django, &spinning, &elsewhere]);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    assert_eq!(answer.lines("a{").len(), 1, "{}", answer.text());
    let errors = answer.lines("promfetcher_scrape_error");
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|line| line.contains("error=\"redirect\"")), "{errors:?}");
    assert_eq!(spinning.requests().len(), 4);
}

#[actix_web::test]
async fn a_type_conflict_loses_no_sample() {
    let fixture = |name: &str| {
        std::fs::read_to_string(format!("crates/exposition/tests/fixtures/{name}")).unwrap()
    };
    let zero = Instance::with_metrics(&fixture("text.prom")).await;
    let one = Instance::with_metrics(&fixture("type_conflict.prom")).await;
    let routes = RouteFile::of_app([&zero, &one]);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get("/v1/apps/app-guid/only-app-metrics").await;
    assert_eq!(answer.lines("http_requests_total{").len(), 3, "{}", answer.text());
    assert_eq!(answer.lines("queue_depth{").len(), 3);
    assert_eq!(answer.lines("# TYPE queue_depth "), ["# TYPE queue_depth untyped"]);
    assert!(answer.text().contains("exported_app_id=\"spoofed\""), "{}", answer.text());
    let own = app.get("/metrics").await;
    assert_eq!(
        own.lines("scrapebroker_merge_changes_total{kind=\"type_conflict\"}"),
        ["scrapebroker_merge_changes_total{kind=\"type_conflict\"} 2"]
    );
}

#[actix_web::test]
async fn conflicting_labels_are_renamed() {
    let instance =
        Instance::with_metrics("a{instance=\"left\"} 1\na{instance=\"right\"} 2\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    let labels = labels(0, instance.address);
    assert_eq!(
        answer.lines("a{"),
        [
            format!("a{{exported_instance=\"left\",{labels}}} 1"),
            format!("a{{exported_instance=\"right\",{labels}}} 2")
        ]
    );
}

#[actix_web::test]
async fn each_instance_has_status_series() {
    let good = Instance::with_metrics("a 1\nb 2\n").await;
    let bad = Instance::start(|_| Reply::Http(500, vec![], b"secret stack trace".to_vec())).await;
    let routes = RouteFile::of_app([&good, &bad]);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    let (zero, one) = (labels(0, good.address), labels(1, bad.address));
    assert_eq!(
        answer.lines("scrapebroker_instance_up{"),
        [
            format!("scrapebroker_instance_up{{{zero}}} 1"),
            format!("scrapebroker_instance_up{{{one}}} 0")
        ]
    );
    assert_eq!(
        answer.lines("scrapebroker_instance_samples{"),
        [
            format!("scrapebroker_instance_samples{{{zero}}} 2"),
            format!("scrapebroker_instance_samples{{{one}}} 0")
        ]
    );
    assert_eq!(answer.lines("scrapebroker_instance_scrape_duration_seconds{").len(), 2);
    assert_eq!(
        answer.lines("scrapebroker_instance_info{")[0],
        format!(
            "scrapebroker_instance_info{{{zero},process_type=\"web\",\
             process_instance_id=\"app-instance-0\",availability_zone=\"z1\"}} 1"
        )
    );
    assert_eq!(answer.headers["x-scrapebroker-instances"], "1/2");
    assert!(!answer.text().contains("secret"));
    let only = app.get("/v1/apps/app-guid/metrics?only_from_app=1").await;
    assert!(only.lines("scrapebroker_instance").is_empty());
    assert_eq!(only.lines("promfetcher_scrape_error{").len(), 1);
}

#[actix_web::test]
async fn instances_without_an_index_have_different_labels() {
    let (zero, one) =
        (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 1\n").await);
    let without_index = |index, instance: &Instance| {
        let mut endpoint = endpoint("app", index, instance.address);
        endpoint["tags"].as_object_mut().unwrap().remove("instance_id");
        endpoint
    };
    let routes = RouteFile::new(
        &json!({ "app.example.com": [without_index(0, &zero), without_index(1, &one)] }),
    );
    let app = spawn_app(&[routes.setting()]).await;
    let lines = app.get("/v1/apps/app-guid/metrics").await.lines("a{");
    assert_eq!(lines.len(), 2);
    assert_ne!(lines[0], lines[1]);
    assert!(lines.iter().all(|line| !line.contains("index=") && !line.contains("instance_id=")));
}

#[actix_web::test]
async fn two_equal_scrapes_are_byte_equal() {
    let body: String = (0..200).map(|n| format!("# TYPE m{n} counter\nm{n} {n}\n")).collect();
    let mut instances = Vec::new();
    for _ in 0..5 {
        instances.push(Instance::with_metrics(&body).await);
    }
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    let first = app.get("/v1/apps/app-guid/only-app-metrics").await;
    let second = app.get("/v1/apps/app-guid/only-app-metrics").await;
    assert_eq!(first.body, second.body);
    assert_eq!(first.lines("m199{").len(), 5);
}

#[actix_web::test]
async fn the_status_is_an_error_if_all_instances_failed() {
    let status = |code| move |_: &ReceivedRequest| Reply::Http(code, vec![], vec![]);
    for (first, second, expected) in [(404, 403, 406), (500, 500, 502), (404, 500, 502)] {
        let (a, b) = (Instance::start(status(first)).await, Instance::start(status(second)).await);
        let routes = RouteFile::of_app([&a, &b]);
        let app = spawn_app(&[routes.setting()]).await;
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        assert_eq!(answer.status, expected, "{first} and {second}");
        assert!(answer.text().contains(&a.address.to_string()), "{}", answer.text());
        assert!(answer.text().contains("status_"), "{}", answer.text());

        let series = [routes.setting(), ("SCRAPE__ALL_FAILED", "series".to_owned())];
        let answer = spawn_app(&series).await.get("/v1/apps/app-guid/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.lines("promfetcher_scrape_error{").len(), 2);
    }
}

#[actix_web::test]
async fn a_scrape_of_the_program_by_itself_is_508() {
    let routes = RouteFile::new(&json!({}));
    let app = spawn_app(&[routes.setting()]).await;
    routes.write(&json!({ "loop.example.com": [endpoint("loop", 0, app.address)] }));
    let answer = eventually(async || {
        let path = "/v1/apps/loop-guid/metrics?metric_path=/v1/apps/loop-guid/metrics";
        let answer = app.get(path).await;
        (answer.status != 404).then_some(answer)
    })
    .await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("508"), "{}", answer.text());
}

#[actix_web::test]
async fn the_response_is_sent_before_the_deadline_of_the_scraper() {
    let good = Instance::with_metrics("a 1\n").await;
    let mut hung = Vec::new();
    for _ in 0..80 {
        hung.push(Instance::start(|_| Reply::Hang).await);
    }
    // The responsive instance is last. More unresponsive instances than concurrent scrapes precede
    // it.
    let addresses = hung.iter().map(|one| one.address).chain([good.address]);
    let routes = RouteFile::of_addresses(addresses);
    let app = spawn_app(&[routes.setting()]).await;
    let deadline = [("X-Prometheus-Scrape-Timeout-Seconds", "4")];
    let scrape = app.get_with("/v1/apps/app-guid/metrics", &deadline);
    let answer = tokio::time::timeout(Duration::from_secs(4), scrape).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-scrapebroker-instances"], "1/81");
    assert_eq!(answer.lines("promfetcher_scrape_error{").len(), 80);
    assert!(answer.lines("promfetcher_scrape_error{")[0].contains("error=\"timeout\""));

    drop(good);
    let routes = RouteFile::of_app(&hung[..3]);
    let app = spawn_app(&[routes.setting()]).await;
    let deadline = [("X-Prometheus-Scrape-Timeout-Seconds", "1")];
    assert_eq!(app.get_with("/v1/apps/app-guid/metrics", &deadline).await.status, 504);
}
