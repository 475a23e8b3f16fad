//! Pages about apps: the list, one app, "Scrape now", and an app that is missing.

use crate::test_app::*;
use serde_json::{Map, Value, json};
use support::*;

const JSON: (&str, &str) = ("Accept", "application/json");
const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml");

impl TestApp {
    /// The JSON of a page with the credentials of an operator.
    async fn view(&self, path: &str) -> Value {
        let operator = basic(USER, PASSWORD);
        let answer = self.get_with(path, &[JSON, ("Authorization", &operator)]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert_eq!(answer.headers["vary"], "Accept, Authorization", "{path}");
        answer.json()
    }

    async fn page(&self, path: &str) -> String {
        let operator = basic(USER, PASSWORD);
        let answer = self.get_with(path, &[HTML, ("Authorization", &operator)]).await;
        assert!(answer.headers["content-type"].starts_with("text/html"), "{path}");
        answer.text()
    }

    async fn submit(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        send("POST", &self.url(path), headers, None).await
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["apps"].as_array().unwrap().iter().map(|app| app["app_name"].as_str().unwrap()).collect()
}

/// Apps with one instance each, at closed ports.
fn table_of_apps(apps: impl IntoIterator<Item = String>) -> Value {
    let routes = apps.into_iter().map(|app| {
        let route = format!("{app}.example.com");
        (route, json!([endpoint(&app, 0, closed_address())]))
    });
    routes.collect::<Map<_, _>>().into()
}

#[actix_web::test]
async fn the_list_is_filtered_sorted_and_paged() {
    let (good, bad) = (
        Instance::with_metrics("a 1\nb 2\n").await,
        Instance::start(|_| Reply::Http(500, vec![], vec![])).await,
    );
    let mut table = table_of_apps((0..250).map(|index| format!("idle{index:03}")));
    table["shop.example.com"] =
        json!([endpoint("shop", 0, good.address), endpoint("shop", 1, bad.address)]);
    table["café.example.com"] = json!([endpoint("Café", 0, good.address)]);
    let routes = RouteFile::new(&table);
    let app = spawn_app(&[routes.setting()]).await;
    for name in ["shop", "Caf%C3%A9"] {
        assert_eq!(app.get(&format!("/v1/apps/{name}-guid/metrics")).await.status, 200);
    }

    let all = app.view("/apps").await;
    assert_eq!(
        (&all["total"], &all["matching"], &all["pages"]),
        (&json!(252), &json!(252), &json!(3))
    );
    assert_eq!(names(&all).len(), 100);
    assert_eq!(names(&all)[..2], ["Café", "idle000"]);
    assert_eq!(names(&app.view("/apps?page=3").await).last(), Some(&"shop"));
    // A page beyond the end is the last page.
    assert_eq!(app.view("/apps?page=99").await["page"], 3);

    for (query, expected) in [
        ("q=CAF%C3%89", vec!["Café"]),
        ("q=acme+prod+shop", vec!["shop"]),
        ("q=shop.example.com", vec!["shop"]),
        ("q=shop-guid", vec!["shop"]),
        ("q=nowhere", vec![]),
        ("state=failing", vec!["shop"]),
        ("state=up", vec!["Café"]),
        ("q=idle0&state=up", vec![]),
    ] {
        let list = app.view(&format!("/apps?{query}")).await;
        assert_eq!(names(&list), expected, "{query}");
    }
    assert_eq!(app.view("/apps?state=unscraped").await["matching"], 250);
    // Apps that were never scraped come last in both orders.
    for order in ["asc", "desc"] {
        let list = app.view(&format!("/apps?sort=samples&order={order}")).await;
        assert_eq!(names(&list)[2], "idle000", "{order}");
    }
    assert_eq!(names(&app.view("/apps?sort=up").await)[..2], ["shop", "Café"]);
    assert_eq!(names(&app.view("/apps?sort=error").await)[0], "shop");

    let list = app.view("/apps?q=shop").await;
    let shop = &list["apps"][0];
    assert_eq!(shop["routes"], json!(["shop.example.com"]));
    let numbers =
        ["instances", "up", "failing", "samples"].map(|name| shop[name].as_u64().unwrap());
    assert_eq!(numbers, [2, 1, 1, 2]);
    assert_eq!(shop["error"], "status_5xx");
    assert_eq!(shop["detail"], "the response status was 500 Internal Server Error");

    let page = app.page("/apps?q=shop").await;
    assert!(page.contains("1 of 252 apps.") && page.contains("status_5xx"), "{page}");
    assert!(page.contains(r#"href="/apps/shop-guid""#), "{page}");
}

#[actix_web::test]
async fn wrong_parameters_of_the_list_are_refused() {
    let routes = RouteFile::new(&json!({}));
    let app = spawn_app(&[routes.setting()]).await;
    let operator = basic(USER, PASSWORD);
    for query in ["state=x", "sort=x", "order=x", "page=0", "page=-1"] {
        let path = format!("/apps?{query}");
        let answer = app.get_with(&path, &[("Authorization", &operator)]).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(" must be "), "{}", answer.text());
    }
    let page = app.page("/apps").await;
    assert!(page.contains("There are no apps yet"), "{page}");
}

#[actix_web::test]
async fn the_list_requires_credentials_and_a_token_sees_its_apps() {
    let table = table_of_apps(["app".to_owned(), "other".to_owned()]);
    let routes = RouteFile::new(&table);
    let app = spawn_app(&[routes.setting()]).await;
    let anonymous = app.get_with("/apps", &[HTML]).await;
    assert_eq!(anonymous.status, 401);
    assert!(anonymous.headers["content-type"].starts_with("text/html"));
    assert!(anonymous.text().contains("Credentials are required"), "{}", anonymous.text());
    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let token = bound["credentials"]["token"].as_str().unwrap().to_owned();
    let token = format!("Bearer {token}");
    let list = app.get_with("/apps", &[JSON, ("Authorization", &token)]).await.json();
    assert_eq!((names(&list), &list["total"]), (vec!["app"], &json!(1)));
}

#[actix_web::test]
async fn the_page_of_an_app_explains_why_an_instance_fails() {
    let good = Instance::with_metrics("a 1\nb 2\n").await;
    let bad = Instance::start(|_| Reply::Http(500, vec![], b"secret".to_vec())).await;
    let routes = RouteFile::of_app([&good, &bad]);
    let app = spawn_app(&[routes.setting()]).await;
    let before = app.page("/apps/acme/prod/app").await;
    assert!(before.contains("2 instances, not scraped yet."), "{before}");
    assert!(before.contains("No client has scraped it"), "{before}");

    // A plot needs scrapes at different times.
    eventually(async || {
        let headers = [("User-Agent", "Prometheus/3.5.0")];
        assert_eq!(app.get_with("/v1/apps/app-guid/metrics", &headers).await.status, 200);
        app.page("/apps/app-guid").await.contains("<polyline").then_some(())
    })
    .await;
    for path in [
        "/apps/app-guid",
        "/apps/acme/prod/app",
        "/apps/acme%2Fprod%2Fapp",
        "/apps/app.example.com",
    ] {
        let page = app.page(path).await;
        assert!(page.contains("1 of 2 instances up, 1 failing."), "{page}");
        for text in [
            "<strong>status_5xx</strong>: <bdi>the response status was 500 Internal Server Error",
            "The app failed while it rendered its metrics.",
            "<code>cf logs &#39;app&#39; --recent</code>",
            r#"<a href="/v1/apps/app-guid/instances/1/metrics?process_type=web">"#,
            "<code>Prometheus/3.5.0</code>",
            "Duration of the last scrapes",
        ] {
            assert!(page.contains(text), "{path}: {text} is not in {page}");
        }
        assert!(!page.contains("secret"));
        // The failing instance comes first.
        let (failing, up) = (page.find("data-state=\"failing\""), page.find("data-state=\"up\""));
        assert!(failing.unwrap() < up.unwrap());
    }
    let twin = app.view("/apps/app-guid").await;
    let failing = &twin["instances"][0];
    assert_eq!(failing["last_scrape"]["error"], "status_5xx");
    assert!(failing["last_scrape"]["explanation"]["remedy"].is_string(), "{failing}");
    assert!(failing["history"].as_array().unwrap().len() >= 2, "{failing}");
    assert_eq!(failing["history"][0]["samples"], Value::Null);
    assert_eq!(twin["instances"][1]["history"][0]["samples"], 2);
    assert_eq!(twin["scraped_by"]["agent"], "Prometheus/3.5.0");
    assert_eq!(twin["scraped_by"]["address"], "127.0.0.1");
    // The addresses of scrapers are not for everybody.
    let open = app.get_with("/apps/app-guid", &[JSON]).await.json();
    assert_eq!(open["scraped_by"].get("address"), None);
    // The description of the API has no history.
    assert_eq!(
        app.get("/v1/apps/app-guid").await.json()["apps"][0]["instances"][0].get("history"),
        None
    );

    let failing = app.page("/apps/app-guid?state=failing").await;
    assert!(!failing.contains("data-state=\"up\""), "{failing}");
    for (query, shown) in [("q=WEB%2F1", 1), ("q=status_5xx", 1), ("q=web", 2), ("q=nothing", 0)] {
        let page = app.page(&format!("/apps/app-guid?{query}")).await;
        assert_eq!(page.matches("<tr role=\"row\" data-state=").count(), shown, "{query}");
    }
    for query in ["state=x", "page=0"] {
        let answer = app.get_with(&format!("/apps/app-guid?{query}"), &[HTML]).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let none = app.page("/apps/app-guid?state=unscraped").await;
    assert!(none.contains("No instance is in this state."), "{none}");
}

#[actix_web::test]
async fn the_page_shows_the_binding_without_secrets() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let parameters = json!({
        "endpoint": "/probe?key=hidden-1", "params": {"module": ["hidden-2"]},
        "headers": {"X-Key": "hidden-3"}, "bearer_token": "hidden-4", "labels": {"team": "checkout"},
        "sample_limit": 7,
    });
    assert_eq!(app.bind("b1", "app-guid", parameters).await.status, 201);
    assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 200);
    let page = app.page("/apps/app-guid").await;
    for text in [
        "<code>/probe</code>",
        "module",
        "x-key",
        "bearer",
        r#"team="checkout""#,
        "Limit of samples",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    let twin = app.view("/apps/app-guid").await.to_string();
    for secret in ["hidden-1", "hidden-2", "hidden-3", "hidden-4"] {
        assert!(!page.contains(secret) && !twin.contains(secret), "{secret}");
    }
}

#[actix_web::test]
async fn scrape_now_scrapes_all_instances() {
    let good = Instance::with_metrics("a 1\n").await;
    let bad = Instance::start(|_| Reply::Http(404, vec![], vec![])).await;
    let routes = RouteFile::of_app([&good, &bad]);
    let app = spawn_app(&[routes.setting()]).await;
    let path = "/apps/app-guid/scrape";
    let answer = app.submit(path, &[HTML, ("Cookie", "a=b"), ("X-Key", "of the browser")]).await;
    assert_eq!((answer.status, &*answer.headers["location"]), (303, "/apps/app-guid?state=all"));
    // Headers of the browser do not reach the app.
    let received = good.requests().remove(0);
    assert!(!received.headers.contains_key("x-key") && !received.headers.contains_key("cookie"));
    let page = app.page("/apps/app-guid").await;
    assert!(
        page.contains("1 of 2 instances up, 1 failing.") && page.contains("from this page"),
        "{page}"
    );

    let answer = app.submit(path, &[JSON]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["instances"][0]["last_scrape"]["error"], "status_4xx");
    assert_eq!(good.requests().len(), 2);

    // The redirect leads to the same part of the list.
    let answer = app.submit(&format!("{path}?state=failing&q=web&page=1"), &[HTML]).await;
    let expected = "/apps/app-guid?state=failing&q=web";
    assert_eq!((answer.status, &*answer.headers["location"]), (303, expected));
    assert_eq!(app.submit(&format!("{path}?state=x"), &[HTML]).await.status, 400);
    assert_eq!(good.requests().len(), 3);

    // Other sites and other methods start no scrape.
    let foreign = app.submit(path, &[("Origin", "https://evil.example")]).await;
    assert_eq!(foreign.status, 403);
    let read = app.get(path).await;
    assert_eq!((read.status, &*read.headers["allow"]), (405, "POST"));
    let written = app.submit("/apps/app-guid", &[]).await;
    assert_eq!((written.status, &*written.headers["allow"]), (405, "GET, HEAD"));
    assert_eq!(good.requests().len(), 3);
    assert_eq!(app.submit("/apps/nowhere/scrape", &[]).await.status, 404);
}

#[actix_web::test]
async fn a_token_opens_the_pages_of_its_app_only() {
    let instance = Instance::with_metrics("a 1\n").await;
    let table = json!({
        "app.example.com": [endpoint("app", 0, instance.address)],
        "other.example.com": [endpoint("other", 0, instance.address)],
    });
    let routes = RouteFile::new(&table);
    let app = spawn_app(&[routes.setting(), ("SCRAPE__ACCESS", "token".to_owned())]).await;
    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let token = format!("Bearer {}", bound["credentials"]["token"].as_str().unwrap());
    let status = async |method, path: &str, headers: &[(&str, &str)]| {
        send(method, &app.url(path), headers, None).await.status
    };
    let own = [("Authorization", &*token)];
    assert_eq!(status("GET", "/apps/app-guid", &own).await, 200);
    assert_eq!(status("HEAD", "/apps/app-guid", &own).await, 200);
    assert_eq!(status("POST", "/apps/app-guid/scrape", &own).await, 303);
    for (method, path) in [("GET", "/apps/other-guid"), ("POST", "/apps/other-guid/scrape")] {
        assert_eq!(status(method, path, &own).await, 403, "{path}");
        assert_eq!(status(method, path, &[]).await, 401, "{path}");
    }
    assert_eq!(instance.requests().len(), 1);
}

#[actix_web::test]
async fn a_missing_app_has_a_page_with_the_reasons() {
    let routes = RouteFile::new(&json!({}));
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get_with("/apps/acme/prod/%3Cshop%3E", &[HTML]).await;
    assert_eq!(answer.status, 404);
    let page = answer.text();
    assert!(page.contains("Why is this app missing?") && page.contains("cf map-route"), "{page}");
    assert!(page.contains("acme/prod/&#60;shop&#62;") && !page.contains("<shop>"), "{page}");
    let twin = app.get_with("/apps/nowhere", &[JSON]).await;
    assert_eq!((twin.status, &twin.json()["unknown_sources"]), (404, &json!([])));

    // While no source has given a table, the app may exist.
    let gone = json!([{"url": format!("http://{}/routes", closed_address())}]).to_string();
    let waiting = spawn_app(&[("ROUTES__GOROUTERS", gone)]).await;
    let answer = waiting.get_with("/apps/acme/prod/shop", &[JSON]).await;
    assert_eq!((answer.status, &*answer.headers["retry-after"]), (503, "5"));
    assert_eq!(answer.json()["unknown_sources"], json!(["routes.gorouters"]));
}

#[actix_web::test]
async fn a_shared_route_leads_to_a_choice_of_apps() {
    let (a, b) = (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 1\n").await);
    let table = json!({
        "shared.example.com": [endpoint("a", 0, a.address), endpoint("b", 0, b.address)],
    });
    let routes = RouteFile::new(&table);
    let app = spawn_app(&[routes.setting()]).await;
    let found = app.get("/apps/find?app=shared.example.com").await;
    assert_eq!((found.status, &*found.headers["location"]), (303, "/apps/shared.example.com"));
    let choice = app.view("/apps/shared.example.com").await;
    assert_eq!(choice["apps"][1], json!({"app_id": "b-guid", "path": "/apps/b-guid"}));
    assert!(app.page("/apps/shared.example.com").await.contains("acme / prod / a"));
    assert!(app.page("/apps/find").await.contains("<h1>Open an app</h1>"));
    assert_eq!(app.get("/apps/find?app=%00").await.status, 400);
}

#[actix_web::test]
async fn the_overview_says_what_needs_attention() {
    let good = Instance::with_metrics("a 1\n").await;
    let bad = Instance::start(|_| Reply::Close).await;
    let routes = RouteFile::of_app([&good, &bad]);
    let app = spawn_app(&[routes.setting()]).await;
    let page = app.page("/").await;
    assert!(page.contains("Nothing needs attention."), "{page}");
    assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 200);
    let page = app.page("/").await;
    assert!(page.contains("1 app with some failing instances."), "{page}");
    let example = r#"See <a href="/apps/app-guid"><bdi>acme / prod / app</bdi></a>."#;
    assert!(page.contains(example), "{page}");
    assert!(page.contains("2 instances: 1 up, 1 failing, 0 not scraped."), "{page}");
    // Each number leads to a list with as many apps.
    for (state, count) in [("failing", 1), ("up", 0), ("unscraped", 0)] {
        let link = format!(r#"href="/apps?state={state}">1 app</a>"#);
        assert_eq!(page.matches(&link).count(), count, "{state}: {page}");
        assert_eq!(app.view(&format!("/apps?state={state}")).await["matching"], count);
    }
    let twin = app.view("/").await;
    assert_eq!(twin["attention"][0]["path"], "/apps?state=failing&sort=up");
    assert_eq!(twin["attention"][0]["apps"][0]["path"], "/apps/app-guid");
    assert_eq!(twin["instances"]["failing"], 1);
    assert_eq!(twin["sources"][0]["endpoints"], 2);
    // Without credentials it shows no numbers.
    let open = app.get_with("/", &[JSON]).await.json();
    let mut keys: Vec<_> = open.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["ready", "uptime_seconds", "version", "waiting", "warning"]);
}

/// As by Prometheus with service discovery: each instance is scraped alone.
#[actix_web::test]
async fn plots_of_many_instances_have_the_values_of_all_of_them() {
    let mut instances = Vec::new();
    for count in 1..=7 {
        let samples = (0..10 * count).map(|index| format!("a{{i=\"{index}\"}} 1\n"));
        instances.push(Instance::with_metrics(&samples.collect::<String>()).await);
    }
    instances.push(Instance::start(|_| Reply::Http(500, vec![], vec![])).await);
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    for round in 0..2 {
        // The times of points are whole seconds.
        tokio::time::sleep(std::time::Duration::from_millis(round * 1100)).await;
        for index in 0..8 {
            let path = format!("/v1/apps/app-guid/instances/{index}/metrics?process_type=web");
            let answer = app.get(&path).await;
            assert_eq!(answer.status == 200, index < 7, "{}", answer.text());
        }
    }
    for path in ["/apps/app-guid", "/apps/app-guid?state=failing"] {
        let page = app.page(path).await;
        let samples = page.split("Samples of the last scrapes: values").nth(1).unwrap();
        let row = |name: &str| {
            let cells = samples.split(name).nth(1).unwrap().split("class=\"number\">").skip(1);
            cells.take(3).map(|cell| cell.split('<').next().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(row("maximum"), ["70", "70", "70"], "{path}: {samples}");
        assert_eq!(row("median"), ["40", "40", "40"], "{path}: {samples}");
        assert_eq!(row("minimum"), ["10", "10", "10"], "{path}: {samples}");
        assert_eq!(row("failing instances"), ["1", "1", "1"], "{path}: {samples}");
    }
}
