//! IPv6 addresses of instances, route sources, exporters and the listener.

use crate::{test_app::*, tsuru_binding::tsuru_request};
use serde_json::{Value, json};
use std::net::SocketAddr;
use support::{
    nats::{TestServer, instance, publish},
    tsuru::{TOKEN, TsuruApi, TsuruApp, internal_address, pod},
    *,
};

async fn on_ipv6(text: &'static str) -> Instance {
    Instance::start_on("[::1]:0", move |_| Reply::Metrics(text.to_owned())).await
}

/// The address without brackets, as gorouter writes it for the host `::1`.
fn without_brackets(address: SocketAddr) -> Value {
    json!(format!("{}:{}", address.ip(), address.port()))
}

#[actix_web::test]
async fn gorouter_endpoints_with_both_ipv6_notations_are_scraped() {
    let fleet = [on_ipv6("a 1\n").await, on_ipv6("a 2\n").await];
    let exporter = on_ipv6("bill 7\n").await;
    let mut endpoints: Vec<Value> = fleet
        .iter()
        .enumerate()
        .map(|(index, instance)| endpoint("app", index, instance.address))
        .collect();
    endpoints[1]["address"] = without_brackets(fleet[1].address);
    let table = json!({ "app.example.com": endpoints }).to_string();
    let router = Instance::start_on("[::1]:0", move |_| {
        Reply::Http(200, vec![], table.clone().into_bytes())
    })
    .await;
    let app = spawn_app(&[
        ("LISTEN", "[::1]:0".to_owned()),
        ("BASE_URL", "http://[::1]:8085".to_owned()),
        (
            "ROUTES__GOROUTERS",
            json!([{"url": format!("http://{}/routes", router.address)}]).to_string(),
        ),
        (
            "EXTERNAL_EXPORTERS",
            json!([{"name": "bill", "host": exporter.address.to_string()}]).to_string(),
        ),
    ])
    .await;
    assert!(app.address.is_ipv6());
    eventually(async || (app.get("/-/ready").await.status == 200).then_some(())).await;
    let page = app.get("/v1/apps/app-guid/metrics").await;
    for (instance, value) in fleet.iter().zip(1..) {
        let lines = page.lines("a{");
        let label = format!("instance=\"{}\"}} {value}", instance.address);
        assert!(label.starts_with("instance=\"[::1]:"), "{label}");
        assert!(lines.iter().any(|line| line.ends_with(&label)), "{label} in {}", page.text());
        for which in
            [instance.address.to_string(), format!("%5B::1%5D:{}", instance.address.port())]
        {
            let one = app.get(&format!("/v1/apps/app-guid/instances/{which}/metrics")).await;
            assert_eq!((one.status, one.lines("a{").len()), (200, 1), "{which}: {}", one.text());
        }
    }
    assert_eq!(page.lines("bill{").len(), 1, "{}", page.text());
    let host = &fleet[0].requests()[0].headers["host"];
    assert_eq!(host, "app.example.com");
    let authorization = basic(USER, PASSWORD);
    let headers = [("Authorization", &*authorization)];
    let list = app.get_with("/sd", &headers).await.json();
    assert_eq!(list[0]["targets"][0], "[::1]:8085", "{list}");
    let direct = app.get_with("/v1/sd/apps/acme?mode=direct", &headers);
    let direct = eventually_allowed(direct, &app, &headers).await;
    assert_eq!(direct[1]["targets"][0], fleet[1].address.to_string(), "{direct}");
}

