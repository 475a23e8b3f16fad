//! Queries to an instance with several replicas: a replica that fails, hangs or restarts does not
//! fail a query.

use crate::query::{Fixture, QUERY, server};
use scrapebroker::domain::prometheus::Replica;
use secrecy::ExposeSecret;
use std::{
    process::Command,
    time::{Duration, Instant},
};
use support::{
    Instance, Reply, Response, closed_address, eventually,
    programs::{Process, free_address, start},
};

/// A server that responds with its name.
async fn good(name: &'static str) -> Instance {
    Instance::start(move |_| Reply::Http(200, vec![], name.into())).await
}

fn replicas(servers: &[&Instance]) -> Vec<Replica> {
    let url = |server: &&Instance| format!("http://{}", server.address);
    let urls = servers.iter().map(url);
    urls.enumerate().map(|(number, url)| server(number.try_into().unwrap(), &url)).collect()
}

async fn query(fixture: &Fixture, token: &str) -> Response {
    fixture.get(&format!("/prometheus/own{QUERY}"), token).await
}

pub(crate) fn replica_of(response: &Response) -> &str {
    response.headers.get("x-scrapebroker-replica").map_or("none", String::as_str)
}

#[actix_web::test]
async fn a_query_is_sent_to_the_next_replica_if_the_first_fails() {
    let fixture = Fixture::start().await;
    let cut = b"HTTP/1.1 200 OK\r\nContent-Le".to_vec();
    let cases: [(&str, Reply); 5] = [
        ("bad gateway", Reply::Http(502, vec![], vec![])),
        ("starting", Reply::Http(503, vec![], b"Service Unavailable".to_vec())),
        ("gateway timeout", Reply::Http(504, vec![], vec![])),
        ("closes the connection", Reply::Close),
        ("ends within the head", Reply::Raw(cut)),
    ];
    for (number, (fault, reply)) in cases.into_iter().enumerate() {
        let bad = Instance::start(move |_| reply.clone()).await;
        let second = good("second").await;
        let id = format!("own{number}");
        let token = fixture.instance(&id, &replicas(&[&bad, &second])).await;
        let path = format!("/prometheus/{id}{QUERY}");
        let response = fixture.get(&path, &token).await;
        assert_eq!((response.status, &*response.text()), (200, "second"), "{fault}");
        assert_eq!(replica_of(&response), "1", "{fault}");
        assert_eq!((bad.requests().len(), second.requests().len()), (1, 1), "{fault}");

        // A form is sent again as well.
        let headers = [
            ("Authorization", &*support::basic("x", &token)),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let url = fixture.app.url(&format!("/prometheus/{id}/api/v1/query"));
        let response = support::send("POST", &url, &headers, Some("query=up".to_owned())).await;
        assert_eq!((response.status, &*response.text()), (200, "second"), "{fault}");
        assert!(second.requests()[1].line.starts_with("POST "), "{fault}");
    }
}

#[actix_web::test]
async fn client_errors_and_the_last_response_are_returned_unchanged() {
    let fixture = Fixture::start().await;
    let invalid = Instance::start(|_| Reply::Http(400, vec![], b"parse error".to_vec())).await;
    let second = good("second").await;
    let token = fixture.instance("own", &replicas(&[&invalid, &second])).await;
    let response = query(&fixture, &token).await;
    assert_eq!((response.status, &*response.text()), (400, "parse error"));
    assert_eq!(second.requests().len(), 0, "the second replica would say the same");

    let starting = Instance::start(|_| Reply::Http(503, vec![], b"starting".to_vec())).await;
    let other = Instance::start(|_| Reply::Http(503, vec![], b"overloaded".to_vec())).await;
    let token = fixture.instance("busy", &replicas(&[&starting, &other])).await;
    let response = fixture.get(&format!("/prometheus/busy{QUERY}"), &token).await;
    assert_eq!((response.status, &*response.text()), (503, "overloaded"));

    // A replica that failed repeatedly may have hung, so it is not waited for if there is a response.
    let starting = Instance::start(|_| Reply::Http(503, vec![], b"starting".to_vec())).await;
    let closing = Instance::start(|_| Reply::Close).await;
    let token = fixture.instance("failed", &replicas(&[&starting, &closing])).await;
    let path = format!("/prometheus/failed{QUERY}");
    for _ in 0..3 {
        assert_eq!(fixture.get(&path, &token).await.status, 502, "the second one is tried");
    }
    let response = fixture.get(&path, &token).await;
    let was_probed = closing.requests().len() > 3;
    assert!(was_probed || (response.status, &*response.text()) == (503, "starting"));

    // It is tried again, because it may have restarted.
    let is_up = std::rc::Rc::new(std::cell::Cell::new(false));
    let state = std::rc::Rc::clone(&is_up);
    let restarted = Instance::start(move |_| match state.get() {
        true => Reply::Http(200, vec![], b"restarted".to_vec()),
        false => Reply::Close,
    })
    .await;
    let stopping = Instance::start(|_| Reply::Http(503, vec![], b"stopping".to_vec())).await;
    let token = fixture.instance("rolling", &replicas(&[&stopping, &restarted])).await;
    let path = format!("/prometheus/rolling{QUERY}");
    for _ in 0..4 {
        assert!([502, 503].contains(&fixture.get(&path, &token).await.status));
    }
    is_up.set(true);
    assert_eq!(fixture.get(&path, &token).await.text(), "restarted");

    // A hung one delays the response by a second at most.
    let is_hung = std::rc::Rc::new(std::cell::Cell::new(false));
    let state = std::rc::Rc::clone(&is_hung);
    let hung = Instance::start(move |_| if state.get() { Reply::Hang } else { Reply::Close }).await;
    let token = fixture.instance("hung", &replicas(&[&stopping, &hung])).await;
    let path = format!("/prometheus/hung{QUERY}");
    for _ in 0..4 {
        assert!([502, 503].contains(&fixture.get(&path, &token).await.status));
    }
    is_hung.set(true);
    let response = fixture.get(&path, &token).await;
    assert_eq!((response.status, &*response.text()), (503, "stopping"));

    // Prometheus responds like this to a query that is too expensive for its timeout.
    let timed_out = Reply::Http(503, vec![], b"query timed out".to_vec());
    let late = Reply::Late(Duration::from_millis(3200), Box::new(timed_out));
    let expensive = Instance::start(move |_| late.clone()).await;
    let hung = Instance::start(|_| Reply::Hang).await;
    let token = fixture.instance("expensive", &replicas(&[&expensive, &hung])).await;
    let response = fixture.get(&format!("/prometheus/expensive{QUERY}&timeout=1s"), &token).await;
    assert_eq!((response.status, &*response.text()), (503, "query timed out"));
}

#[actix_web::test]
async fn a_replica_that_fails_repeatedly_gets_no_queries_until_it_recovers() {
    let fixture = Fixture::start().await;
    let is_down = std::rc::Rc::new(std::cell::Cell::new(true));
    let state = std::rc::Rc::clone(&is_down);
    let first = Instance::start(move |_| match state.get() {
        true => Reply::Http(503, vec![], vec![]),
        false => Reply::Http(200, vec![], b"first".to_vec()),
    })
    .await;
    let second = good("second").await;
    let token = fixture.instance("own", &replicas(&[&first, &second])).await;
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(query(&fixture, &token).await.text(), "second");
    }
    is_down.set(false);
    // Three failures open the breaker. On a slow machine there was time for a probe.
    let failures = first.requests().len();
    let probes = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((3..=3 + probes).contains(&failures), "{failures} in {:?}", began.elapsed());
    eventually(async || (query(&fixture, &token).await.text() == "first").then_some(())).await;
    let own = fixture.app.get("/metrics").await;
    for line in [
        format!("scrapebroker_query_retries_total{{reason=\"status\"}} {failures}"),
        "scrapebroker_query_breakers_opened_total 1".to_owned(),
    ] {
        assert_eq!(own.lines(&line), [line], "{}", own.text());
    }

    // A breaker never makes a query fail: the only replica is queried even if it has failed.
    let broken = Instance::start(|_| Reply::Http(503, vec![], b"busy".to_vec())).await;
    let token = fixture.instance("single", &replicas(&[&broken])).await;
    for _ in 0..5 {
        let response = fixture.get(&format!("/prometheus/single{QUERY}"), &token).await;
        assert_eq!((response.status, &*response.text()), (503, "busy"));
    }
}

