//! Authorization of scrapes with `scrape.access: token`, and operator accounts.

use crate::test_app::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::*;
use tokio::{io::AsyncWriteExt, net::TcpStream};

const METRICS: &str = "/v1/apps/app-guid/metrics";

fn token_mode() -> (&'static str, String) {
    ("SCRAPE__ACCESS", "token".to_owned())
}

fn operators(list: &[(&str, &str)]) -> (&'static str, String) {
    let hashed = list.iter().map(|(user, password)| {
        json!({"username": user, "password_bcrypt": bcrypt::hash(password, 4).unwrap()})
    });
    ("OPERATORS", Value::from_iter(hashed).to_string())
}

fn token(bound: &Response) -> String {
    bound.json()["credentials"]["token"].as_str().unwrap().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

impl TestApp {
    /// Sends a GET request with this `Authorization` header.
    async fn get_as(&self, path: &str, authorization: &str) -> Response {
        self.get_with(path, &[("Authorization", authorization)]).await
    }

    /// Sends the request of `cf create-service-key` for the service instance that `bind` creates.
    async fn service_key(&self, id: &str) -> Response {
        let catalog = self.broker("GET", "/v2/catalog", None).await.json();
        let service = &catalog["services"][0];
        let key = json!({"service_id": service["id"], "plan_id": service["plans"][0]["id"]});
        let path = format!("/v2/service_instances/i1/service_bindings/{id}");
        self.broker("PUT", &path, Some(key)).await
    }
}

#[actix_web::test]
async fn a_scrape_requires_a_token_that_is_not_forwarded_to_the_app() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), token_mode()]).await;
    let token = token(&app.bind("b1", "app-guid", json!({})).await);

    for path in
        [METRICS, "/v1/apps/app-guid", "/v2/apps/metrics?app=unknown", "/v1/apps/metrics?app="]
    {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert!(answer.text().contains("Authorization: Bearer"), "{}", answer.text());
        // `headers` has the last of two headers; the first one offers basic authentication.
        assert!(answer.headers["www-authenticate"].starts_with("Bearer"));
    }
    for wrong in [bearer("sbt_wrong"), bearer(""), basic("u", "sbt_wrong"), "Bearer".to_owned()] {
        assert_eq!(app.get_as(METRICS, &wrong).await.status, 401, "{wrong}");
    }
    assert!(instance.requests().is_empty());

    for right in [bearer(&token), basic("scrapebroker", &token), basic("", &token)] {
        let answer = app.get_as(METRICS, &right).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(app.get_as("/v1/apps/app-guid", &bearer(&token)).await.status, 200);
    assert_eq!(app.get_as("/v1/apps/unknown/metrics", &bearer(&token)).await.status, 404);
    assert_eq!(
        app.get_as(METRICS, &basic(USER, PASSWORD)).await.status,
        200,
        "operators need no token"
    );
    assert_eq!(instance.requests().len(), 4);
    assert!(instance.requests().iter().all(|seen| !seen.headers.contains_key("authorization")));

    let own = app.get("/metrics").await;
    for (reason, least) in [("missing", 4), ("wrong", 2)] {
        let series = format!("scrapebroker_access_refused_total{{reason=\"{reason}\"}} ");
        let line = own.lines(&series).remove(0);
        let count: u32 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count >= least, "{line}");
    }
}

#[actix_web::test]
async fn own_metrics_contain_no_data_of_instances() {
    let good = Instance::with_metrics("hidden 1\n").await;
    let bad = Instance::start(|_| Reply::Http(500, vec![], b"hidden".to_vec())).await;
    let routes = RouteFile::of_app([&good, &bad]);
    for mode in [token_mode(), ("SCRAPE__ACCESS", "open".to_owned())] {
        let app = spawn_app(&[routes.setting(), mode]).await;
        let token = token(&app.bind("b1", "app-guid", json!({})).await);
        assert_eq!(app.get_as(METRICS, &bearer(&token)).await.lines("hidden{").len(), 1);
        let own = app.get("/metrics").await;
        assert_eq!(own.lines("promfetch_metric_fetch_success_total{").len(), 1);
        let text = own.text();
        for sensitive in
            ["hidden".to_owned(), token, good.address.to_string(), bad.address.to_string()]
        {
            assert!(!text.contains(&sensitive), "{sensitive}: {text}");
        }
    }
}

