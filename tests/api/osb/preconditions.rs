//! Checks that apply to every URL: authentication, API version, originating identity, unknown URLs.
//! See the sections "API Version Header", "Platform to Service Broker Authentication" and
//! "Originating Identity" of the Open Service Broker API 2.17.

use super::client::*;
use serde_json::json;

/// All supported methods and URLs, and some unsupported ones.
const URLS: [(&str, &str); 16] = [
    ("GET", "/v2/catalog"),
    ("PUT", "/v2/service_instances/i"),
    ("PATCH", "/v2/service_instances/i"),
    ("GET", "/v2/service_instances/i"),
    ("DELETE", "/v2/service_instances/i"),
    ("GET", "/v2/service_instances/i/last_operation"),
    ("PUT", "/v2/service_instances/i/service_bindings/b"),
    ("GET", "/v2/service_instances/i/service_bindings/b"),
    ("DELETE", "/v2/service_instances/i/service_bindings/b"),
    ("GET", "/v2/service_instances/i/service_bindings/b/last_operation"),
    ("POST", "/v2/catalog"),
    ("GET", "/v2/unknown"),
    ("GET", "/v1/catalog"),
    ("GET", "/"),
    ("GET", ""),
    ("OPTIONS", "/v2/service_instances/%ff"),
];