#[actix_web::test]
async fn a_slow_query_is_also_sent_to_another_replica_and_the_slower_one_is_canceled() {
    let fixture = Fixture::start().await;
    let hung = Instance::start(|_| Reply::Hang).await;
    let second = good("second").await;
    let token = fixture.instance("own", &replicas(&[&hung, &second])).await;
    // Faster than the timeout of the query, which is two minutes.
    let response = query(&fixture, &token).await;
    assert_eq!((response.status, replica_of(&response)), (200, "1"));
    eventually(async || (hung.open_connections() == 0).then_some(())).await;
    for _ in 0..10 {
        assert_eq!(query(&fixture, &token).await.status, 200);
    }
    assert!(hung.requests().len() < 11, "its breaker was open for some of the 11 queries");
    let own = fixture.app.get("/metrics").await;
    let won = own.lines("scrapebroker_query_hedges_total{outcome=\"won\"} ");
    assert!(won.len() == 1 && !won[0].ends_with(" 0"), "{won:?}");

    // The first response wins even if it is from the replica that was queried first.
    let late = Reply::Late(Duration::from_millis(1500), Box::new(Reply::metrics("late")));
    let slow = Instance::start(move |_| late.clone()).await;
    let token = fixture.instance("slow", &replicas(&[&slow, &hung])).await;
    let response = fixture.get(&format!("/prometheus/slow{QUERY}"), &token).await;
    assert_eq!((response.status, replica_of(&response)), (200, "0"));
    eventually(async || (hung.open_connections() == 0).then_some(())).await;
}

