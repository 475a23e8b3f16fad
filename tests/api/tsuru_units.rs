//! Scrapes of Tsuru apps, whose units come from the platform API.

use crate::{
    start::{Server, field, program},
    test_app::*,
    tsuru_binding::tsuru_request,
};
use scrapebroker::{
    discovery::{Discovery, Limits, Settings, TsuruUnits},
    domain::TsuruApp as Bound,
    tls::{ClientSettings, Pem, PemSource},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use support::{
    Instance, ReceivedRequest, Reply, Response, RouteFile, UNKNOWN_HOST, basic,
    certificates::Authority,
    endpoint, eventually, send,
    tsuru::{Fault, TOKEN, TsuruApi, TsuruApp, container, internal_address, pod},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

async fn api_request(api: &TsuruApi, method: &str, path: &str, body: &str) -> Response {
    let authorization = format!("bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str()), FORM];
    send(method, &format!("{}/1.0{path}", api.url()), &headers, Some(body.to_owned())).await
}

#[actix_web::test]
async fn the_fake_responds_like_the_tsuru_api() {
    let mut api = TsuruApi::start().await;
    let create = "name=prom-x&platform=&pool=pool-a&teamOwner=checkout&plan=c1m1&tags.0=a%3Ab";
    assert_eq!(send("GET", &format!("{}/1.0/apps/x", api.url()), &[], None).await.status, 401);
    assert_eq!(api_request(&api, "GET", "/apps/prom-x", "").await.status, 404);
    let made = api_request(&api, "POST", "/apps", create).await;
    assert_eq!((made.status, made.json()["status"].as_str()), (201, Some("success")));
    assert_eq!(api_request(&api, "POST", "/apps", create).await.status, 409);
    assert_eq!(api_request(&api, "POST", "/apps", "name=Bad").await.status, 400);
    api.quota(1);
    assert_eq!(api_request(&api, "POST", "/apps", "name=more").await.status, 403);

    let env = "Envs.0.Name=A&Envs.0.Value=b%20c&Envs.0.Private=true&NoRestart=true";
    let set = api_request(&api, "POST", "/apps/prom-x/env", env).await;
    assert_eq!(set.headers["content-type"], "application/x-json-stream");
    let app = api.app("prom-x").unwrap();
    assert_eq!((app.environment["A"].value.as_str(), app.restarts), ("b c", 0));
    assert_eq!((app.tags, app.team_owner.as_str()), (vec!["a:b".to_owned()], "checkout"));
    let protected = "Envs.0.Name=TSURU_APPNAME&Envs.0.Value=x";
    assert_eq!(api_request(&api, "POST", "/apps/prom-x/env", protected).await.status, 400);

    let deploy = "image=prom%2Fprometheus%3Av2&origin=image";
    api.fault(Fault::InStream("no such image".to_owned()));
    let failed = api_request(&api, "POST", "/apps/prom-x/deploy", deploy).await;
    assert!(failed.status == 200 && !failed.text().trim_end().ends_with("OK"));
    let failed = api_request(&api, "POST", "/apps/prom-x/env", env).await;
    assert!(failed.status == 200 && failed.text().contains(r#""Error":"no such image""#));
    api.fault(Fault::Status(500));
    assert_eq!(api_request(&api, "GET", "/apps/prom-x", "").await.status, 500);
    api.fault(Fault::None);
    let deployed = api_request(&api, "POST", "/apps/prom-x/deploy", deploy).await;
    assert!(deployed.text().ends_with("OK\n") && deployed.headers.contains_key("x-tsuru-eventid"));
    assert_eq!(api_request(&api, "POST", "/apps/prom-x/deploy", "origin=image").await.status, 400);
    assert_eq!(
        api_request(&api, "PUT", "/apps/prom-x/units", "units=3&process=web").await.status,
        200
    );
    let info = api_request(&api, "GET", "/apps/prom-x", "").await.json();
    assert_eq!(info["units"].as_array().map(Vec::len), Some(4));

    api.down().await;
    assert!(tokio::net::TcpStream::connect(api.address).await.is_err());
    api.up();
    assert_eq!(api_request(&api, "DELETE", "/apps/prom-x", "").await.status, 200);
    assert!(api.apps().is_empty());
    api.put(TsuruApp { is_forbidden: true, ..TsuruApp::new("theirs", "other", "pool-a") });
    assert_eq!(api_request(&api, "GET", "/apps/theirs", "").await.status, 403);
}

/// The app `shop` with units at these addresses, on the port that the API reports.
fn shop(instances: &[Instance]) -> TsuruApp {
    let mut app = TsuruApp::new("shop", "checkout", "pool-a");
    app.hosts = vec!["shop.tsuru.example.test".to_owned()];
    app.units = (instances.iter().enumerate())
        .map(|(nth, it)| {
            pod("shop", "web", &format!("shop-web-{nth}"), &it.address.ip().to_string())
        })
        .collect();
    let port = instances.first().map_or(8888, |instance| instance.address.port());
    app.internal_addresses = vec![internal_address("shop", "web", port)];
    app
}

/// Starts instances on different addresses with the same port.
async fn instances(count: u8) -> Vec<Instance> {
    let metrics =
        |nth: u8| move |_: &ReceivedRequest| Reply::Metrics(format!("orders_total {nth}\n"));
    let mut instances = Vec::new();
    let mut port = 0;
    for nth in 0..count {
        let instance =
            Instance::start_on(&format!("127.31.0.{}:{port}", nth + 1), metrics(nth)).await;
        port = instance.address.port();
        instances.push(instance);
    }
    instances
}

fn bound(name: &str, hosts: &[String]) -> Bound {
    Bound {
        name: name.to_owned(),
        team: "checkout".to_owned(),
        pool: "pool-a".to_owned(),
        hosts: hosts.to_vec(),
    }
}

impl TestApp {
    /// Binds apps like Tsuru, to one instance of the service `metrics` per team.
    async fn bind_tsuru(&self, apps: &[Bound]) {
        for Bound { name, team, pool, hosts } in apps {
            let made = format!("name=of-{team}&team={team}&user=u");
            let made = tsuru_request(self.address, "metrics", "POST", "", &made).await.unwrap();
            assert!(made.status < 300, "{}", made.text());
            let mut form = format!("app-name={name}&app-pool-name={pool}&user=u");
            for host in hosts {
                let host: String = host.bytes().map(|byte| format!("%{byte:02X}")).collect();
                form.push_str(&format!("&app-hosts={host}"));
            }
            let path = format!("/of-{team}/bind-app");
            let bound = tsuru_request(self.address, "metrics", "POST", &path, &form).await.unwrap();
            assert!(bound.status < 300, "{}", bound.text());
        }
    }

    async fn unbind_tsuru(&self, Bound { name, team, .. }: &Bound) {
        let (path, form) = (format!("/of-{team}/bind-app"), format!("app-name={name}&user=u"));
        let gone = tsuru_request(self.address, "metrics", "DELETE", &path, &form).await.unwrap();
        assert_eq!(gone.status, 200, "{}", gone.text());
    }
}

/// Starts the program with the API as the only route source.
async fn spawn_with(api: &TsuruApi, settings: &[(&str, String)]) -> TestApp {
    let mut all =
        vec![("ROUTES__TSURU__API_URL", api.url()), ("ROUTES__TSURU__TOKEN", TOKEN.to_owned())];
    all.extend(settings.iter().cloned());
    spawn_app(&all).await
}

/// Waits until the app has `count` samples and returns them.
async fn samples(app: &TestApp, key: &str, count: usize) -> Vec<String> {
    let path = format!("/v1/apps/{key}/metrics");
    eventually(async || {
        let answer = app.get(&path).await;
        let lines = answer.lines("orders_total{");
        (answer.status == 200 && lines.len() == count).then_some(lines)
    })
    .await
}

/// Waits until the status page shows the expected problem.
async fn problem(app: &TestApp, expected: &str) {
    eventually(async || app.status_page().await.text().contains(expected).then_some(())).await;
}

#[actix_web::test]
async fn a_bound_app_is_scraped_unit_by_unit_while_it_scales() {
    let (api, units) = (TsuruApi::start().await, instances(4).await);
    api.put(shop(&units[..2]));
    let app = spawn_with(&api, &[]).await;
    assert_eq!(app.get("/v1/apps/tsuru:shop/metrics").await.status, 404, "the app is not bound");
    assert!(api.requests().is_empty(), "no app is requested from the API");
    app.bind_tsuru(&[bound("shop", &[])]).await;
    let lines = samples(&app, "tsuru:shop", 2).await;
    let port = units[0].address.port();
    let labels = format!(
        "orders_total{{organization_id=\"tsuru:checkout\",space_id=\"tsuru:checkout/pool-a\",app_id=\"tsuru:shop\",\
         organization_name=\"checkout\",space_name=\"pool-a\",app_name=\"shop\",\
         index=\"0\",instance_id=\"0\",instance=\"127.31.0.1:{port}\"}} 0"
    );
    assert_eq!(lines[0], labels);
    assert_eq!(units[0].requests()[0].headers["host"], "shop.tsuru.example.test");
    for key in ["checkout/pool-a/shop", "shop.tsuru.example.test", "tsuru%3Ashop"] {
        samples(&app, key, 2).await;
    }
    let answer = app.get("/v1/apps/metrics?route_url=https://shop.tsuru.example.test/").await;
    assert_eq!(answer.lines("orders_total{").len(), 2);
    let info = answer.lines("scrapebroker_instance_info{");
    assert!(info[0].contains("process_instance_id=\"shop-web-0\""), "{info:?}");
    assert!(!info[0].contains("by="), "{info:?}");

    api.put(shop(&units));
    let lines = samples(&app, "tsuru:shop", 4).await;
    assert!(lines[3].contains("index=\"3\"") && lines[3].ends_with("} 3"), "{lines:?}");
    // One unit is in the state `error`, one is not ready, and one belongs to a process without a
    // port.
    api.change("shop", |app| {
        app.units[1]["Status"] = json!("error");
        app.units[2]["Ready"] = json!(false);
        app.units.push(pod("shop", "worker", "shop-worker-0", "127.31.0.1"));
    });
    let lines = samples(&app, "tsuru:shop", 2).await;
    assert!(lines[1].contains("index=\"3\""), "each unit keeps its index: {lines:?}");
    app.unbind_tsuru(&bound("shop", &[])).await;
    let path = "/v1/apps/tsuru:shop/metrics";
    eventually(async || (app.get(path).await.status == 404).then_some(())).await;
}

#[actix_web::test]
async fn units_are_kept_while_the_api_is_unavailable() {
    let (mut api, units) = (TsuruApi::start().await, instances(2).await);
    api.put(shop(&units));
    let app = spawn_with(&api, &[]).await;
    app.bind_tsuru(&[bound("shop", &[])]).await;
    samples(&app, "tsuru:shop", 2).await;
    let error = "unable to list app units: dial tcp: i/o timeout";
    let without_units = json!({"name": "shop", "units": null, "error": error});
    let without_ports = json!({"name": "shop", "units": [pod("shop", "web", "u", "127.31.0.1")]});
    let faults = [
        (Fault::Status(500), "responded with status 500"),
        (Fault::Status(401), "does not accept the token (status 401)"),
        (Fault::Body(b"<html>".to_vec()), "is not valid JSON"),
        (Fault::Body(b"{\"name\":\"other\"}".to_vec()), "does not describe the app"),
        (Fault::Body(b"{\"error\":\"oops\"}".to_vec()), "does not describe the app"),
        (
            Fault::Body(without_units.to_string().into_bytes()),
            "reports that Tsuru cannot list the app",
        ),
        (Fault::Body(without_ports.to_string().into_bytes()), "names no address of any unit"),
    ];
    for (fault, expected) in faults {
        api.fault(fault);
        problem(&app, expected).await;
        samples(&app, "tsuru:shop", 2).await;
    }
    let request_count = api.requests().len();
    api.fault(Fault::Slow(Duration::from_secs(3600)));
    eventually(async || (api.requests().len() > request_count).then_some(())).await;
    samples(&app, "tsuru:shop", 2).await;
    api.fault(Fault::None);
    api.down().await;
    problem(&app, "cannot be reached").await;
    samples(&app, "tsuru:shop", 2).await;
    let page = app.status_page().await.text();
    assert!(page.contains(&format!("tsuru {}", api.address)) && !page.contains(TOKEN), "{page}");

    // The API is available again. A failure for one app does not affect the others.
    api.up();
    api.put(shop(&units[..1]));
    samples(&app, "tsuru:shop", 1).await;
    api.put(TsuruApp { is_forbidden: true, ..TsuruApp::new("theirs", "other", "pool-a") });
    api.fault_of("slow", Fault::Slow(Duration::from_secs(3600)));
    app.bind_tsuru(&[bound("shop", &[]), bound("slow", &[]), bound("theirs", &[])]).await;
    api.put(shop(&units));
    samples(&app, "tsuru:shop", 2).await;
    // A 404 means that the app was deleted.
    api.remove("shop");
    let path = "/v1/apps/tsuru:shop/metrics";
    eventually(async || (app.get(path).await.status == 404).then_some(())).await;
}

#[actix_web::test]
async fn an_app_that_the_api_fails_to_return_is_dropped_when_it_is_stale() {
    let (api, units) = (TsuruApi::start().await, instances(2).await);
    api.put(shop(&units));
    api.put(TsuruApp::new("other", "checkout", "pool-a"));
    let app = spawn_with(&api, &[("ROUTES__STALE_AFTER", "2s".to_owned())]).await;
    app.bind_tsuru(&[bound("shop", &[]), bound("other", &[])]).await;
    samples(&app, "tsuru:shop", 2).await;
    api.fault_of("shop", Fault::Status(500));
    let path = "/v1/apps/tsuru:shop/metrics";
    eventually(async || (app.get(path).await.status == 404).then_some(())).await;
    api.fault_of("shop", Fault::None);
    samples(&app, "tsuru:shop", 2).await;
}

#[actix_web::test]
async fn apps_with_the_same_name_in_other_organizations_are_separate() {
    let (api, units) = (TsuruApi::start().await, instances(3).await);
    api.put(shop(&units[..1]));
    // Two apps of Cloud Foundry have the same name and are in other organizations. Their space has
    // the name of the pool.
    let foreign = |organization: &str, guid: &str, address| {
        let mut endpoint = endpoint("shop", 0, address);
        endpoint["tags"]["organization_name"] = json!(organization);
        endpoint["tags"]["space_name"] = json!("pool-a");
        endpoint["tags"]["app_id"] = json!(guid);
        json!([endpoint])
    };
    let file = RouteFile::new(&json!({
        "shop.other.example": foreign("other", "guid-1", units[1].address),
        "shop.checkout.example": foreign("payment", "guid-2", units[2].address),
    }));
    let app = spawn_with(&api, &[file.setting()]).await;
    app.bind_tsuru(&[bound("shop", &[])]).await;
    for (key, value) in [
        ("tsuru:shop", "} 0"),
        ("checkout/pool-a/shop", "} 0"),
        ("other/pool-a/shop", "} 1"),
        ("payment/pool-a/shop", "} 2"),
        ("guid-1", "} 1"),
    ] {
        let lines = samples(&app, key, 1).await;
        assert!(lines[0].ends_with(value), "{key}: {lines:?}");
    }
    // The team comes from the platform and not from the binding.
    let stale = Bound { team: "other".to_owned(), ..bound("shop", &[]) };
    app.bind_tsuru(&[stale]).await;
    let lines = samples(&app, "tsuru:shop", 1).await;
    assert!(lines[0].contains("organization_name=\"checkout\""), "{lines:?}");
}

#[actix_web::test]
async fn an_app_without_a_host_is_found_by_its_other_keys() {
    let (api, units) = (TsuruApi::start().await, instances(2).await);
    api.put(TsuruApp { hosts: Vec::new(), ..shop(&units) });
    let app = spawn_with(&api, &[]).await;
    app.bind_tsuru(&[bound("shop", &[])]).await;
    for key in ["tsuru:shop", "checkout/pool-a/shop"] {
        samples(&app, key, 2).await;
    }
    let seen = units[1].requests();
    assert_eq!(seen[0].headers["host"], units[1].address.to_string());
    let routes = app.get_with("/routes", &[("Authorization", &basic(USER, PASSWORD))]).await.json();
    assert_eq!(routes["tsuru:shop"].as_array().map(Vec::len), Some(2), "{routes}");
}

#[actix_web::test]
async fn without_a_token_an_app_is_scraped_through_its_hosts() {
    let units = instances(2).await;
    let authority = Authority::new("routers");
    let secured = Instance::start_secured(
        "127.0.0.1:0",
        Some(authority.issue("localhost").acceptor(None)),
        |_| Reply::metrics("orders_total 9\n"),
    );
    let secured = secured.await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let settings = [("BACKENDS__CA_FILE", ca.display().to_string())];
    let app = spawn_app(&settings).await;
    let page = app.status_page().await.text();
    assert!(!page.contains("hosts of"), "there is no source for hosts: {page}");
    let hosts =
        [units[0].address.to_string(), format!("tcp://{}", units[1].address), "a b".to_owned()];
    // Several apps are behind one router.
    let local = Instance::with_metrics("orders_total 5\n").await;
    let (one, two) = ([format!("localhost:{}", local.address.port())], [local.address.to_string()]);
    app.bind_tsuru(&[bound("shop", &hosts), bound("one", &one), bound("two", &two)]).await;
    let lines = samples(&app, "tsuru:shop", 2).await;
    assert!(lines[1].contains("index=\"1\""), "{lines:?}");
    for key in ["tsuru:one", "checkout/pool-a/two"] {
        let lines = samples(&app, key, 1).await;
        assert!(lines[0].ends_with("} 5"), "{key}: {lines:?}");
    }
    let hosts: Vec<_> = local.requests().iter().map(|seen| seen.headers["host"].clone()).collect();
    assert_eq!(hosts, [one[0].as_str(), &two[0]]);
    let answer = app.get("/v1/apps/tsuru:shop/metrics").await;
    let info = answer.lines("scrapebroker_instance_info{");
    let is_marked =
        |line: &String| line.contains("process_instance_id=\"\"") && line.contains("by=\"host\"");
    assert!(info.len() == 2 && info.iter().all(is_marked), "{info:?}");
    let described = app.get("/v1/apps/tsuru:shop").await.json();
    assert_eq!(described["apps"][0]["instances"][0]["by"], "host", "{described}");
    assert!(app.status_page().await.text().contains("hosts of tsuru apps"));

    let https = format!("https://localhost:{}", secured.address.port());
    app.bind_tsuru(&[bound("shop", &[https]), bound("none", &[UNKNOWN_HOST.to_owned()])]).await;
    let lines = samples(&app, "tsuru:shop", 1).await;
    assert!(lines[0].ends_with("} 9"), "{lines:?}");
    assert_eq!(app.get("/v1/apps/tsuru:none/metrics").await.status, 404);
}

/// Starts a discovery with the API as the only route source.
fn discover(
    api: scrapebroker::tsuru::TsuruApi,
    apps: watch::Receiver<Arc<[Bound]>>,
    limits: Limits,
    shutdown: &CancellationToken,
) -> Discovery {
    let settings = Settings {
        stale_after: Duration::from_secs(7200),
        keep: Duration::from_secs(7200),
        refresh_interval: Duration::from_secs(3600),
        limits,
    };
    Discovery::start(settings, vec![Box::new(TsuruUnits { api, apps })], shutdown)
}

#[actix_web::test]
async fn slow_and_oversized_api_responses_are_aborted() {
    let api = TsuruApi::start().await;
    let limits = Limits { timeout: Duration::from_millis(500), body_bytes: 1000 };
    let faults = [
        (Fault::Slow(Duration::from_secs(3600)), "did not respond within 0.5 s"),
        (Fault::Body(vec![b' '; 1001]), "responded with more than 1000 bytes"),
    ];
    for (fault, expected) in faults {
        api.fault(fault);
        let (_bound, apps) = watch::channel(Arc::from([bound("shop", &[])]));
        let url = api.url().parse().unwrap();
        let api_client =
            scrapebroker::tsuru::TsuruApi::new(url, TOKEN.into(), &ClientSettings::default());
        let shutdown = CancellationToken::new();
        let discovery = discover(api_client.unwrap(), apps, limits, &shutdown);
        let failure = eventually(async || {
            discovery.table.snapshot().sources().next().and_then(|it| it.failure.clone())
        });
        assert_eq!(&*failure.await, expected);
        shutdown.cancel();
        discovery.stopped().await;
    }
}

#[actix_web::test]
async fn the_certificate_of_the_api_is_verified() {
    let authority = Authority::new("platform");
    let unit = instances(1).await;
    let info = json!({
        "name": "shop", "teamowner": "checkout", "pool": "pool-a", "internalAddresses": [],
        "units": [container("shop", "web", "shop-0", unit[0].address)],
    });
    let acceptor = authority.issue("localhost").acceptor(None);
    let api = Instance::start_secured("127.0.0.1:0", Some(acceptor), move |_| {
        Reply::Http(200, Vec::new(), info.to_string().into_bytes())
    });
    let api = api.await;
    let url = format!("https://localhost:{}/", api.address.port());
    let pem = Pem { key: "ca".to_owned(), source: PemSource::Inline(authority.pem.clone().into()) };
    for (ca, is_trusted) in [(Some(pem), true), (None, false)] {
        let tls = ClientSettings { ca, ..ClientSettings::default() };
        let (_bound, apps) = watch::channel(Arc::from([bound("shop", &[])]));
        let api =
            scrapebroker::tsuru::TsuruApi::new(url.parse().unwrap(), TOKEN.into(), &tls).unwrap();
        let shutdown = CancellationToken::new();
        let discovery = discover(api, apps, Limits::default(), &shutdown);
        let (found, failure) = eventually(async || {
            let table = discovery.table.snapshot();
            let source = table.sources().next().cloned()?;
            let is_done = source.last_answer.is_some() || source.failure.is_some();
            is_done.then(|| (table.contains_app("tsuru:shop"), source.failure))
        })
        .await;
        assert_eq!(found, is_trusted, "{failure:?}");
        shutdown.cancel();
        discovery.stopped().await;
    }
    let seen = api.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "GET /1.0/apps/shop HTTP/1.1");
    assert_eq!(seen[0].headers["authorization"], format!("bearer {TOKEN}"));
}

#[actix_web::test]
async fn dropped_units_and_hosts_are_logged_with_a_reason() {
    let api = TsuruApi::start().await;
    let mut app = shop(&instances(1).await);
    app.units.push(pod("shop", "worker", "shop-worker-0", "127.31.0.9"));
    app.units.push(pod("shop", "web", "shop-web-8", "127.31.0.1"));
    app.units.push(pod("shop", "web", "shop-web-9", "pod.local"));
    app.hosts.push("shop example".to_owned());
    api.put(app);
    let with_api = [("SCRAPEBROKER__ROUTES__TSURU__API_URL", &*api.url())];
    let token = [("SCRAPEBROKER__ROUTES__TSURU__TOKEN", TOKEN)];
    let hosts = ["ftp://shop.example.test", UNKNOWN_HOST, "127.31.0.1:9"].map(str::to_owned);
    for (settings, source, expected) in [
        (
            [with_api, token].concat(),
            format!("tsuru {}", api.address),
            [
                ("unit=shop-web-8", "another unit has the address 127.31.0.1:"),
                ("unit=shop-web-9", "\"pod.local\" is not an IP address with a port"),
                ("unit=shop-worker-0", "Tsuru names no TCP port of process worker"),
                ("route=shop example", "it is not a host, host:port or URL"),
            ]
            .as_slice(),
        ),
        (
            Vec::new(),
            "hosts of tsuru apps".to_owned(),
            [
                ("route=ftp://shop.example.test", "it is not a host, host:port or URL"),
                ("route=-no-such-host.invalid", "the host cannot be resolved: "),
            ]
            .as_slice(),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(program(), folder.path(), &settings);
        let lines = server.lines_until("listening ");
        let address = field(lines.last().unwrap(), "address").parse().unwrap();
        let made = "name=of-checkout&team=checkout&user=u";
        let made = tsuru_request(address, "metrics", "POST", "", made).await.unwrap();
        assert!(made.status < 300, "{}", made.text());
        let hosts: String = hosts.iter().map(|host| format!("&app-hosts={host}")).collect();
        let form = format!("app-name=shop&app-pool-name=pool-a&user=u{hosts}");
        let bound = tsuru_request(address, "metrics", "POST", "/of-checkout/bind-app", &form).await;
        assert!(bound.unwrap().status < 300);
        let mut dropped = Vec::new();
        while dropped.len() < expected.len() {
            dropped.extend(server.lines_until("endpoint dropped").pop());
        }
        for (what, reason) in expected {
            let found = dropped.iter().filter(|line| line.contains(what) && line.contains(reason));
            assert_eq!(found.count(), 1, "{what}: {reason} in {dropped:#?}");
        }
        for line in dropped {
            assert!(line.contains(&source) && line.contains(" app=shop "), "{line}");
        }
    }
}