#[actix_web::test]
async fn credentials_for_the_app_come_from_its_binding() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), token_mode()]).await;
    let bound = app.bind("b1", "app-guid", json!({"bearer_token": "of the app"})).await;
    assert_eq!(app.get_as(METRICS, &bearer(&token(&bound))).await.status, 200);
    assert_eq!(instance.requests()[0].headers["authorization"], "Bearer of the app");
}

#[actix_web::test]
async fn a_token_of_another_app_gives_no_access() {
    let (a, b) = (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let exporter = Instance::with_metrics("e 1\n").await;
    let routes = RouteFile::new(&json!({
        "a.example.com": [endpoint("a", 0, a.address)],
        "b.example.com": [endpoint("b", 0, b.address)],
        "shared.example.com": [endpoint("a", 0, a.address), endpoint("b", 0, b.address)],
    }));
    let list = json!([{"host": exporter.address.to_string(), "params": {"app": "{{app_name}}"}}]);
    let exporters = ("EXTERNAL_EXPORTERS", list.to_string());
    let app = spawn_app(&[routes.setting(), token_mode(), exporters]).await;
    let of_b = bearer(&token(&app.bind("b1", "b-guid", json!({})).await));
    for path in [
        "/v1/apps/a-guid/metrics",
        "/v1/apps/acme/prod/a/only-app-metrics",
        "/v1/apps/metrics?route_url=a.example.com",
        "/v1/apps/a-guid/instances/0/metrics",
        "/v1/apps/a-guid",
    ] {
        let answer = app.get_as(path, &of_b).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        assert!(answer.text().contains("another app or space"), "{}", answer.text());
        assert!(!answer.text().contains(&a.address.to_string()));
    }
    assert!(a.requests().is_empty() && exporter.requests().is_empty());

    let shared = app.get_as("/v1/apps/metrics?route_url=shared.example.com", &of_b).await;
    assert_eq!(shared.status, 200, "{}", shared.text());
    assert_eq!(shared.headers["x-scrapebroker-instances"], "1/1");
    assert_eq!(shared.lines("a{").len(), 1);
    assert!(shared.lines("a{")[0].contains("app_id=\"b-guid\""));
    assert!(a.requests().is_empty());
    let lines: Vec<_> = exporter.requests().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /metrics?app=b HTTP/1.1"]);
    let known = app.get_as("/v1/apps/shared.example.com", &of_b).await.json();
    assert_eq!(known["apps"].as_array().unwrap().len(), 1, "{known}");
}

#[actix_web::test]
async fn a_service_key_gives_access_to_its_space() {
    let instance = Instance::with_metrics("a 1\n").await;
    let mut other = endpoint("other", 0, instance.address);
    other["tags"]["space_id"] = json!("other-space");
    other["address"] = json!("127.0.0.1:1");
    let mut nowhere = endpoint("nowhere", 0, instance.address);
    nowhere["tags"].as_object_mut().unwrap().remove("space_id");
    nowhere["address"] = json!("127.0.0.1:2");
    let routes = RouteFile::new(&json!({
        "app.example.com": [endpoint("app", 0, instance.address)],
        "other.example.com": [other], "nowhere.example.com": [nowhere],
    }));
    let app = spawn_app(&[routes.setting(), token_mode()]).await;
    app.bind("b1", "other-guid", json!({})).await;
    let key = app.service_key("k1").await;
    assert_eq!(key.status, 201, "{}", key.text());
    let key = bearer(&token(&key));
    assert_eq!(app.get_as(METRICS, &key).await.status, 200);
    for path in ["/v1/apps/other-guid/metrics", "/v1/apps/nowhere-guid/metrics"] {
        assert_eq!(app.get_as(path, &key).await.status, 403, "{path}");
    }
}

#[actix_web::test]
async fn unbinding_revokes_the_token_immediately() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), token_mode()]).await;
    let first = bearer(&token(&app.bind("b1", "app-guid", json!({})).await));
    let second = bearer(&token(&app.bind("b2", "app-guid", json!({})).await));
    assert_ne!(first, second);
    assert_eq!(app.unbind("b1").await.status, 200);
    assert_eq!(app.get_as(METRICS, &first).await.status, 401);
    assert_eq!(app.get_as(METRICS, &second).await.status, 200, "the other token stays valid");
}

/// Sends `count` logins and closes each connection before the response arrives.
async fn guess_and_disconnect(app: &TestApp, path: &str, user: &str, count: usize) {
    for guess in 0..count {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nX-Broker-Api-Version: 2.15\r\nAuthorization: {}\r\n\r\n",
            basic(user, &format!("guess {guess}"))
        );
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
    }
}