#[actix_web::test]
async fn a_closed_port_and_a_hung_server_together_do_not_fail_a_query() {
    let fixture = Fixture::start().await;
    let (hung, third) = (Instance::start(|_| Reply::Hang).await, good("third").await);
    let closed = server(0, &format!("http://{}", closed_address()));
    let url = |instance: &Instance| format!("http://{}", instance.address);
    let servers = [closed, server(1, &url(&hung)), server(2, &url(&third))];
    let token = fixture.instance("own", &servers).await;
    let response = query(&fixture, &token).await;
    assert_eq!((response.status, &*response.text()), (200, "third"));
}

/// A real Prometheus that scrapes itself.
pub(crate) struct RealPrometheus {
    pub(crate) url: String,
    process: Process,
    _folder: tempfile::TempDir,
}

impl RealPrometheus {
    pub(crate) fn start(password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let address = free_address();
        let config = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: own, basic_auth: {{username: scrapebroker, password: \"{password}\"}}, \
             static_configs: [{{targets: ['{address}']}}]}}]\n"
        );
        std::fs::write(path("prometheus.yml"), config).unwrap();
        let hash = bcrypt::hash(password, 4).unwrap();
        let web = format!("basic_auth_users: {{scrapebroker: \"{hash}\"}}\n");
        std::fs::write(path("web.yml"), web).unwrap();
        let arguments = [
            format!("--config.file={}", path("prometheus.yml")),
            format!("--web.config.file={}", path("web.yml")),
            format!("--storage.tsdb.path={}", path("data")),
            format!("--web.listen-address={address}"),
        ];
        let process = start("prometheus", &arguments);
        Self { url: format!("http://{address}"), process, _folder: folder }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

#[actix_web::test]
async fn queries_succeed_while_real_replicas_are_suspended_and_killed() {
    let fixture = Fixture::start().await;
    let password = fixture.web_password("own").expose_secret().to_owned();
    let servers = [RealPrometheus::start(&password), RealPrometheus::start(&password)];
    let ready = [server(0, &servers[0].url), server(1, &servers[1].url)];
    let token = fixture.instance("own", &ready).await;
    let up = async || {
        let response = query(&fixture, &token).await;
        let json = (response.status == 200).then(|| response.json());
        json.filter(|json| json["data"]["result"].as_array().is_some_and(|it| !it.is_empty()))
    };
    eventually(async || up().await).await;

    // Suspended: it accepts connections and never responds.
    servers[0].signal("-STOP");
    let began = Instant::now();
    for number in 0..200 {
        let response = query(&fixture, &token).await;
        assert_eq!(response.status, 200, "query {number}: {}", response.text());
    }
    println!("200 queries while a replica is suspended: {:?}", began.elapsed());
    servers[0].signal("-CONT");
    eventually(async || {
        let response = query(&fixture, &token).await;
        (response.status == 200 && replica_of(&response) == "0").then_some(())
    })
    .await;

    servers[0].signal("-KILL");
    for number in 0..200 {
        let response = query(&fixture, &token).await;
        assert_eq!((response.status, replica_of(&response)), (200, "1"), "query {number}");
    }
}
