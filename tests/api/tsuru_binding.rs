//! Effects of Tsuru bindings on scrapes. The module `tsuru_service` tests the service API itself.

use crate::{server_process::*, test_app::*};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use support::{
    tsuru::{Fault, TOKEN, TsuruApi},
    *,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The event ID of a request. Tsuru sends it in the header and in the body.
const EVENT: &str = "665f1c2ab8d5e9a1c0ffee01";

/// Sends one request of Tsuru about the service `metrics`. None if the connection failed.
async fn tsuru(address: SocketAddr, method: &str, path: &str, form: &str) -> Option<Response> {
    tsuru_request(address, "metrics", method, path, form).await
}

/// Sends one request of Tsuru. None if the connection failed.
pub(crate) async fn tsuru_request(
    address: SocketAddr,
    service: &str,
    method: &str,
    path: &str,
    form: &str,
) -> Option<Response> {
    let form = format!("{form}&eventid={EVENT}");
    let request = format!(
        "{method} /tsuru/{service}/resources{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         X-Tsuru-Eventid: {EVENT}\r\nAuthorization: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        basic(service, PASSWORD),
        form.len()
    );
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.ok()?;
    let whole = raw.windows(4).any(|window| window == b"\r\n\r\n");
    whole.then(|| parse_response(&raw))
}

/// A route table with the Tsuru app `shop`, in the form of the route source for Tsuru units.
pub(crate) fn table_of_shop<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Value {
    let instances = instances.into_iter().enumerate();
    let endpoints = instances.map(|(index, instance)| {
        let mut endpoint = endpoint("shop", index, instance.address);
        for (name, value) in [
            ("app_id", "tsuru:shop"),
            ("app_name", "shop"),
            ("organization_id", "tsuru:checkout"),
            ("organization_name", "checkout"),
            ("space_id", "tsuru:checkout/pool-a"),
            ("space_name", "pool-a"),
        ] {
            endpoint["tags"][name] = json!(value);
        }
        endpoint
    });
    json!({ "shop.tsuru.example.com": endpoints.collect::<Vec<_>>() })
}

#[actix_web::test]
async fn a_bound_tsuru_app_is_scraped_with_its_parameters_and_token() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::new(&table_of_shop([&instance]));
    let access = ("SCRAPE__ACCESS", "token".to_owned());
    let base_url = ("BASE_URL", "https://metrics.example.com".to_owned());
    let app = spawn_app(&[routes.setting(), access, base_url]).await;
    let send_request =
        async |method, path, form| tsuru(app.address, method, path, form).await.unwrap();
    assert_eq!(send_request("POST", "", "name=m&team=checkout").await.status, 201);
    let form = "app-name=shop&app-hosts=shop.tsuru.example.com&app-pool-name=pool-a\
                &parameters.endpoint=%2Finternal";
    let bound = send_request("POST", "/m/bind-app", form).await;
    assert_eq!(bound.status, 201, "{}", bound.text());
    let job = send_request("PUT", "/m/binds/jobs/nightly", "").await;

    let variable = |answer: &Response, name: &str| answer.json()[name].as_str().unwrap().to_owned();
    let url = variable(&bound, "METRICS_URL");
    let path = url.strip_prefix("https://metrics.example.com").unwrap();
    assert_eq!(app.get(path).await.status, 401);
    for answer in [&bound, &job] {
        let token = format!("Bearer {}", variable(answer, "METRICS_TOKEN"));
        let scraped = app.get_with(path, &[("Authorization", &token)]).await;
        assert_eq!(scraped.status, 200, "{}", scraped.text());
        assert!(scraped.lines("a{")[0].contains("app_id=\"tsuru:shop\""), "{}", scraped.text());
    }
    assert!(instance.requests().iter().all(|seen| seen.line.starts_with("GET /internal ")));
    assert_eq!(send_request("DELETE", "/m/bind-app", "app-name=shop").await.status, 200);
    let token = format!("Bearer {}", variable(&bound, "METRICS_TOKEN"));
    assert_eq!(app.get_with(path, &[("Authorization", &token)]).await.status, 401);
}

