//! `POST /-/reload`, and the other names of `/-/healthy`.

use crate::{server_process::Server, test_app::*};
use support::{certificates::*, *};

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
    assert_eq!(reloaded.text(), format!("reloaded: broker.catalog: {}\n", file.display()));
    assert_eq!(first_name().await, "second");

    std::fs::write(&file, "{").unwrap();
    let refused = reload().await;
    assert_eq!(refused.status, 500);
    let failed = "not reloaded, the previous content is in use: broker.catalog: ";
    assert!(refused.text().starts_with(failed), "{}", refused.text());
    assert_eq!(first_name().await, "second");
}

#[actix_web::test]
async fn the_answer_has_the_outcome_of_every_file() {
    let (authority, files) = (Authority::new("scrapebroker"), Files::create());
    files.write_identity(&authority.issue("localhost"));
    let web = "rate_limit: { interval: 1s, burst: 1000 }\n";
    files.write("web.yml", web);
    files.write("routes.json", "{}");
    let app = spawn_app(&[
        ("WEB_CONFIG_FILE", files.path("web.yml")),
        ("BACKENDS__CERT_FILE", files.path("cert")),
        ("BACKENDS__KEY_FILE", files.path("key")),
        ("ROUTES__FILE", files.path("routes.json")),
    ])
    .await;
    let operator = basic(USER, PASSWORD);
    let reload =
        async || send("POST", &app.url("/-/reload"), &[("Authorization", &operator)], None).await;
    let all = format!(
        "reloaded: web_config_file: {}\nreloaded: backends: {}, {}\nreloaded: routes.file: {}\n",
        files.path("web.yml"),
        files.path("cert"),
        files.path("key"),
        files.path("routes.json"),
    );
    let reloaded = reload().await;
    assert_eq!((reloaded.status, reloaded.text()), (200, all.clone()));
    // What is invalid is named as soon as it is written, without a check before.
    for (name, broken, valid, section, part) in [
        (
            "web.yml",
            "nonsense: 1\nbasic_auth_users: { a: b }\n",
            web,
            "web_config_file",
            "nonsense: is unknown; ",
        ),
        ("cert", "broken", "", "backends", "backends.cert_file: "),
        ("routes.json", "{", "{}", "routes.file", "is incomplete"),
    ] {
        files.write(name, broken);
        let refused = reload().await;
        let text = refused.text();
        assert_eq!(refused.status, 500, "{text}");
        let (failed, others) = text.split_once('\n').unwrap();
        let start = format!("not reloaded, the previous content is in use: {section}: ");
        assert!(failed.starts_with(&start) && failed.contains(part), "{text}");
        assert_eq!(others.lines().count(), 2, "{text}");
        assert!(others.lines().all(|line| line.starts_with("reloaded: ")), "{text}");
        match name {
            "cert" => files.write_identity(&authority.issue("localhost")),
            _ => files.write(name, valid),
        }
    }
    let reloaded = reload().await;
    assert_eq!((reloaded.status, reloaded.text()), (200, all));
}

#[actix_web::test]
async fn without_files_a_reload_says_that_nothing_was_read() {
    let app = spawn_app(&[]).await;
    let operator = basic(USER, PASSWORD);
    for method in ["POST", "PUT"] {
        let headers = [("Authorization", &*operator)];
        let answer = send(method, &app.url("/-/reload"), &headers, None).await;
        let text = "No file is configured that can be reloaded.\n";
        assert_eq!((answer.status, &*answer.text()), (200, text));
    }
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
        ("PUT", Some(&*operator), 200),
        ("PUT", None, 401),
        ("DELETE", Some(&*operator), 405),
    ] {
        let headers: Vec<_> = authorization.map(|it| ("Authorization", it)).into_iter().collect();
        let answer = send(method, &app.url("/-/reload"), &headers, None).await;
        assert_eq!(answer.status, expected, "{method} {authorization:?}: {}", answer.text());
        if expected == 405 {
            assert_eq!(answer.headers["allow"], "POST, PUT");
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

#[actix_web::test]
async fn every_listener_has_the_names_of_health_also_before_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("routes.json").display().to_string();
    let pools = r#"[{"name": "p", "locators": [{"static": ["http://127.0.0.1:1"]}]}]"#;
    let settings = [
        ("SCRAPEBROKER__ROUTES__FILE", &*missing),
        ("SCRAPEBROKER__HEALTH_LISTEN", "127.0.0.1:0"),
        ("SCRAPEBROKER__QUERY__LISTEN", "127.0.0.1:0"),
        ("SCRAPEBROKER__QUERY__POOLS", pools),
        ("SCRAPEBROKER__QUERY__ACCESS", "operators"),
        ("SCRAPEBROKER__EVENTS__LISTEN", "127.0.0.1:0"),
    ];
    let server = Server::start_with(folder.path(), &settings);
    let log = server.log_text();
    let listening = log.lines().find(|line| line.contains("\"listening\"")).unwrap();
    let listening: serde_json::Value = serde_json::from_str(listening).unwrap();
    for name in ["address", "health_address", "query_address", "events_address"] {
        for path in ["/-/healthy", "/health", "/healthz"] {
            let url = format!("http://{}{path}", listening[name].as_str().unwrap());
            let answer = send("GET", &url, &[], None).await;
            assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        }
    }
    // promfetcher answers readiness at every path.
    for path in ["/", "/-/ready", "/anything"] {
        let url = format!("http://{}{path}", listening["health_address"].as_str().unwrap());
        assert_eq!(send("GET", &url, &[], None).await.status, 503, "{path}");
    }
}