const CATALOG: &str = "/broker/v2/catalog";

#[actix_web::test]
async fn a_client_that_guesses_and_disconnects_is_throttled() {
    for (path, right) in [
        (CATALOG, basic(USER, PASSWORD)),
        ("/tsuru/metrics/resources/plans", basic("metrics", PASSWORD)),
        ("/routes", basic("ann", "pa:ss")),
        ("/sd", basic(USER, PASSWORD)),
    ] {
        let app = spawn_app(&[operators(&[("ann", "pa:ss")])]).await;
        let user = if right == basic("ann", "pa:ss") { "ann" } else { USER };
        let user = if path.starts_with("/tsuru") { "metrics" } else { user };
        guess_and_disconnect(&app, path, user, 40).await;
        let send_request = async |authorization: &str| {
            let headers = [("Authorization", authorization), ("X-Broker-Api-Version", "2.15")];
            app.get_with(path, &headers).await
        };
        let refused = eventually(async || {
            let answer = send_request(&basic(user, "wrong")).await;
            assert!([401, 429].contains(&answer.status), "{path}: {}", answer.text());
            (answer.status == 429).then_some(answer)
        })
        .await;
        let seconds: u64 = refused.headers["retry-after"].parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(refused.text().contains("Too many logins"), "{}", refused.text());
        let answer = send_request(&right).await;
        assert_eq!(
            answer.status, 429,
            "{path}: credentials without an earlier success are not compared"
        );
        if path == CATALOG {
            assert!(answer.json()["description"].as_str().unwrap().contains("Too many logins"));
        }
        // The rate limit refills.
        eventually(async || {
            (![401, 429].contains(&send_request(&right).await.status)).then_some(())
        })
        .await;
    }
}

#[actix_web::test]
async fn credentials_with_an_earlier_success_are_never_throttled() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let people = operators(&[("ann", "pa:ss"), ("bob", "wörd")]);
    let app = spawn_app(&[routes.setting(), token_mode(), people]).await;
    let token = bearer(&token(&app.bind("b1", "app-guid", json!({})).await));
    assert_eq!(app.get_as("/routes", &basic("ann", "pa:ss")).await.status, 200);
    assert_eq!(app.get_as(METRICS, &basic(USER, PASSWORD)).await.status, 200);
    for user in [USER, "ann", "x"] {
        guess_and_disconnect(&app, CATALOG, user, 40).await;
        guess_and_disconnect(&app, "/routes", user, 40).await;
        guess_and_disconnect(&app, METRICS, user, 40).await;
    }
    for round in 0..30 {
        assert_eq!(app.broker("GET", "/v2/catalog", None).await.status, 200, "{round}");
        assert_eq!(app.get_as("/routes", &basic("ann", "pa:ss")).await.status, 200, "{round}");
        assert_eq!(app.get_as(METRICS, &basic(USER, PASSWORD)).await.status, 200, "{round}");
        assert_eq!(app.get_as(METRICS, &token).await.status, 200, "{round}");
        guess_and_disconnect(&app, CATALOG, USER, 4).await;
    }
    // Failed logins of one operator do not throttle another operator.
    assert_eq!(app.get_as("/routes", &basic("bob", "wörd")).await.status, 200);
    assert_eq!(app.get_as("/routes", &basic("ann", "mistyped")).await.status, 429);
}

#[actix_web::test]
async fn random_user_names_do_not_bypass_the_throttling() {
    let app = spawn_app(&[operators(&[("ann", "pa:ss")])]).await;
    assert_eq!(app.get_as("/routes", &basic("ann", "pa:ss")).await.status, 200);
    let mut compared = 0;
    for name in 0..200 {
        let answer = app.get_as("/routes", &basic(&format!("user {name}"), "guess")).await;
        compared += u32::from(answer.status == 401);
        assert!([401, 429].contains(&answer.status), "{}", answer.text());
    }
    assert!(compared < 190, "{compared} of 200 passwords were compared");
    assert_eq!(app.get_as("/routes", &basic("ann", "pa:ss")).await.status, 200);
}