#[actix_web::test]
async fn wrong_credentials_of_tsuru_count_as_failed_logins() {
    let app = spawn_app(&[]).await;
    let url = app.url("/tsuru/metrics/resources/plans");
    let refused = async || {
        let own = app.get("/metrics").await;
        let line = own.lines("scrapebroker_access_refused_total{reason=\"wrong\"} ").pop();
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
    };
    for tries in 1..=3 {
        let wrong = basic("metrics", "wrong");
        let answer = send("GET", &url, &[("Authorization", &wrong)], None).await;
        assert_eq!(answer.status, 401);
        assert_eq!(refused().await, tries);
    }
    let right = basic(USER, PASSWORD);
    let plans = send("GET", &url, &[("Authorization", &right)], None).await;
    assert_eq!(plans.json()[0]["name"], "fetch-app");
    for path in ["/tsuru", "/tsuru/", "/tsuru/metrics"] {
        let answer = send("GET", &app.url(path), &[("Authorization", &right)], None).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn a_missing_body_times_out() {
    let app = spawn_app(&[]).await;
    let request = format!(
        "DELETE /tsuru/metrics/resources/m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: {}\r\nContent-Length: 10\r\n\r\nuser=",
        basic(USER, PASSWORD)
    );
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    let answer = parse_response(&raw);
    assert_eq!((answer.status, answer.text().contains("was not received within")), (408, true));
}

#[actix_web::test]
async fn acknowledged_tsuru_changes_survive_sigkill_and_others_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for (round, delay) in [4, 9, 15].into_iter().enumerate() {
        let server = Server::start(folder.path());
        assert!(
            tsuru(server.address, "POST", "", &format!("name=m{round}&team=t")).await.is_some()
        );
        let bind = |n: usize| {
            let (address, path) = (server.address, format!("/m{round}/bind-app"));
            let form = format!("app-name=app-{round}-{n}&app-hosts=h");
            async move { ((path.clone(), form.clone()), tsuru(address, "POST", &path, &form).await) }
        };
        let requests: Vec<_> = (0..30).map(|n| actix_web::rt::spawn(bind(n))).collect();
        tokio::time::sleep(Duration::from_millis(delay)).await;
        server.signal("KILL");
        let mut lost = Vec::new();
        for request in requests {
            let (sent, answer) = request.await.unwrap();
            match answer {
                Some(answer) => acknowledged.push((sent, answer.json())),
                None => lost.push(sent),
            }
        }
        drop(server);
        let server = Server::start(folder.path());
        for ((path, form), variables) in &acknowledged {
            let again = tsuru(server.address, "POST", path, form).await.unwrap();
            assert_eq!((again.status, &again.json()), (200, variables), "{form} was lost");
        }
        for sent @ (path, form) in &lost {
            let again = tsuru(server.address, "POST", path, form).await.unwrap();
            assert!([200, 201].contains(&again.status), "{form} {}", again.text());
            let variables: Value = again.json();
            acknowledged.push((sent.clone(), variables));
        }
    }
}

/// Starts the program with a Tsuru API that has the service instances `metrics/m` and `metrics/n`.
async fn with_api() -> (TsuruApi, TestApp) {
    let api = TsuruApi::start().await;
    api.put_service_instance("metrics/m", &["shop", "cart"], &["nightly", "weekly"]);
    api.put_service_instance("metrics/n", &["shop"], &[]);
    let settings =
        [("ROUTES__TSURU__API_URL", api.url()), ("ROUTES__TSURU__TOKEN", TOKEN.to_owned())];
    let app = spawn_app(&settings).await;
    for name in ["m", "n"] {
        let made = tsuru(app.address, "POST", "", &format!("name={name}&team=checkout")).await;
        assert_eq!(made.unwrap().status, 201);
    }
    for (method, path, form) in [
        ("POST", "/m/bind-app", "app-name=shop"),
        ("POST", "/m/bind-app", "app-name=cart"),
        ("PUT", "/m/binds/jobs/nightly", ""),
        ("PUT", "/m/binds/jobs/weekly", ""),
        ("POST", "/n/bind-app", "app-name=shop"),
    ] {
        let bound = tsuru(app.address, method, path, form).await.unwrap();
        assert_eq!(bound.status, 201, "{path} {}", bound.text());
    }
    (api, app)
}

#[actix_web::test]
async fn a_bind_that_tsuru_does_not_know_is_refused() {
    let (api, app) = with_api().await;
    let bind = async |method, path, form| tsuru(app.address, method, path, form).await.unwrap();
    for (method, path, form) in [
        ("POST", "/m/bind-app", "app-name=payroll"),
        ("POST", "/m/bind", "app-name=payroll"),
        ("POST", "/n/bind-app", "app-name=cart"),
        ("PUT", "/n/binds/jobs/nightly", ""),
    ] {
        let refused = bind(method, path, form).await;
        assert_eq!(refused.status, 403, "{path} {}", refused.text());
        assert!(refused.text().contains("has not bound"), "{}", refused.text());
    }
    // A forged request does not change an existing binding either.
    api.put_service_instance("metrics/n", &[], &[]);
    let forged = bind("POST", "/n/bind-app", "app-name=shop&parameters.endpoint=/x").await;
    assert_eq!(forged.status, 403, "{}", forged.text());
    // Binds are accepted while the API of Tsuru fails.
    api.fault(Fault::Status(500));
    assert_eq!(bind("POST", "/n/bind-app", "app-name=payroll").await.status, 201);
}

#[actix_web::test]
async fn operators_can_list_and_remove_tsuru_leftovers() {
    const URL: &str = "/v1/tsuru/leftovers";
    let (api, app) = with_api().await;
    let operator = basic(USER, PASSWORD);
    let send_request = async |method: &str, query: &str| {
        let url = app.url(&format!("{URL}{query}"));
        send(method, &url, &[("Authorization", &operator)], None).await
    };
    let leftovers = async || send_request("GET", "").await.json()["leftovers"].clone();
    let token = {
        let bound = tsuru(app.address, "POST", "/m/bind-app", "app-name=shop").await.unwrap();
        format!("Bearer {}", bound.json()["METRICS_TOKEN"].as_str().unwrap())
    };
    for (authorization, status) in [(None, 401), (Some(&*token), 403), (Some("Basic eDp5"), 401)] {
        for method in ["GET", "DELETE"] {
            let headers: Vec<_> =
                authorization.map(|it| ("Authorization", it)).into_iter().collect();
            let refused = send(method, &app.url(URL), &headers, None).await;
            assert_eq!(refused.status, status, "{method} {authorization:?}");
        }
    }
    assert_eq!(leftovers().await, json!([]));

    // After a forced unbind or removal in Tsuru, Scrapebroker receives no request.
    api.put_service_instance("metrics/m", &["shop"], &["nightly"]);
    api.remove_service_instance("metrics/n");
    let gone = json!([
        {"service": "metrics", "instance": "m", "app": "cart", "state": "gone"},
        {"service": "metrics", "instance": "m", "job": "weekly", "state": "gone"},
        {"service": "metrics", "instance": "n", "state": "gone"},
    ]);
    assert_eq!(leftovers().await, gone);

    // If the state is unknown, the leftover is kept.
    api.fault(Fault::Status(403));
    let unknown = leftovers().await;
    assert_eq!(unknown.as_array().unwrap().len(), 2, "{unknown}");
    assert_eq!(unknown[0]["state"], "unknown");
    assert!(unknown[0]["reason"].as_str().unwrap().contains("403"), "{unknown}");
    let kept = send_request("DELETE", "").await;
    assert_eq!((kept.status, &kept.json()["removed"]), (200, &json!([])));
    assert_eq!(kept.json()["kept"], unknown);
    api.fault(Fault::None);
    assert_eq!(leftovers().await, gone);

    let removed = send_request("DELETE", "").await;
    assert_eq!((removed.status, removed.json()), (200, json!({"removed": gone, "kept": []})));
    assert_eq!(leftovers().await, json!([]));
    assert_eq!(tsuru(app.address, "GET", "/n", "").await.unwrap().status, 404);
    assert_eq!(app.get_with("/sd", &[("Authorization", &token)]).await.status, 200);

    // Instances in use are removed only if the query names them.
    for query in [
        "?service=metrics",
        "?instance=m",
        "?service=metrics&instance=m&app=shop&job=nightly",
        "?service=metrics&instance=m&app=a%3Ab",
        "?all=true",
    ] {
        let refused = send_request("DELETE", query).await;
        assert_eq!(refused.status, 400, "{query} {}", refused.text());
    }
    for (query, status) in [
        ("?service=metrics&instance=n", 404),
        ("?service=metrics&instance=m&app=cart", 404),
        ("?service=metrics&instance=m&app=shop", 200),
        ("?service=metrics&instance=m&app=shop", 404),
        ("?service=metrics&instance=m&job=nightly", 200),
        ("?service=metrics&instance=m", 200),
        ("?service=metrics&instance=m", 404),
    ] {
        let answer = send_request("DELETE", query).await;
        assert_eq!(answer.status, status, "{query} {}", answer.text());
    }
    assert_eq!(tsuru(app.address, "GET", "/m", "").await.unwrap().status, 404);
    assert_eq!(send_request("POST", "").await.status, 405);
}

#[actix_web::test]
async fn without_a_tsuru_api_leftovers_can_only_be_removed_by_name() {
    let app = spawn_app(&[]).await;
    assert_eq!(tsuru(app.address, "POST", "", "name=m&team=t").await.unwrap().status, 201);
    let operator = basic(USER, PASSWORD);
    let headers = [("Authorization", &*operator)];
    let url = app.url("/v1/tsuru/leftovers");
    let listed = send("GET", &url, &headers, None).await.json();
    assert_eq!(listed["leftovers"][0]["state"], "unknown");
    assert_eq!(send("DELETE", &url, &headers, None).await.json()["removed"], json!([]));
    let named = format!("{url}?service=metrics&instance=m");
    assert_eq!(send("DELETE", &named, &headers, None).await.status, 200);
    assert_eq!(send("GET", &url, &headers, None).await.json(), json!({"leftovers": []}));
}
