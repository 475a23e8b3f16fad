//! Headers and parameters that are forwarded to apps, and the authorization for credentials in
//! bindings.

use crate::test_app::*;
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use support::*;

const METRICS: &str = "/v1/apps/app-guid/metrics";

fn token(bound: &Response) -> String {
    bound.json()["credentials"]["token"].as_str().unwrap().to_owned()
}

fn operator(user: &str, password: &str) -> (&'static str, String) {
    let hash = bcrypt::hash(password, 4).unwrap();
    ("OPERATORS", json!([{"username": user, "password_bcrypt": hash}]).to_string())
}

/// Headers with credentials of the installation: those of the platform, of an operator, and a
/// token.
fn own_credentials(token: &str) -> Vec<Vec<(&'static str, String)>> {
    let authorization = |value: String| vec![("Authorization", value)];
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let pair = format!("{USER}:{PASSWORD}");
    vec![
        authorization(basic(USER, PASSWORD)),
        authorization(basic(USER, "an earlier password")),
        authorization(basic(USER, "")),
        authorization(basic(&USER.to_uppercase(), PASSWORD)),
        authorization(basic("metrics", PASSWORD)),
        authorization(basic("ann", "pa:ss")),
        authorization(basic("Ann", "pa:ss")),
        authorization(basic("ann", "mistyped")),
        authorization(basic("anyone", token)),
        authorization(basic(token, "")),
        authorization(basic("anyone", "sbt_revoked")),
        authorization(format!("bAsIc  {} ", encoded(&pair))),
        authorization(format!("Basic\t{}", encoded(&pair))),
        authorization(format!("Basic {}", encoded(&pair).trim_end_matches('='))),
        authorization(format!("Basic {}*", encoded(&pair))),
        authorization(format!("Basic {} {}", &encoded(&pair)[..8], &encoded(&pair)[8..])),
        authorization(format!("Basic {}", BASE64_URL_SAFE_NO_PAD.encode(format!("x:?>{token}")))),
        authorization(format!("Basic {pair}")),
        authorization(encoded(&pair)),
        authorization(pair.clone()),
        authorization(format!("Bearer {}", encoded(&pair))),
        authorization(format!("Bearer {token}")),
        authorization(format!("bearer   {token}")),
        authorization(format!("Bearer {}", token.to_uppercase())),
        authorization(format!("Bearer {}", encoded(token))),
        authorization(format!("Bearer {}", encoded(&encoded(token)))),
        authorization(format!("Token token=\"{token}\"")),
        authorization(format!("Digest username=\"{USER}\", realm=\"x\", response=\"00\"")),
        authorization(format!("Digest username={USER}, response=\"00\"")),
        authorization(format!("Bearer of-the-app, Bearer {token}")),
        authorization(token.to_owned()),
        authorization(format!("{token} ")),
        authorization(format!("Bearer \"{}\"", token.replace("sbt_", "sbt%5F"))),
        authorization("Basic %%%".to_owned()),
        vec![
            ("Authorization", "Bearer of-the-app".to_owned()),
            ("Authorization", basic(USER, "x")),
        ],
        vec![("Authorization", "Basic".to_owned()), ("Authorization", encoded(&pair))],
        vec![("Proxy-Authorization", basic(USER, PASSWORD))],
        vec![("X-Authorization", basic(USER, PASSWORD))],
        vec![("X-Api-Key", token.to_owned())],
        vec![("X-Api-Key", format!("Bearer {token}"))],
        vec![("X-Api-Key", encoded(token))],
        vec![("X-Api-Key", PASSWORD.to_owned())],
        vec![("X-Auth", pair)],
        vec![("Referer", format!("http://{USER}:x@broker.example.com/"))],
        vec![("Referer", format!("http://broker.example.com/?token={token}"))],
        vec![("Origin-Of", "a;b=sbt_revoked;c".to_owned())],
        vec![("X-Scrapebroker-Via", token.to_owned())],
        vec![("X-Forwarded-For", token.to_owned())],
    ]
}

#[actix_web::test]
async fn credentials_of_the_installation_are_not_forwarded_to_apps() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    for mode in ["open", "token"] {
        let access = ("SCRAPE__ACCESS", mode.to_owned());
        let app = spawn_app(&[routes.setting(), access, operator("ann", "pa:ss")]).await;
        let token = token(&app.bind("b1", "app-guid", json!({})).await);
        for headers in own_credentials(&token) {
            let before = instance.requests().len();
            let mut sent: Vec<_> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            sent.push(("X-Tenant", "7"));
            let answer = app.get_with(METRICS, &sent).await;
            let expected = if mode == "open" { before + 1 } else { instance.requests().len() };
            assert_eq!(instance.requests().len(), expected, "{mode} {headers:?} {}", answer.text());
            let Some(seen) = instance.requests().get(before).cloned() else { continue };
            assert_eq!(seen.headers["x-tenant"], "7", "{headers:?}");
            for name in [
                "authorization",
                "proxy-authorization",
                "x-authorization",
                "x-api-key",
                "x-auth",
                "referer",
                "origin-of",
            ] {
                assert!(!seen.headers.contains_key(name), "{mode} {headers:?}: {seen:?}");
            }
            let all = format!("{seen:?}").to_lowercase();
            assert!(!all.contains("sbt_") && !all.contains(PASSWORD), "{headers:?}: {all}");
        }
    }
}

