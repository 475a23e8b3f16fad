//! `/apps/{app}/metrics`: what an app exposes.

use super::assert_sound;
use crate::test_app::*;
use serde_json::{Value, json};
use support::{
    browser::{Browser, Scheme},
    *,
};

const JSON: (&str, &str) = ("Accept", "application/json");
const HTML: (&str, &str) = ("Accept", "text/html");
const PAGE: &str = "/apps/app-guid/metrics";

fn family<'a>(twin: &'a Value, name: &str) -> &'a Value {
    let families = twin["families"].as_array().unwrap();
    families
        .iter()
        .find(|family| family["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {twin}"))
}

#[actix_web::test]
async fn the_page_shows_families_labels_and_differences_between_instances() {
    let paths =
        |count| (0..count).map(|i| format!("hits{{path=\"/{i}\"}} 1\n")).collect::<String>();
    let one = format!(
        "# HELP hits Requests.\n# TYPE hits counter\n{}# TYPE up gauge\nup{{instance=\"x\"}} 1\nonly 1\n",
        paths(40)
    );
    let two = format!("# TYPE hits counter\n{}# TYPE up counter\nup 1\n", paths(10));
    let (first, second) = (Instance::with_metrics(&one).await, Instance::with_metrics(&two).await);
    let routes = RouteFile::of_app([&first, &second]);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get_with(PAGE, &[JSON]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["vary"], "Accept, Authorization");
    let twin = answer.json();
    assert_eq!((&twin["samples"], &twin["is_complete"]), (&json!(53), &json!(true)));
    assert_eq!(twin["samples_per_day"], 53.0 * 86_400.0 / 15.0);
    assert_eq!(twin["size_bytes"], one.len() + two.len());
    assert_eq!(twin["instances"][0]["samples"], 42);
    assert_eq!(
        twin["instances"][0]["name"],
        format!("web/0 at {}", first.address),
        "instances have the order of `series`"
    );
    let hits = family(&twin, "hits");
    assert_eq!((&hits["type"], &hits["help"]), (&json!("counter"), &json!("Requests.")));
    assert_eq!((&hits["series"], &hits["missing"]), (&json!([40, 10]), &json!([])));
    assert_eq!(hits["widest_label"], json!({"name": "path", "values": 40}));
    let up = family(&twin, "up");
    assert_eq!(up["types"], json!({"counter": [1], "gauge": [0]}));
    assert_eq!((&up["type"], &up["conflict"]), (&Value::Null, &json!(true)));
    assert_eq!(up["renamed"], json!(["instance"]));
    assert_eq!(family(&twin, "only")["missing"], json!([1]));
    assert_eq!(twin["families"][0]["name"], "hits", "the family with most series comes first");
    let path = &twin["labels"][0];
    assert_eq!((&path["name"], &path["values"]), (&json!("path"), &json!(40)));
    assert_eq!(path["top"], json!({"hits": 40}));
    assert_eq!(path["examples"], json!(["/0", "/1", "/2"]));
    assert_eq!(twin["changes"]["type_conflict"], 1);
    assert_eq!(twin["changes"]["renamed_label"], 1);

    let page = app.get_with(&format!("{PAGE}?interval=1m&sort=name"), &[HTML]).await.text();
    for text in [
        "2 of 2 instances answered with 53 samples.",
        "At a scrape interval of 1m, Prometheus stores about 76\u{202f}320 samples a day, about 111.8 KiB",
        "missing at web/1",
        "TYPE is gauge at web/0, and counter at web/1; it is stored without a type",
        "the label instance is renamed to exported_instance",
        "Requests.",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let families = page.split("id=\"families\"").nth(1).unwrap();
    assert!(families.find(">hits<") < families.find(">only<"), "families are sorted by name");
    assert_eq!(first.requests().len(), 2, "each view is one scrape");
}

#[actix_web::test]
async fn the_page_reports_the_merge_that_prometheus_gets() {
    let body = "# TYPE shop_h histogram\nshop_h_bucket{le=\"1.0\"} 5\nshop_h_bucket{le=\"2.0\"} 3\n\
        shop_h_bucket{le=\"+Inf\"} 6\nshop_h_sum 9.0\nshop_h_count 6\n\
        # TYPE jobs counter\njobs_total 1.0 # {trace_id=\"abc\"} 1.0\n\
        # TYPE wait_seconds gauge\n# UNIT wait_seconds seconds\nwait_seconds 1.0\n# EOF\n";
    let openmetrics = || {
        Instance::start(|request| {
            let accept = request.headers.iter().find(|(name, _)| *name == "accept");
            assert!(accept.unwrap().1.starts_with("application/openmetrics-text;version=1.0.0"));
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let headers = vec![("content-type", content_type.to_owned())];
            Reply::Http(200, headers, body.as_bytes().to_vec())
        })
    };
    let (first, second) = (openmetrics().await, openmetrics().await);
    let routes = RouteFile::of_app([&first, &second]);
    let app = spawn_app(&[routes.setting()]).await;
    // The first view comes before any scrape, the second one knows the formats.
    for view in 0..2 {
        let twin = app.get_with(PAGE, &[JSON]).await.json();
        assert_eq!(twin["format"], "openmetrics", "view {view}: {twin}");
        assert_eq!(twin["changes"], json!({"spec_violation": 1}), "view {view}: {twin}");
        let histogram = family(&twin, "shop_h");
        let reason = "the bucket counts less than the one before it";
        assert_eq!(histogram["violations"], json!([{"reason": reason, "instances": [0, 1]}]));
        assert_eq!(
            (&histogram["type"], &histogram["conflict"]),
            (&json!("histogram"), &json!(false))
        );
        assert_eq!(family(&twin, "jobs_total")["violations"], json!([]));
    }
    let page = app.get_with(PAGE, &[HTML]).await.text();
    let violation = "the bucket counts less than the one before it at web/0 and web/1; it is stored without a type";
    assert!(page.contains("Violations of the specification") && page.contains(violation), "{page}");

    let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3";
    let scraped = app.get_with("/v1/apps/app-guid/metrics", &[("Accept", accept)]).await.text();
    assert!(scraped.contains("# TYPE shop_h_bucket unknown\n"), "{scraped}");
    assert!(scraped.contains(" # {trace_id=\"abc\"} 1.0\n"), "{scraped}");
    assert!(scraped.contains("# UNIT wait_seconds seconds\n"), "{scraped}");

    // Of an app in the text format, exemplars and units are lost.
    let text = Instance::with_metrics("plain 1\n").await;
    routes.rewrite([&first, &text]);
    let twin = eventually(async || {
        let twin = app.get_with(PAGE, &[JSON]).await.json();
        Some(twin).filter(|twin| twin["instances"][1]["format"] == "text")
    })
    .await;
    assert_eq!(twin["format"], "text");
    assert_eq!(twin["changes"], json!({"exemplar": 1, "unit": 1}), "{twin}");
}

#[actix_web::test]
async fn failed_instances_are_explained() {
    let good = Instance::with_metrics("a 1\n").await;
    let missing = Instance::start(|_| Reply::Http(404, vec![], b"secret".to_vec())).await;
    let routes = RouteFile::of_app([&good, &missing]);
    let app = spawn_app(&[routes.setting()]).await;
    let twin = app.get_with(PAGE, &[JSON]).await.json();
    let failed = &twin["instances"][1];
    assert_eq!((&failed["error"], &failed["samples"]), (&json!("status_4xx"), &Value::Null));
    assert_eq!(failed["explanation"]["meaning"], "The app has nothing at this path.");
    assert_eq!(twin["families"][0]["series"], json!([1]));
    let page = app.get_with(PAGE, &[HTML]).await.text();
    assert!(page.contains("1 of 2 instances answered with 1 sample."), "{page}");
    assert!(page.contains("The app has nothing at this path."), "{page}");
    assert!(!page.contains("secret"), "{page}");

    routes.rewrite([&missing]);
    let page = eventually(async || {
        let answer = app.get_with(PAGE, &[HTML]).await;
        assert_eq!(answer.status, 200);
        Some(answer.text()).filter(|page| page.contains("0 of 1 instance answered"))
    })
    .await;
    assert!(page.contains("status_4xx") && !page.contains("id=\"families\""), "{page}");
}

#[actix_web::test]
async fn many_failing_instances_are_explained_once() {
    let good = Instance::with_metrics("a 1\n").await;
    let failing = (1..=40).map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    let routes = RouteFile::of_addresses(std::iter::once(good.address).chain(failing));
    let app = spawn_app(&[routes.setting()]).await;
    for path in [PAGE, "/apps/app-guid"] {
        let page = app.get_with(path, &[HTML]).await.text();
        assert!(page.contains("</span> 40 instances</span>: <strong>connect</strong>"), "{page}");
        assert_eq!(page.matches("No process accepts connections").count(), 1, "{path}");
        assert!(page.contains("<summary>The 40 instances</summary>"), "{page}");
        assert!(page.contains("cf logs &#39;app&#39; --recent"), "{page}");
        if path == PAGE {
            let (numbers, failures) =
                (page.find("Samples of all"), page.find("Why instances fail"));
            assert!(numbers.unwrap() < failures.unwrap(), "numbers come first");
        }
    }
}

#[actix_web::test]
async fn a_view_needs_what_a_scrape_needs_and_sends_nothing_of_the_browser() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), ("SCRAPE__ACCESS", "token".to_owned())]).await;
    assert_eq!(app.get_with(PAGE, &[JSON]).await.status, 401);
    assert_eq!(instance.requests().len(), 0);
    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let token = format!("Bearer {}", bound["credentials"]["token"].as_str().unwrap());
    let headers = [JSON, ("Authorization", &*token), ("User-Agent", "browser"), ("Cookie", "a=b")];
    let answer = app.get_with(PAGE, &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = &instance.requests()[0];
    for (name, value) in &sent.headers {
        assert!(!value.contains("sbt_") && name != "cookie", "{name}: {value}");
    }
    for (path, status) in [
        ("/apps/unknown/metrics", 404),
        ("/apps/app-guid/metrics?interval=soon", 400),
        ("/apps/app-guid/metrics?sort=size", 400),
    ] {
        assert_eq!(app.get_with(path, &headers).await.status, status, "{path}");
    }
    let summary = app.get_with("/apps/app-guid", &headers).await.json();
    assert_eq!(summary["scraped_by"]["role"], "page", "{summary}");
    assert_eq!(send("POST", &app.url(PAGE), &headers, None).await.status, 405);
}

