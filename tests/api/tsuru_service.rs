//! From `tsuru service-instance-bind` to the next scrape; the rules of the
//! service API have tests of their own in `tests/tsuru`.

use crate::{helpers::*, process::*};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One request of Tsuru about the service `metrics`; none if the connection broke.
async fn tsuru(address: SocketAddr, method: &str, path: &str, form: &str) -> Option<Answer> {
    ask_tsuru(address, "metrics", method, path, form).await
}

/// One request of Tsuru; none if the connection broke.
pub(crate) async fn ask_tsuru(
    address: SocketAddr,
    service: &str,
    method: &str,
    path: &str,
    form: &str,
) -> Option<Answer> {
    let request = format!(
        "{method} /tsuru/{service}/resources{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        basic(service, PASSWORD),
        form.len()
    );
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.ok()?;
    let whole = raw.windows(4).any(|window| window == b"\r\n\r\n");
    whole.then(|| parse_answer(&raw))
}

/// A route table with the app `shop` of Tsuru, as the source of its units has it.
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
async fn a_bound_app_of_tsuru_is_scraped_as_its_binding_says_and_with_its_token() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::new(&table_of_shop([&instance]));
    let access = ("SCRAPE__ACCESS", "token".to_owned());
    let base_url = ("BASE_URL", "https://metrics.example.com".to_owned());
    let app = spawn_app(&[routes.setting(), access, base_url]).await;
    let ask = async |method, path, form| tsuru(app.address, method, path, form).await.unwrap();
    assert_eq!(ask("POST", "", "name=m&team=checkout").await.status, 201);
    let form = "app-name=shop&app-hosts=shop.tsuru.example.com&app-pool-name=pool-a\
                &parameters.endpoint=%2Finternal";
    let bound = ask("POST", "/m/bind-app", form).await;
    assert_eq!(bound.status, 201, "{}", bound.text());
    let job = ask("PUT", "/m/binds/jobs/nightly", "").await;

    let variable = |answer: &Answer, name: &str| answer.json()[name].as_str().unwrap().to_owned();
    let url = variable(&bound, "METRICS_URL");
    let path = url.strip_prefix("https://metrics.example.com").unwrap();
    assert_eq!(app.get(path).await.status, 401);
    for answer in [&bound, &job] {
        let token = format!("Bearer {}", variable(answer, "METRICS_TOKEN"));
        let scraped = app.get_with(path, &[("Authorization", &token)]).await;
        assert_eq!(scraped.status, 200, "{}", scraped.text());
        assert!(scraped.lines("a{")[0].contains("app_id=\"tsuru:shop\""), "{}", scraped.text());
    }
    assert!(instance.seen().iter().all(|seen| seen.line.starts_with("GET /internal ")));
    assert_eq!(ask("DELETE", "/m/bind-app", "app-name=shop").await.status, 200);
    let token = format!("Bearer {}", variable(&bound, "METRICS_TOKEN"));
    assert_eq!(app.get_with(path, &[("Authorization", &token)]).await.status, 401);
}

#[actix_web::test]
async fn wrong_credentials_of_tsuru_are_counted_as_all_failed_tries_are() {
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
async fn a_body_that_does_not_come_is_not_waited_for() {
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
    let answer = parse_answer(&raw);
    assert_eq!((answer.status, answer.text().contains("was not there after")), (408, true));
}

#[actix_web::test]
async fn what_tsuru_was_told_survives_kill_9_and_the_rest_can_be_repeated() {
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
            assert_eq!((again.status, &again.json()), (200, variables), "{form} is lost");
        }
        for sent @ (path, form) in &lost {
            let again = tsuru(server.address, "POST", path, form).await.unwrap();
            assert!([200, 201].contains(&again.status), "{form} {}", again.text());
            let variables: Value = again.json();
            acknowledged.push((sent.clone(), variables));
        }
    }
}