/// Cloud Controller retries a request five times, and its timeout is one minute.
#[actix_web::test]
async fn wrong_passwords_of_a_platform_are_refused_without_delay() {
    let app = spawn_app(&[]).await;
    let started = Instant::now();
    for _ in 0..60 {
        let headers = [("Authorization", &*basic(USER, "old")), ("X-Broker-Api-Version", "2.15")];
        let answer = app.get_with(CATALOG, &headers).await;
        assert!([401, 429].contains(&answer.status), "{}", answer.text());
    }
    // If each attempt were delayed, sixty attempts would take minutes.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let refused =
        |reason: &str| format!("scrapebroker_access_refused_total{{reason=\"{reason}\"}} ");
    let own = app.get("/metrics").await;
    for reason in ["wrong", "too_many"] {
        let line = own.lines(&refused(reason)).remove(0);
        assert!(line.rsplit(' ').next().unwrap().parse::<u32>().unwrap() >= 10, "{line}");
    }
}

#[actix_web::test]
async fn a_scrape_in_open_mode_does_not_verify_credentials() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), operators(&[("ann", "pa:ss")])]).await;
    app.bind("b1", "app-guid", json!({"bearer_token": "hidden"})).await;
    let path = format!("{METRICS}?metric_path=/admin");
    for guess in 0..40 {
        let answer = app.get_as(&path, &basic("ann", &format!("guess {guess}"))).await;
        assert_eq!(answer.status, 200, "open mode needs no credentials");
    }
    assert_eq!(app.get_as(&path, &basic("ann", "pa:ss")).await.status, 200);
    let seen = instance.requests().pop().unwrap();
    assert!(
        !seen.headers.contains_key("authorization"),
        "credentials must not be forwarded: {seen:?}"
    );
}

#[actix_web::test]
async fn each_operator_has_a_password() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let people = operators(&[("ann", "pa:ss"), ("bob", "wörd")]);
    let app = spawn_app(&[routes.setting(), token_mode(), people]).await;
    let of_app = token(&app.bind("b1", "app-guid", json!({})).await);
    let cases = [
        (basic("ann", "pa:ss"), 200),
        (basic("ann", "pa:ss"), 200),
        (basic("bob", "wörd"), 200),
        (basic(USER, PASSWORD), 200),
        (basic("ann", "wörd"), 401),
        (basic("eve", "pa:ss"), 401),
        (basic("ann", ""), 401),
        (bearer("pa:ss"), 401),
        (bearer(&of_app), 403),
        (basic("ann", &of_app), 403),
    ];
    for (authorization, status) in cases {
        let answer = app.get_as("/routes", &authorization).await;
        assert_eq!(answer.status, status, "{authorization}: {}", answer.text());
    }
    let anonymous = app.get("/routes").await;
    assert_eq!(anonymous.status, 401);
    assert!(anonymous.headers["www-authenticate"].starts_with("Basic"));
    // Operators can scrape every app, but their credentials are not those of the platform.
    assert_eq!(app.get_as(METRICS, &basic("ann", "pa:ss")).await.status, 200);
    let headers = [("Authorization", &*basic("ann", "pa:ss")), ("X-Broker-Api-Version", "2.15")];
    assert_eq!(app.get_with("/broker/v2/catalog", &headers).await.status, 401);
}

#[actix_web::test]
async fn only_operators_see_details_on_the_status_page() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), token_mode()]).await;
    let token = token(&app.bind("b1", "app-guid", json!({})).await);
    let details = "Sources of routes";
    let page = app.get("/").await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains(details) && page.text().contains("/?details"));
    assert_eq!(app.get("/?details").await.status, 401);
    assert_eq!(app.get_as("/", &bearer("wrong")).await.status, 401);
    for path in ["/", "/?details"] {
        let page = app.get_as(path, &basic(USER, PASSWORD)).await;
        assert!(page.status == 200 && page.text().contains(details), "{}", page.text());
    }
    let page = app.get_as("/", &basic("any", &token)).await;
    assert!(page.status == 200 && !page.text().contains(details), "{}", page.text());
    assert_eq!(app.get_as("/?details", &basic("any", &token)).await.status, 403);
    let doc = app.get("/doc").await.text();
    let scrapes = doc.lines().filter(|line| line.contains("/v1/apps/") && line.contains("curl"));
    for line in scrapes {
        assert!(line.contains("Authorization: Bearer $TOKEN"), "{line}");
    }
    assert!(app.get("/doc").await.text().contains("Authorization: Bearer $TOKEN"));

    let open = spawn_app(&[routes.setting()]).await;
    assert!(!open.get("/").await.text().contains(details), "anonymous users see no router");
    assert!(!open.get("/doc").await.text().contains("Authorization: Bearer $TOKEN"));
}