#[actix_web::test]
async fn texts_of_apps_stay_texts() {
    const HOSTILE: &str = "\"><img src=x onerror=alert(1)>";
    let body = format!(
        "# HELP a {HOSTILE} {{{{ 7*7 }}}} \u{202e}x\n# TYPE a gauge\na{{l={}}} 1\n",
        serde_json::to_string(&format!("{HOSTILE}{}", "x".repeat(10_000))).unwrap()
    );
    let instance = Instance::with_metrics(&body).await;
    let mut endpoint = endpoint("app", 0, instance.address);
    endpoint["tags"]["app_name"] = json!(HOSTILE);
    let routes = RouteFile::new(&json!({"app.example.com": [endpoint]}));
    let app = spawn_app(&[routes.setting()]).await;
    let page = app.get_with(PAGE, &[HTML]).await.text();
    assert!(!page.contains("<img"), "{page}");
    assert!(page.contains("{{ 7*7 }}"), "{page}");
    assert!(page.len() < 100_000, "{}", page.len());
}

#[actix_web::test]
async fn the_page_is_sound_on_phones_and_screens_in_both_color_schemes() {
    let long = "very_long_name_of_a_metric_".repeat(8);
    let body =
        format!("# HELP {long} Text.\n# TYPE {long} gauge\n{long}{{path=\"/a/b\"}} 1\nb 1\n");
    let instance = Instance::with_metrics(&body).await;
    let other = Instance::with_metrics("b 1\n").await;
    let failing = Instance::start(|_| Reply::Http(500, vec![], vec![])).await;
    let routes = RouteFile::of_app([&instance, &other, &failing]);
    let app = spawn_app(&[routes.setting()]).await;
    let (host, browser) = (app.address.to_string(), Browser::start().await);
    for (width, scheme) in [(390, Scheme::Light), (800, Scheme::Light), (1280, Scheme::Dark)] {
        browser.emulate(width, scheme).await;
        for path in [PAGE, "/apps/app-guid"] {
            browser.open(&app.url(path)).await;
            assert_sound(&browser, &host, &format!("{path} at {width} px, {scheme:?}")).await;
        }
    }
}
