//! Connections to instances: reuse, idle timeout, retry after a stale connection, and cancellation
//! when the scraper disconnects.

use crate::test_app::*;
use std::time::Duration;
use support::*;
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[actix_web::test]
async fn connections_are_reused_across_scrapes() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    for _ in 0..20 {
        assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 200);
    }
    let reused = instance.requests().iter().filter(|seen| seen.nth > 1).count();
    // Each worker has its own connection.
    let workers = std::thread::available_parallelism().unwrap().get();
    assert!(reused >= 20 - workers, "{reused} of 20");
}

#[actix_web::test]
async fn failed_scrapes_leave_no_connections() {
    let replies = [
        Reply::Http(404, vec![], vec![b'x'; 100_000]),
        Reply::Http(500, vec![], b"no\n".to_vec()),
        Reply::Http(302, vec![("Location", "http://elsewhere.example.com/".to_owned())], vec![]),
        Reply::metrics("no exposition"),
    ];
    let mut instances = Vec::new();
    for reply in replies {
        instances.push(Instance::start(move |_| reply.clone()).await);
    }
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting(), ("BACKENDS__IDLE_TIMEOUT", "300ms".to_owned())]).await;
    for _ in 0..20 {
        assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 502);
    }
    assert!(instances.iter().all(|instance| instance.requests().len() == 20));
    // The instances never close a connection themselves.
    eventually(async || instances.iter().all(|one| one.open_connections() == 0).then_some(()))
        .await;
}

#[actix_web::test]
async fn instances_with_the_same_host_are_scraped_separately() {
    let mut instances = Vec::new();
    for n in 0..5 {
        instances.push(Instance::with_metrics(&format!("a {n}\n")).await);
    }
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    for _ in 0..3 {
        let lines = app.get("/v1/apps/app-guid/metrics").await.lines("a{");
        for (n, line) in lines.iter().enumerate() {
            assert!(line.ends_with(&format!(" {n}")), "{line}");
        }
    }
}

#[actix_web::test]
async fn idle_connections_are_closed_while_instances_change() {
    let routes = RouteFile::of_addresses([]);
    let app = spawn_app(&[routes.setting(), ("BACKENDS__IDLE_TIMEOUT", "300ms".to_owned())]).await;
    let mut gone = Vec::new();
    for round in 0..5 {
        let mut instances = Vec::new();
        for _ in 0..10 {
            instances.push(Instance::with_metrics(&format!("round {round}\n")).await);
        }
        routes.rewrite(&instances);
        eventually(async || {
            let answer = app.get("/v1/apps/app-guid/metrics").await;
            let lines = answer.lines("round{");
            (lines.len() == 10 && lines[0].ends_with(&format!(" {round}"))).then_some(())
        })
        .await;
        gone.push(instances);
    }
    // The instances still listen and never close a connection themselves.
    eventually(async || {
        let open: usize = gone.iter().flatten().map(Instance::open_connections).sum();
        (open == 0).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_request_on_a_stale_connection_is_retried_once() {
    // Serves one request per connection, then closes it without `Connection: close`.
    let instance = Instance::start(|seen| match seen.nth {
        1 => Reply::metrics("a 1\n"),
        _ => Reply::Close,
    })
    .await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    for _ in 0..10 {
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let repeated = instance.requests().iter().filter(|seen| seen.nth == 2).count();
    assert!(repeated > 0, "no kept connection was stale");
}

#[actix_web::test]
async fn a_stopped_instance_is_not_reported_as_a_truncated_response() {
    let (gone, stays) =
        (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let routes = RouteFile::of_app([&gone, &stays]);
    let app = spawn_app(&[routes.setting()]).await;
    // Afterwards each worker has a kept connection.
    for _ in 0..10 {
        assert_eq!(app.get("/v1/apps/app-guid/metrics").await.lines("a{").len(), 2);
    }
    drop(gone);
    eventually(async || {
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        assert_eq!(answer.status, 200);
        (answer.lines("a{").len() == 1).then_some(())
    })
    .await;
    for _ in 0..4 {
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        let error = answer.lines("promfetcher_scrape_error{").pop().unwrap();
        assert!(error.contains("error=\"connect\""), "{error}");
    }
}

#[actix_web::test]
async fn a_scrape_is_canceled_when_the_scraper_disconnects() {
    let instance = Instance::start(|_| Reply::Hang).await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let mut scraper = TcpStream::connect(app.address).await.unwrap();
    scraper.write_all(b"GET /v1/apps/app-guid/metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    eventually(async || (instance.open_connections() == 1).then_some(())).await;
    drop(scraper);
    // This happens long before the deadline of 30 s.
    eventually(async || (instance.open_connections() == 0).then_some(())).await;
}

#[actix_web::test]
async fn a_slow_reader_receives_the_complete_response() {
    let body: String = (0..20_000).map(|n| format!("m{{n=\"{n}\"}} 1\n")).collect();
    let instance = Instance::with_metrics(&body).await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let mut scraper = TcpStream::connect(app.address).await.unwrap();
    scraper
        .write_all(
            b"GET /v1/apps/app-guid/only-app-metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await
        .unwrap();
    let mut raw = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match tokio::io::AsyncReadExt::read(&mut scraper, &mut piece).await.unwrap() {
            0 => break,
            n => raw.extend_from_slice(&piece[..n]),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = parse_response(&raw);
    assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
    assert_eq!(answer.lines("m{").len(), 20_000);
}
