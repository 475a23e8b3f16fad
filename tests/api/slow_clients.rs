//! Clients that send one byte per second.

use crate::test_app::*;
use std::time::Duration;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends `head`, then one byte per second until the connection is closed. Returns the response.
async fn send_slowly(app: &TestApp, head: &str, then: u8) -> Response {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Without a timeout, the request would take ten minutes.
    for _ in 0..600 {
        let second = tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut answer));
        match second.await {
            Ok(Ok(0) | Err(_)) => return parse_response(&answer),
            Ok(Ok(_)) => {}
            Err(_) => drop(stream.write_all(&[then]).await),
        }
    }
    panic!("the request did not time out");
}

#[actix_web::test]
async fn slow_requests_time_out() {
    let app = spawn_app(&[]).await;
    let bind = format!(
        "PUT /broker/v2/service_instances/i HTTP/1.1\r\nHost: x\r\nX-Broker-API-Version: 2.17\r\n\
         Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
        basic(USER, PASSWORD)
    );
    let (head, line, body) = tokio::join!(
        send_slowly(&app, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ", b'x'),
        send_slowly(&app, "GET /", b'x'),
        send_slowly(&app, &bind, b' '),
    );
    assert_eq!((head.status, line.status, body.status), (408, 408, 408));
    assert!(body.json()["description"].as_str().unwrap().contains("within 5 s"));
    assert_eq!(app.get("/-/ready").await.status, 200, "other clients are still served");
}
