//! HTML pages: links, and messages about failing targets.

use crate::{
    dedicated_prometheus::{INSTANCE, InstanceDirs, SERVICE_ID, STANDARD},
    test_app::*,
    tsuru_binding::{table_of_shop, tsuru_request},
};
use serde_json::json;
use support::*;

/// A provisioned Prometheus with a bound app, with the base path `/base`.
struct Bound {
    _instance_dirs: InstanceDirs,
    app: TestApp,
    /// Basic authentication with the credentials of the binding.
    user: String,
}

impl Bound {
    async fn start(routes: &RouteFile, scrape_interval: &str) -> Self {
        let instance_dirs = InstanceDirs::new();
        let mut settings = instance_dirs.settings();
        settings.push(routes.setting());
        settings.push(("SCRAPE__ACCESS", "token".to_owned()));
        let app = spawn_app(&settings).await;
        let provision = json!({
            "service_id": SERVICE_ID, "plan_id": STANDARD, "organization_guid": "org-guid",
            "space_guid": "space-guid", "parameters": {"scrape_interval": scrape_interval},
        });
        let path = format!("{INSTANCE}?accepts_incomplete=true");
        let answer = app.broker("PUT", &path, Some(provision)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(app.end_of_operation().await, "succeeded");
        let bind = json!({
            "service_id": SERVICE_ID, "plan_id": STANDARD,
            "bind_resource": {"app_guid": "app-guid"},
        });
        let path = format!("{INSTANCE}/service_bindings/b1");
        let bound = app.broker("PUT", &path, Some(bind)).await.json();
        let text = |name: &str| bound["credentials"][name].as_str().unwrap().to_owned();
        let user = basic(&text("username"), &text("password"));
        Self { _instance_dirs: instance_dirs, app, user }
    }
}

#[actix_web::test]
async fn the_page_of_a_prometheus_shows_the_scrape_errors_of_instances() {
    let good = Instance::with_metrics("a 1\n").await;
    let broken = Instance::start(|_| Reply::Http(500, vec![], b"secret".to_vec())).await;
    let html = Instance::start(|_| Reply::Http(200, vec![], b"<html>".to_vec())).await;
    let gone = closed_address();
    let addresses = [good.address, broken.address, html.address, gone];
    let routes = RouteFile::of_addresses(addresses);
    let bound = Bound::start(&routes, "1s").await;
    let page = eventually(async || {
        let headers = [("Authorization", &*bound.user)];
        let page = bound.app.get_with("/prometheus/own/", &headers).await.text();
        let is_complete =
            page.contains("1 of 4 are up") && page.matches("</span> down</span>").count() == 3;
        is_complete.then_some(page)
    })
    .await;
    for reason in ["status_5xx: ", "not_exposition: ", "connect: "] {
        assert_eq!(page.matches(reason).count(), 1, "{reason} in {page}");
    }
    assert!(page.contains("refused") && page.contains("500"), "{page}");
    assert!(!page.contains("502") && !page.contains("secret"), "{page}");
    // The first block is written after two hours, so all samples are in the log.
    let headers = [("Authorization", &*bound.user), ("Accept", "application/json")];
    let stored = &bound.app.get_with("/prometheus/own/", &headers).await.json()["storage_bytes"];
    assert!(stored.as_u64().is_some_and(|bytes| bytes > 0), "{stored}");
}

#[actix_web::test]
async fn the_tsuru_instance_info_shows_the_scrape_errors_of_instances() {
    let good = Instance::with_metrics("a 1\n").await;
    let broken = Instance::start(|_| Reply::Http(500, vec![], vec![])).await;
    let routes = RouteFile::new(&table_of_shop([&good, &broken]));
    let instance_dirs = InstanceDirs::new();
    let mut settings = instance_dirs.settings();
    settings.push(routes.setting());
    let app = spawn_app(&settings).await;
    let send_request = async |method, path, form| {
        tsuru_request(app.address, "prometheus", method, path, form).await.unwrap()
    };
    let made = "name=own&team=checkout&plan=standard&parameters.scrape_interval=1s&user=u";
    let made = send_request("POST", "", made).await;
    assert!(made.status < 300, "{}", made.text());
    let form = "app-name=shop&app-hosts=shop.tsuru.example.com&app-pool-name=pool-a&user=u";
    eventually(async || {
        let bound = send_request("POST", "/own/bind-app", form).await;
        (bound.status == 201).then_some(())
    })
    .await;
    let path = "/tsuru/prometheus/resources/own";
    let authorization = basic("prometheus", PASSWORD);
    let error = eventually(async || {
        let info = app.get_with(path, &[("Authorization", &*authorization)]).await.json();
        let line = |label: &str| {
            let line = info.as_array().unwrap().iter().find(|line| line["label"] == label);
            line.map(|line| line["value"].as_str().unwrap().to_owned())
        };
        let is_up = line("Targets up / all").as_deref() == Some("1 / 2");
        // At first the second instance was not scraped yet.
        line("Last error").filter(|error| is_up && error != "none")
    })
    .await;
    assert_eq!(
        error,
        "checkout/pool-a/shop instance 1: status_5xx: the response status was 500 Internal Server Error"
    );
}

/// Documentation outside of the installation.
const DOCUMENTATION: [&str; 2] =
    ["https://prometheus.io/docs/", "https://github.com/scrapebroker/scrapebroker/blob/main/docs/"];

/// The targets of all links, images and forms of a page, other than documentation.
pub(crate) fn links(page: &str) -> Vec<String> {
    let parts = ["href=\"", "src=\"", "action=\""].into_iter();
    let parts = parts.flat_map(|attribute| page.split(attribute).skip(1));
    parts
        .filter_map(|part| Some(part.split_once('"')?.0.replace("&amp;", "&")))
        .filter(|link| !DOCUMENTATION.iter().any(|it| link.starts_with(it)))
        .collect()
}

/// Resolves a link relative to the path `page`.
fn resolve(page: &str, link: &str) -> String {
    if link.starts_with('/') {
        return link.to_owned();
    }
    assert!(!link.contains("//"), "{link} leads to another host");
    let folder = &page[..page.rfind('/').unwrap() + 1];
    format!("{folder}{}", link.trim_start_matches("./"))
}

impl TestApp {
    /// Sends a GET request and follows redirects.
    async fn follow(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut path = path.to_owned();
        for _ in 0..5 {
            let answer = self.get_with(&path, headers).await;
            match answer.headers.get("location") {
                Some(next) => path = resolve(&path, next),
                None => return answer,
            }
        }
        panic!("{path} has too many redirects");
    }
}

#[actix_web::test]
async fn every_link_of_a_page_works_with_the_same_credentials() {
    let instance = Instance::with_metrics("a 1\n").await;
    // The app has more instances than a page of targets shows.
    let routes = RouteFile::of_addresses(
        std::iter::repeat_n(instance.address, 1)
            .chain((1..=101).map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port)))),
    );
    let bound = Bound::start(&routes, "1m").await;
    let operator = basic(USER, PASSWORD);
    let pages = ["/base/", "/base/doc"].as_slice();
    let all_pages = ["/base/", "/base/doc", "/base/prometheus", "/base/prometheus/own/"].as_slice();
    eventually(async || {
        let headers = [("Authorization", &*bound.user)];
        let page = bound.app.get_with("/base/prometheus/own/", &headers).await;
        page.text().contains("Page 1 of 2").then_some(())
    })
    .await;
    let mut seen = 0;
    for (credentials, pages) in [
        (None, pages),
        (Some(bound.user.as_str()), all_pages),
        (Some(operator.as_str()), all_pages),
    ] {
        let headers: Vec<_> = credentials.map(|it| ("Authorization", it)).into_iter().collect();
        for page in pages {
            let answer = bound.app.get_with(page, &headers).await;
            assert_eq!(answer.status, 200, "{page}: {}", answer.text());
            for link in links(&answer.text()) {
                let path = resolve(page, &link);
                let answer = bound.app.follow(&path, &headers).await;
                // This link requests a login.
                let is_login = credentials.is_none() && path == "/base/?details";
                let expected = if is_login { 401 } else { 200 };
                assert_eq!(answer.status, expected, "{link} of {page} with {credentials:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen} links");
}
