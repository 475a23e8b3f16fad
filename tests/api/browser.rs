//! Cross-site requests of browsers, and the security headers of the pages.

use crate::test_app::*;
use support::*;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[actix_web::test]
async fn forms_of_other_sites_are_refused_by_all_apis() {
    let app = spawn_app(&[("BASE_URL", "https://broker.example.com".to_owned())]).await;
    let authorization = basic(USER, PASSWORD);
    let own = app.url("");
    let post = async |name: &str, more: &[(&str, &str)]| {
        let own = [("Authorization", authorization.as_str()), FORM, ("X-Tsuru-Eventid", "e")];
        let headers = [&own, more].concat();
        let body = format!("name={name}&team=checkout&eventid=e");
        send("POST", &app.url("/tsuru/metrics/resources"), &headers, Some(body)).await
    };
    let site = |value| ("Sec-Fetch-Site", value);
    let navigation = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    for (name, more) in [
        ("a", vec![site("cross-site")]),
        ("b", vec![site("same-site")]),
        ("c", [vec![site("cross-site")], navigation.to_vec()].concat()),
        ("d", vec![site("Same-Origin")]),
        ("e", vec![site("same-origin"), site("cross-site")]),
        ("f", vec![("Origin", "https://evil.example")]),
        ("g", vec![("Origin", "null")]),
        ("h", vec![("Origin", "")]),
        ("i", vec![("Origin", "https://broker.example.com.evil.example")]),
        ("j", vec![("Origin", "http://broker.example.com:8080")]),
        ("k", vec![site("same-origin"), ("Origin", "https://evil.example")]),
        ("l", vec![("Origin", own.as_str()), ("Origin", "https://evil.example")]),
    ] {
        let answer = post(name, &more).await;
        assert_eq!(answer.status, 403, "{more:?}: {}", answer.text());
        assert!(answer.text().contains("another site"), "{}", answer.text());
    }
    for (name, more) in [
        ("m", vec![]),
        ("n", vec![site("same-origin"), ("Origin", own.as_str())]),
        ("o", vec![site("none")]),
        ("p", vec![("Origin", "https://broker.example.com")]),
    ] {
        assert_eq!(post(name, &more).await.status, 201, "{more:?}");
    }
    for name in "abcdefghijkl".chars() {
        let path = format!("/tsuru/metrics/resources/{name}");
        let headers = [("Authorization", authorization.as_str())];
        assert_eq!(app.get_with(&path, &headers).await.status, 404, "{name}");
    }
}

#[actix_web::test]
async fn cross_site_requests_with_credentials_are_refused() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let authorization = basic(USER, PASSWORD);
    let send_request = async |method: &str, path: &str, more: &[(&str, &str)]| {
        let own = [("Authorization", authorization.as_str()), ("X-Broker-Api-Version", "2.15")];
        send(method, &app.url(path), &[&own, more].concat(), None).await.status
    };
    let cross = ("Sec-Fetch-Site", "cross-site");
    let link = [cross, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    let frame = [cross, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")];
    let image = [cross, ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")];
    for (path, by_link) in [
        ("/", 200),
        ("/?details", 200),
        ("/doc", 200),
        ("/routes", 200),
        ("/sd", 200),
        ("/v1/apps/app-guid/metrics", 200),
        ("/prometheus/none/", 404),
        ("/broker/v2/catalog", 403),
        ("/tsuru/metrics/resources/plans", 403),
    ] {
        assert_eq!(send_request("GET", path, &link).await, by_link, "{path}");
        for more in [&frame[..], &image, &[cross], &[("Origin", "https://evil.example")]] {
            assert_eq!(send_request("GET", path, more).await, 403, "{path} {more:?}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(send_request(method, path, &link).await, 403, "{method} {path}");
        }
    }
    let refused = app.get_with("/broker/v2/catalog", &[cross]).await;
    assert!(refused.json()["description"].as_str().unwrap().contains("another site"));
    assert_eq!(instance.requests().len(), 1, "only the navigation by a link reached the app");
}

#[actix_web::test]
async fn pages_cannot_be_framed_and_load_no_external_content() {
    let app = spawn_app(&[]).await;
    for path in ["/", "/doc"] {
        let page = app.get(path).await;
        let policy = &page.headers["content-security-policy"];
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("style-src 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let text = page.text();
        assert_eq!(text.matches("<link").count(), 2, "icon and style sheet are linked");
        assert_eq!(text.matches("<script").count(), 1, "only the own script is loaded");
        for forbidden in ["<style", " style=", " onclick=", "<img", "<iframe"] {
            assert!(!text.contains(forbidden), "{path}: the policy forbids {forbidden}");
        }
        for (before, content_type) in [
            ("rel=\"icon\" type=\"image/svg+xml\" href=\"", "image/svg+xml"),
            ("rel=\"stylesheet\" href=\"", "text/css"),
            ("<script src=\"", "text/javascript"),
        ] {
            let (_, link) = text.split_once(before).unwrap();
            let (file, _) = link.split_once('"').unwrap();
            let file = app.get(file).await;
            assert_eq!(file.status, 200, "{path}");
            assert!(file.headers["content-type"].starts_with(content_type), "{path}");
        }
    }
    let authorization = basic(USER, PASSWORD);
    for path in ["/", "/doc", "/routes", "/metrics", "/nothing", "/broker/v2/catalog", "/-/ready"] {
        let headers = [("Authorization", authorization.as_str())];
        let answer = app.get_with(path, &headers).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "same-origin", "{path}");
        assert!(answer.headers["content-security-policy"].contains("frame-ancestors 'none'"));
    }
}
