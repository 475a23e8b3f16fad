//! `POST /-/reload`, and the other names of `/-/healthy`.

use crate::test_app::*;
use support::*;

/// The built-in catalog with the name `name` for the service `metrics`.
fn catalog(name: &str) -> String {
    let catalog =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/broker-catalog.json"));
    let catalog = catalog.unwrap();
    assert!(catalog.contains("\"name\": \"metrics\""), "{catalog}");
    catalog.replacen("\"name\": \"metrics\"", &format!("\"name\": \"{name}\""), 1)
}

#[actix_web::test]
async fn a_post_reloads_the_catalog_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.json");
    std::fs::write(&file, catalog("first")).unwrap();
    let app = spawn_app(&[("BROKER__CATALOG", file.display().to_string())]).await;
    let operator = basic(USER, PASSWORD);
    let reload =
        async || send("POST", &app.url("/-/reload"), &[("Authorization", &operator)], None).await;
    let first_name = async || {
        let catalog = app.broker("GET", "/v2/catalog", None).await;
        let name = catalog.json()["services"][0]["name"].as_str().map(str::to_owned);
        name.unwrap_or_else(|| panic!("{}", catalog.text()))
    };
    std::fs::write(&file, catalog("second")).unwrap();
    assert_eq!(first_name().await, "first");
    let reloaded = reload().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(first_name().await, "second");

    std::fs::write(&file, "{").unwrap();
    let refused = reload().await;
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("the previous one is used"), "{}", refused.text());
    assert_eq!(first_name().await, "second");
}

#[actix_web::test]
async fn only_operators_reload_and_only_by_post() {
    let app = spawn_app(&[]).await;
    let bound = app.bind("b1", "app-guid", serde_json::json!({})).await.json();
    let token = format!("Bearer {}", bound["credentials"]["token"].as_str().unwrap());
    let operator = basic(USER, PASSWORD);
    for (method, authorization, expected) in [
        ("POST", None, 401),
        ("POST", Some(&*token), 403),
        ("POST", Some(&*operator), 200),
        ("GET", Some(&*operator), 405),
        ("PUT", Some(&*operator), 405),
    ] {
        let headers: Vec<_> = authorization.map(|it| ("Authorization", it)).into_iter().collect();
        let answer = send(method, &app.url("/-/reload"), &headers, None).await;
        assert_eq!(answer.status, expected, "{method} {authorization:?}: {}", answer.text());
        if expected == 405 {
            assert_eq!(answer.headers["allow"], "POST");
        }
    }
    let foreign = [("Authorization", &*operator), ("Origin", "https://evil.example")];
    assert_eq!(send("POST", &app.url("/-/reload"), &foreign, None).await.status, 403);
}

#[actix_web::test]
async fn health_has_the_names_that_platforms_use() {
    let app = spawn_app(&[]).await;
    for path in ["/-/healthy", "/health", "/healthz"] {
        for method in ["GET", "HEAD"] {
            let answer = send(method, &app.url(path), &[], None).await;
            assert_eq!(answer.status, 200, "{method} {path}");
        }
        assert_eq!(send("POST", &app.url(path), &[], None).await.status, 405, "{path}");
    }
    for path in ["/healthy", "/-/health", "/health/x", "/ready", "/-/"] {
        assert_eq!(app.get(path).await.status, 404, "{path}");
    }
}