#[actix_web::test]
async fn in_open_mode_credentials_for_the_app_are_forwarded() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), operator("admin", "pa:ss")]).await;
    let jwt = format!(
        "Bearer e30.{}.x",
        BASE64_URL_SAFE_NO_PAD
            .encode(r#"{"sub":"admin","scope":"admin:org","user":"cloud-controller"}"#,)
    );
    for value in [
        basic("scraper", "of the app"),
        basic("cloud", "controller"),
        basic("administrator", "x"),
        "Bearer of-the-app".to_owned(),
        "Token 0123456789".to_owned(),
        "of-the-app".to_owned(),
        jwt,
    ] {
        app.get_with(METRICS, &[("Authorization", &value), ("X-Api-Key", "of-the-app")]).await;
        let seen = instance.requests().pop().unwrap();
        assert_eq!(seen.headers["authorization"], value);
        assert_eq!(seen.headers["x-api-key"], "of-the-app");
    }
}

#[actix_web::test]
async fn a_token_in_the_query_is_refused_and_not_forwarded() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let token = token(&app.bind("b1", "app-guid", json!({})).await);
    let percent = token.replace('_', "%5F");
    let twice = token.replace('_', "%255f");
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(format!("{USER}:{PASSWORD}"));
    for query in [
        format!("token={token}"),
        token.clone(),
        format!("token={percent}"),
        format!("token={twice}"),
        format!("auth={encoded}"),
        format!("metric_path=/x?token={token}"),
        format!("metric_path=/{token}"),
        format!("process_type={token}"),
        format!("url=http://{USER}:x@host/"),
    ] {
        let answer = app.get(&format!("{METRICS}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains("credential"), "{}", answer.text());
        assert!(!answer.text().contains(&token), "{}", answer.text());
    }
    assert!(instance.requests().is_empty());
}

/// An app with a protected path `/admin`, and a binding with credentials for the whole app.
async fn protected_app() -> (Instance, RouteFile) {
    let instance = Instance::start(|seen| match seen.line.split(' ').nth(1).unwrap() {
        "/moved" => Reply::Http(302, vec![("Location", "/admin".to_owned())], vec![]),
        "/slash" => Reply::Http(301, vec![("Location", "/slash/".to_owned())], vec![]),
        _ => Reply::metrics("a 1\n"),
    })
    .await;
    let routes = RouteFile::of_app([&instance]);
    (instance, routes)
}

fn secrets(endpoint: &str) -> serde_json::Value {
    json!({
        "endpoint": endpoint, "params": {"key": "hidden"}, "headers": {"X-Api-Key": "hidden"},
        "basic_auth": {"username": "u", "password": "hidden"}, "process_types": ["web"],
    })
}

/// Whether a request contains the credentials of [`secrets`].
fn is_trusted(seen: &ReceivedRequest) -> bool {
    let parts = [
        seen.headers.contains_key("authorization"),
        seen.headers.contains_key("x-api-key"),
        seen.line.contains("key=hidden"),
    ];
    assert!(
        parts.iter().all(|it| *it == parts[0]),
        "a request has either all secrets or none: {seen:?}"
    );
    parts[0]
}

#[actix_web::test]
async fn without_authorization_secrets_of_a_binding_are_sent_only_to_its_endpoint() {
    let (instance, routes) = protected_app().await;
    let app = spawn_app(&[routes.setting(), operator("ann", "pa:ss")]).await;
    let bound = app.bind("b1", "app-guid", secrets("/own")).await;
    let other = bearer(&token(&app.bind("b2", "other-guid", json!({})).await));
    let (token, operator) = (bearer(&token(&bound)), basic("ann", "pa:ss"));
    let all = "/v1/apps/app-guid/metrics";
    let one = "/v1/apps/app-guid/instances/0/metrics";
    for (path, anonymous) in [
        (all.to_owned(), true),
        (one.to_owned(), true),
        ("/v2/apps/acme/prod/app/only-app-metrics".to_owned(), true),
        (format!("{all}?metric_path=/own"), true),
        (format!("{all}?only_from_app"), true),
        (format!("{all}?metric_path=/admin"), false),
        (format!("{one}?metric_path=/admin"), false),
        (format!("{one}?metric_path=admin"), false),
        ("/v1/apps/metrics?route_url=app.example.com&metric_path=/admin".to_owned(), false),
        (format!("{all}?metric_path=/own/"), false),
        (format!("{all}?metric_path=/own/admin"), false),
        (format!("{all}?metric_path=/%256fwn"), false),
        (format!("{all}?metric_path=/OWN"), false),
        (format!("{all}?metric_path=/own;x"), false),
        (format!("{all}?metric_path=/own?x=1"), false),
        (format!("{all}?delete=all"), false),
        (format!("{one}?delete=all"), false),
        (format!("{all}?key=mine"), false),
        (format!("{all}?process_type=worker"), false),
    ] {
        for (headers, trusted) in [
            (vec![], anonymous),
            (vec![("Authorization", other.as_str())], anonymous),
            (vec![("Authorization", "Bearer of-someone")], anonymous),
            (vec![("Authorization", token.as_str())], true),
            (vec![("Authorization", operator.as_str())], true),
        ] {
            let answer = app.get_with(&path, &headers).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let mut seen = instance.requests().pop().unwrap();
            if seen.headers.get("authorization").is_some_and(|it| it == "Bearer of-someone") {
                seen.headers.remove("authorization");
            }
            assert_eq!(is_trusted(&seen), trusted, "{path} {headers:?}: {seen:?}");
        }
    }
    let worker = app.get(&format!("{one}?process_type=worker")).await;
    assert_eq!(worker.status, 404, "the binding excludes this process type");
}

#[actix_web::test]
async fn headers_of_unauthorized_requests_are_not_combined_with_binding_secrets() {
    let (instance, routes) = protected_app().await;
    let app = spawn_app(&[routes.setting()]).await;
    let bound = app.bind("b1", "app-guid", secrets("/own")).await;
    let token = bearer(&token(&bound));
    let elsewhere = ("X-Original-URL", "/admin");
    app.get_with(METRICS, &[elsewhere]).await;
    let seen = instance.requests().pop().unwrap();
    assert!(is_trusted(&seen) && !seen.headers.contains_key("x-original-url"), "{seen:?}");
    app.get_with(METRICS, &[elsewhere, ("Authorization", &token)]).await;
    let seen = instance.requests().pop().unwrap();
    assert!(is_trusted(&seen) && seen.headers.contains_key("x-original-url"), "{seen:?}");
    app.get_with(&format!("{METRICS}?metric_path=/x"), &[elsewhere]).await;
    let seen = instance.requests().pop().unwrap();
    assert!(!is_trusted(&seen) && seen.headers.contains_key("x-original-url"), "{seen:?}");
}

#[actix_web::test]
async fn a_redirect_to_another_path_does_not_receive_binding_secrets() {
    let (instance, routes) = protected_app().await;
    let app = spawn_app(&[routes.setting()]).await;
    for (endpoint, to, anonymous) in [("/moved", "/admin", false), ("/slash", "/slash/", true)] {
        let bound = json!({"endpoint": endpoint, "bearer_token": "hidden"});
        let token = bearer(&token(&app.bind(&endpoint[1..], "app-guid", bound).await));
        for (headers, trusted) in
            [(vec![], anonymous), (vec![("Authorization", token.as_str())], true)]
        {
            assert_eq!(app.get_with(METRICS, &headers).await.status, 200);
            let seen = instance.requests();
            let [first, second] = &seen[seen.len() - 2..] else { panic!("{seen:?}") };
            assert!(first.line.contains(endpoint) && second.line.contains(to), "{seen:?}");
            assert!(first.headers.contains_key("authorization"));
            assert_eq!(second.headers.contains_key("authorization"), trusted, "{endpoint}");
        }
    }
}

#[actix_web::test]
async fn a_refused_scrape_without_binding_secrets_has_its_own_message() {
    let instance = Instance::start(|seen| match seen.headers.contains_key("authorization") {
        true => Reply::metrics("a 1\n"),
        false => Reply::Http(401, vec![], vec![]),
    })
    .await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let bound = app.bind("b1", "app-guid", json!({"bearer_token": "hidden"})).await;
    assert_eq!(app.get(METRICS).await.status, 200);
    let path = format!("{METRICS}?metric_path=/other");
    let answer = app.get(&path).await;
    assert_eq!(answer.status, 406);
    assert!(
        answer.text().contains("credentials of the binding were not sent"),
        "{}",
        answer.text()
    );
    let token = bearer(&token(&bound));
    assert_eq!(app.get_with(&path, &[("Authorization", &token)]).await.status, 200);
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