#[actix_web::test]
async fn credentials_are_checked_before_the_api_version() {
    on_sqlite(async |api| {
        for (method, path) in URLS {
            for credentials in [None, Some(("broker", "wrong")), Some(("wrong", "secret"))] {
                let mut request =
                    api.bare(method, path).insert_header(("X-Broker-API-Version", "2.15"));
                if let Some((user, password)) = credentials {
                    request = request.basic_auth(user, password);
                }
                let answer = send_request(request, None).await;
                assert_eq!(answer.status, 401, "{method} {path} {credentials:?}");
                assert!(answer.header("WWW-Authenticate").unwrap().starts_with("Basic "));
                assert_eq!(answer.description(), "wrong or missing credentials");
            }
            for version in [None, Some(""), Some("1.0"), Some("3.0"), Some("2"), Some("2.x")] {
                let mut request = api.bare(method, path).basic_auth("broker", "secret");
                if let Some(version) = version {
                    request = request.insert_header(("X-Broker-API-Version", version));
                }
                let answer = send_request(request, None).await;
                assert_eq!(answer.status, 412, "{method} {path} {version:?}");
                assert!(answer.description().contains("X-Broker-API-Version"));
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn every_response_contains_the_request_identity() {
    on_sqlite(async |api| {
        for (method, path) in URLS {
            for request in [api.bare(method, path), api.request(method, path)] {
                let identity = ("X-Broker-API-Request-Identity", "e26cee84 6b38");
                let answer = send_request(request.insert_header(identity), None).await;
                assert_eq!(
                    answer.header("X-Broker-API-Request-Identity"),
                    Some("e26cee84 6b38"),
                    "{method} {path} {}",
                    answer.status
                );
            }
        }
        let answer = api.get("/v2/catalog").await;
        assert_eq!(answer.header("X-Broker-API-Request-Identity"), None);
    })
    .await;
}

#[actix_web::test]
async fn an_invalid_originating_identity_is_ignored() {
    on_sqlite(async |api| {
        for identity in [
            "cloudfoundry eyJ1c2VyX2lkIjoiMmMxZjlmM2UifQ==",
            "cloudfoundry",
            "cloudfoundry %%%",
            "cloudfoundry bnVsbA==",
            "",
        ] {
            let request = api
                .request("GET", "/v2/catalog")
                .insert_header(("X-Broker-API-Originating-Identity", identity));
            assert_eq!(send_request(request, None).await.status, 200, "{identity}");
        }
    })
    .await;
}

#[actix_web::test]
async fn without_configured_credentials_every_url_names_the_missing_settings() {
    on_sqlite(async |api| {
        let api = Api::serve(api.broker, None);
        for (method, path) in URLS {
            let answer = send_request(api.request(method, path), None).await;
            assert_eq!(answer.status, 503, "{method} {path}");
            let description = answer.description();
            assert!(description.contains("broker.username"), "{description}");
            assert!(description.contains("broker.password"), "{description}");
        }
    })
    .await;
}

#[actix_web::test]
async fn unknown_urls_and_methods_are_refused_in_json() {
    on_sqlite(async |api| {
        for path in ["/", "", "/v2", "/v2/", "/v2/unknown", "/v2/catalog/", "/v3/catalog"] {
            let answer = api.get(path).await;
            assert_eq!(answer.status, 404, "{path}");
            assert_eq!(answer.description(), "there is nothing at this URL", "{path}");
        }
        for (method, path, allow) in [
            ("POST", "/v2/catalog", "GET, HEAD"),
            ("POST", "/v2/service_instances/i", "GET, HEAD, PUT, PATCH, DELETE"),
            ("DELETE", "/v2/service_instances/i/last_operation", "GET, HEAD"),
            ("PATCH", "/v2/service_instances/i/service_bindings/b", "GET, HEAD, PUT, DELETE"),
            ("PUT", "/v2/service_instances/i/service_bindings/b/last_operation", "GET, HEAD"),
        ] {
            let answer = send_request(api.request(method, path), None).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("Allow"), Some(allow), "{method} {path}");
            assert_eq!(answer.description(), format!("this URL answers only {allow}"));
        }
    })
    .await;
}

#[actix_web::test]
async fn the_catalog_supports_conditional_requests() {
    on_sqlite(async |api| {
        let first = api.get("/v2/catalog").await;
        assert_eq!(first.status, 200);
        assert_eq!(first.header("Content-Type"), Some("application/json"));
        assert_eq!(&first.body, catalog().without_prometheus().document());
        let tag = first.header("ETag").unwrap();
        for known in [tag.to_owned(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let request = api.request("GET", "/v2/catalog");
            let again = send_request(request.insert_header(("If-None-Match", known)), None).await;
            assert_eq!((again.status, &again.body), (304, &json!(null)));
            assert_eq!(again.header("ETag"), Some(tag));
        }
        let request = api.request("GET", "/v2/catalog");
        let other = send_request(request.insert_header(("If-None-Match", "\"other\"")), None).await;
        assert_eq!(other.status, 200);

        let mut document = catalog().document().clone();
        document["services"][0]["description"] = json!("another one");
        let catalog = scrapebroker::domain::Catalog::parse(&document, BASE_URL).unwrap();
        api.broker.replace_catalog(catalog);
        let request = api.request("GET", "/v2/catalog");
        let changed = send_request(request.insert_header(("If-None-Match", tag)), None).await;
        assert_eq!(changed.status, 200);
        assert_eq!(changed.body["services"][0]["description"], "another one");
    })
    .await;
}

#[actix_web::test]
async fn head_is_supported_for_all_gets() {
    on_sqlite(async |api| {
        assert_eq!(api.put(&instance("i"), &provision()).await.status, 201);
        assert_eq!(api.put(&binding("i", "b"), &bind("app")).await.status, 201);
        let paths = [
            "/v2/catalog".to_owned(),
            instance("i"),
            format!("{}/last_operation", instance("i")),
            binding("i", "b"),
            format!("{}/last_operation", binding("i", "b")),
        ];
        for path in paths {
            let get = api.get(&path).await;
            let head = send_request(api.request("HEAD", &path), None).await;
            assert_eq!((get.status, head.status), (200, 200), "{path}");
            assert_eq!(head.body, json!(null), "{path}");
            assert_eq!(head.header("Content-Length"), get.header("Content-Length"), "{path}");
        }
        assert_eq!(send_request(api.request("HEAD", &instance("j")), None).await.status, 404);
    })
    .await;
}
