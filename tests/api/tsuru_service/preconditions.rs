//! Checks that apply to every URL: credentials, unknown services, URLs and methods.

use super::client::*;

/// All supported methods and URLs, and some unsupported ones.
const URLS: [(&str, &str); 19] = [
    ("GET", "/metrics/resources/plans"),
    ("POST", "/metrics/resources"),
    ("GET", "/metrics/resources/m"),
    ("PUT", "/metrics/resources/m"),
    ("DELETE", "/metrics/resources/m"),
    ("GET", "/metrics/resources/m/status"),
    ("POST", "/metrics/resources/m/bind-app"),
    ("DELETE", "/metrics/resources/m/bind-app"),
    ("POST", "/metrics/resources/m/bind"),
    ("DELETE", "/metrics/resources/m/bind"),
    ("PUT", "/metrics/resources/m/binds/jobs/j"),
    ("DELETE", "/metrics/resources/m/binds/jobs/j"),
    ("GET", "/metrics/resources/m/targets"),
    ("GET", "/metrics/authenticated-resources"),
    ("GET", "/metrics/authenticated-resources/m/targets"),
    ("PATCH", "/metrics/resources"),
    ("GET", "/metrics"),
    ("GET", "/unknown/resources/plans"),
    ("GET", "/metrics/resources/%ff"),
];

#[actix_web::test]
async fn credentials_are_checked_first() {
    on_sqlite(async |api| {
        let wrong = [
            None,
            Some(("broker", "wrong")),
            Some(("wrong", "secret")),
            Some(("metrics", "wrong")),
            Some(("other", "secret")),
            Some(("", "secret")),
        ];
        for (method, path) in URLS {
            for credentials in wrong {
                let mut request = api.bare(method, path);
                if let Some((user, password)) = credentials {
                    request = request.basic_auth(user, password);
                }
                let answer = send_request(request, "").await;
                assert_eq!(answer.status, 401, "{method} {path} {credentials:?}");
                assert!(answer.header("WWW-Authenticate").unwrap().starts_with("Basic "));
                assert_eq!(answer.text, "wrong or missing credentials");
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn the_service_name_is_a_valid_user_name_for_that_service() {
    on_sqlite(async |api| {
        for (user, service, status) in [
            ("broker", "metrics", 200),
            ("metrics", "metrics", 200),
            ("broker", "other", 200),
            ("other", "other", 200),
            ("metrics", "other", 401),
        ] {
            let path = format!("/{service}/resources/plans");
            let request = api.bare("GET", &path).basic_auth(user, "secret");
            assert_eq!(send_request(request, "").await.status, status, "{user} {service}");
        }
    })
    .await;
}

#[actix_web::test]
async fn without_configured_credentials_every_url_names_the_missing_settings() {
    on_sqlite(async |api| {
        let api = Api::serve(api.broker, None);
        for (method, path) in URLS {
            let answer = send_request(api.request(method, path), "").await;
            assert_eq!(answer.status, 503, "{method} {path}");
            assert!(answer.text.contains("broker.username"), "{}", answer.text);
        }
    })
    .await;
}

#[actix_web::test]
async fn unknown_services_urls_and_methods_are_refused_with_a_message() {
    on_sqlite(async |api| {
        api.created("m").await;
        for (method, path, status, words) in [
            ("GET", "/unknown/resources/plans", 404, "there are: metrics, other"),
            ("GET", "/metrics", 404, "nothing at this URL"),
            ("GET", "/metrics/resources/m/targets", 404, "nothing at this URL"),
            ("GET", "/metrics/resources/m/status/x", 404, "nothing at this URL"),
            ("GET", "/metrics/authenticated-resources", 404, "shows no instance"),
            ("GET", "/metrics/authenticated-resources/m/targets", 404, "shows no instance"),
            ("POST", "/metrics/authenticated-resources/x", 404, "shows no instance"),
            ("GET", "/metrics/resources", 405, "POST"),
            ("POST", "/metrics/resources/plans", 405, "GET, HEAD"),
            ("POST", "/metrics/resources/m", 405, "GET, HEAD, PUT, DELETE"),
            ("PUT", "/metrics/resources/m/bind-app", 405, "POST, DELETE"),
            ("POST", "/metrics/resources/m/binds/jobs/j", 405, "PUT, DELETE"),
            ("GET", "/metrics/resources/%ff", 400, "UTF-8"),
        ] {
            let answer = send_request(api.request(method, path), "").await;
            assert_eq!(answer.status, status, "{method} {path} {}", answer.text);
            assert!(answer.text.contains(words), "{method} {path} {}", answer.text);
            assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
            if status == 405 {
                assert_eq!(answer.header("Allow"), Some(words));
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn head_is_allowed_for_all_gets() {
    on_sqlite(async |api| {
        api.created("m").await;
        for path in ["plans", "m", "m/status"] {
            let path = format!("/metrics/resources/{path}");
            let get = api.get(&path).await;
            let head = send_request(api.request("HEAD", &path), "").await;
            assert_eq!((get.status, &*head.text), (head.status, ""), "{path}");
            assert!(get.status < 300, "{path}");
        }
    })
    .await;
}

#[actix_web::test]
async fn invalid_tsuru_headers_are_ignored() {
    on_sqlite(async |api| {
        for (name, value) in [
            ("X-Tsuru-User", "dev@example.test"),
            ("X-Tsuru-User", "\u{e4}"),
            ("X-Tsuru-Eventid", ""),
            ("X-Tsuru-Cluster-Kube-Config", "%%%"),
            ("X-Tsuru-Cluster-Addresses", "https://127.9.0.1:6443"),
        ] {
            let request = api.request("GET", "/metrics/resources/plans");
            let answer = send_request(request.insert_header((name, value)), "").await;
            assert_eq!(answer.status, 200, "{name} {value}");
        }
    })
    .await;
}