/// The target list. Retries the request while the rate limit is exceeded.
async fn eventually_allowed(
    first: impl Future<Output = Response>,
    app: &TestApp,
    headers: &[(&str, &str)],
) -> Value {
    let first = first.await;
    if first.status == 200 {
        return first.json();
    }
    eventually(async || {
        let answer = app.get_with("/v1/sd/apps/acme?mode=direct", headers).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await
}

#[actix_web::test]
async fn ipv6_works_for_the_nats_server_and_hosts_in_its_messages() {
    let server = TestServer::start_on("[::1]", "").await;
    let good = on_ipv6("a 1\n").await;
    let settings = [
        ("ROUTES__NATS__SERVERS", json!([format!("nats://{}", server.address())]).to_string()),
        ("ROUTES__NATS__ANNOUNCE", "true".to_owned()),
        ("ROUTES__STALE_AFTER", "4s".to_owned()),
    ];
    let app = spawn_app(&settings).await;
    let emitter = server.emitter().await;
    for (name, host) in [("bare", "::1"), ("bracketed", "[::1]")] {
        let mut message = instance(name, good.address.port());
        message["host"] = json!(host);
        let page = eventually(async || {
            publish(&emitter, "router.register", &message).await;
            let page = app.get(&format!("/v1/apps/metrics?route_url={name}.test")).await;
            (page.status == 200).then_some(page)
        })
        .await;
        let label = format!("instance=\"{}\"", good.address);
        assert!(page.text().contains(&label), "{}", page.text());
    }
}

/// Binds the Tsuru app `shop` with the routers `hosts`.
async fn bind_shop(app: &TestApp, hosts: &[String]) {
    let made = "name=of-team&team=team&user=u";
    let made = tsuru_request(app.address, "metrics", "POST", "", made).await.unwrap();
    assert!(made.status < 300, "{}", made.text());
    let hosts = hosts.iter().map(|host| format!("&app-hosts={}", crate::query::encoded(host)));
    let form = format!("app-name=shop&app-pool-name=pool&user=u{}", hosts.collect::<String>());
    let bound = tsuru_request(app.address, "metrics", "POST", "/of-team/bind-app", &form).await;
    let bound = bound.unwrap();
    assert!(bound.status < 300, "{}", bound.text());
}

#[actix_web::test]
async fn ipv6_works_for_the_tsuru_api_and_its_units() {
    let api = TsuruApi::start_on("[::1]:0").await;
    assert!(api.url().starts_with("http://[::1]:"), "{}", api.url());
    let mut fleet = Vec::new();
    for _ in 0..4 {
        fleet.push(on_ipv6("a 1\n").await);
    }
    let mut shop = TsuruApp::new("shop", "team", "pool");
    shop.hosts = vec!["shop.example.test".to_owned()];
    shop.units = (0..4).map(|nth| pod("shop", "web", &format!("unit-{nth}"), "")).collect();
    shop.units[0]["InternalIP"] = json!("::1");
    shop.internal_addresses = vec![internal_address("shop", "web", fleet[0].address.port())];
    shop.units[1]["Address"] = json!({"Scheme": "http", "Host": fleet[1].address.to_string()});
    shop.units[2]["Address"] =
        json!({"Scheme": "http", "Host": without_brackets(fleet[2].address)});
    shop.units[3]["HostAddr"] = json!("::1");
    shop.units[3]["HostPort"] = json!(fleet[3].address.port().to_string());
    api.put(shop);
    let settings =
        [("ROUTES__TSURU__API_URL", api.url()), ("ROUTES__TSURU__TOKEN", TOKEN.to_owned())];
    let app = spawn_app(&settings).await;
    bind_shop(&app, &[]).await;
    let lines = eventually(async || {
        let lines = app.get("/v1/apps/tsuru:shop/metrics").await.lines("a{");
        (lines.len() == 4).then_some(lines)
    })
    .await;
    for instance in &fleet {
        let label = format!("instance=\"{}\"", instance.address);
        assert_eq!(lines.iter().filter(|line| line.contains(&label)).count(), 1, "{lines:?}");
    }
}

#[actix_web::test]
async fn ipv6_hosts_of_tsuru_apps_are_accepted_in_every_notation() {
    let router = on_ipv6("a 1\n").await;
    let port = router.address.port();
    // `::1` without a port means port 80, which may be closed. The host is a route nevertheless.
    for host in [format!("[::1]:{port}"), format!("0:0:0:0:0:0:0:1:{port}"), "::1".to_owned()] {
        let app = spawn_app(&[]).await;
        bind_shop(&app, std::slice::from_ref(&host)).await;
        for requested in ["::1", "[::1]", "http://[::1]:9/", "0:0:0:0:0:0:0:1", "[0::1]:80"] {
            let path = format!("/v1/apps/metrics?route_url={}", crate::query::encoded(requested));
            let page = eventually(async || {
                let page = app.get(&path).await;
                (page.status != 404 && page.status != 503).then_some(page)
            })
            .await;
            if host != "::1" {
                assert_eq!(
                    (page.status, page.lines("a{").len()),
                    (200, 1),
                    "{host} as {requested}"
                );
            }
        }
        assert_eq!(app.get("/v1/apps/metrics?route_url=::2").await.status, 404, "{host}");
    }
    let hosts: Vec<_> = router.requests().iter().map(|seen| seen.headers["host"].clone()).collect();
    assert!(
        !hosts.is_empty() && hosts.iter().all(|it| *it == format!("[::1]:{port}")),
        "{hosts:?}"
    );
}

#[actix_web::test]
async fn a_listener_of_both_protocols_knows_clients_by_their_own_address() {
    let instance = Instance::with_metrics("a 1\n").await;
    let replica = Instance::start(|_| Reply::metrics("up 1\n")).await;
    let routes = RouteFile::of_app([&instance]);
    let pools =
        json!([{"name": "p", "locators": [{"static": [format!("http://{}", replica.address)]}]}]);
    let listen = ":0".to_owned();
    let app = spawn_app(&[
        routes.setting(),
        ("LISTEN", listen.clone()),
        ("HEALTH_LISTEN", listen.clone()),
        ("QUERY__LISTEN", listen.clone()),
        ("QUERY__POOLS", pools.to_string()),
        ("EVENTS__LISTEN", listen),
        // A trusted proxy is recognized by its IPv4 address.
        ("EVENTS__TRUSTED_PROXIES", json!(["127.0.0.1"]).to_string()),
    ])
    .await;
    let at = |host: &str, address: SocketAddr| -> SocketAddr {
        format!("{host}:{}", address.port()).parse().unwrap()
    };
    eventually(async || {
        let url = format!("http://{}/-/ready", at("127.0.0.1", app.health_address.unwrap()));
        (send("GET", &url, &[], None).await.status == 200).then_some(())
    })
    .await;
    for (host, client) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let url = format!("http://{}/v1/apps/app-guid/metrics", at(host, app.address));
        assert_eq!(send("GET", &url, &[], None).await.status, 200, "{host}");
        let seen = instance.requests().last().unwrap().headers["x-forwarded-for"].clone();
        assert_eq!(seen, client);
    }
    // Wrong passwords over IPv4 do not throttle IPv6 clients.
    let wrong = basic(USER, "wrong");
    let login = async |host: &str| {
        let url = format!("http://{}/routes", at(host, app.address));
        send("GET", &url, &[("Authorization", &wrong)], None).await.status
    };
    while login("127.0.0.1").await != 429 {}
    assert_eq!(login("[::1]").await, 401);

    // The scraper of events is known by its address, and the kernel's list of sockets shows that it
    // has read a response.
    let events = app.events_address.unwrap();
    let operator = basic(USER, PASSWORD);
    let scrapers = async || {
        // The IPv4 address is throttled.
        let url = format!("http://{}/v1/events", at("[::1]", app.address));
        send("GET", &url, &[("Authorization", &operator)], None).await.json()
    };
    for (host, headers, name) in [
        ("127.0.0.1", &[][..], "127.0.0.1"),
        ("[::1]", &[], "::1"),
        ("127.0.0.1", &[("X-Forwarded-For", "192.0.2.7")], "192.0.2.7"),
        // It is no trusted proxy.
        ("[::1]", &[("X-Forwarded-For", "192.0.2.8")], "::1"),
    ] {
        let scrape = async || {
            let url = format!("http://{}/metrics", at(host, events));
            send("GET", &url, headers, None).await
        };
        assert_eq!(scrape().await.status, 200);
        let post = format!("http://{}/event?value=7", at(host, events));
        assert_eq!(send("POST", &post, &[], None).await.status, 200);
        eventually(async || {
            assert_eq!(scrape().await.status, 200);
            let all = scrapers().await;
            let all = all["scrapers"].as_array().unwrap();
            let own = all.iter().find(|it| it["name"] == name)?;
            (own["pending"] == 0).then_some(())
        })
        .await;
    }
}
