//! Error messages about unreachable peers: each names the cause exactly once, for every kind of
//! peer.

use crate::{start::program, test_app::*, tsuru_binding::tsuru_request};
use scrapebroker::store::Store;
use serde_json::json;
use std::net::SocketAddr;
use support::{certificates::*, nats::TestServer, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Checks that the message contains the cause and repeats no part between colons.
fn check(peer: &str, fault: &str, text: &str, expected: &str) {
    assert!(text.contains(expected), "{peer}, {fault}: {text}");
    let parts: Vec<_> = text.split([':', ';']).map(|part| part.trim().to_lowercase()).collect();
    let words = parts.iter().filter(|part| part.contains(|c: char| c.is_alphabetic()));
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    let repeated = words.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(repeated, None, "{peer}, {fault}: {text}");
}

/// The message about the only route source, for operators.
async fn error_of_source(settings: &[(&str, String)]) -> String {
    let app = spawn_app(settings).await;
    if settings.iter().any(|(key, _)| key.starts_with("ROUTES__TSURU")) {
        let made = "name=of-team&team=team&user=u";
        let made = tsuru_request(app.address, "metrics", "POST", "", made).await.unwrap();
        assert!(made.status < 300, "{}", made.text());
        let form = "app-name=shop&app-pool-name=pool&user=u";
        let bound = tsuru_request(app.address, "metrics", "POST", "/of-team/bind-app", form).await;
        assert!(bound.unwrap().status < 300);
    }
    eventually(async || {
        let overview = app.overview().await;
        let text = overview["sources"][0]["error"].as_str()?;
        // The connection to a NATS server may still be in progress.
        (!text.contains("connecting")).then(|| text.to_owned())
    })
    .await
}

async fn tsuru_error(url: &str) -> String {
    let settings =
        [("ROUTES__TSURU__API_URL", url.to_owned()), ("ROUTES__TSURU__TOKEN", "token".to_owned())];
    error_of_source(&settings).await
}

async fn gorouter_error(url: &str) -> String {
    error_of_source(&[("ROUTES__GOROUTERS", json!([{ "url": url }]).to_string())]).await
}

async fn nats_error(url: &str, ca: Option<&str>) -> String {
    let mut settings = vec![("ROUTES__NATS__SERVERS", json!([url]).to_string())];
    settings.extend(ca.map(|ca| ("ROUTES__NATS__TLS__CA", ca.to_owned())));
    error_of_source(&settings).await
}

async fn postgres_error(rest: &str) -> String {
    let url = format!("postgres://user:hunter2@{rest}");
    Store::open(&url.parse().unwrap(), 1).await.unwrap_err().to_string()
}

/// The output of `scrapebroker sd`.
async fn sd_error(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("list.json").display().to_string();
    let url = url.to_owned();
    let output = actix_web::web::block(move || {
        let arguments = ["sd", "--url", &url, "--out", &out];
        std::process::Command::new(program()).args(arguments).output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap().trim().to_owned()
}

/// The scrape error of an instance with or without TLS.
async fn scrape_error(address: SocketAddr, tls: bool, ca: &str) -> String {
    let mut endpoint = endpoint("app", 0, address);
    endpoint["tls"] = json!(tls);
    let routes = RouteFile::new(&json!({ "app.example.com": [endpoint] }));
    let app = spawn_app(&[routes.setting(), ("BACKENDS__CA", ca.to_owned())]).await;
    app.get("/v1/apps/app-guid/metrics").await.text().trim().to_owned()
}

/// A server that closes each connection after it has received data.
async fn closing_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read_u8().await;
        }
    });
    address
}

/// A server that responds to any data like a web server without TLS.
async fn plaintext_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
    });
    address
}

/// A server that accepts TLS like PostgreSQL and has the certificate `identity`.
async fn postgres_with_tls(identity: &Identity) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor(None);
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8];
            if stream.read_exact(&mut request).await.is_ok() && stream.write_all(b"S").await.is_ok()
            {
                let _ = acceptor.accept(stream).await;
            }
        }
    });
    address
}

#[actix_web::test]
async fn the_message_for_an_unreachable_peer_contains_the_cause() {
    const REFUSED: &str = "Connection refused";
    const NO_NAME: &str = "lookup";
    for (fault, host, expected) in [
        ("refused", closed_address().to_string(), REFUSED),
        ("no name", format!("{UNKNOWN_HOST}:1"), NO_NAME),
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}");
            check("tsuru", fault, &tsuru_error(&url).await, expected);
            check("sd", fault, &sd_error(&format!("{url}/sd")).await, expected);
        }
        let url = format!("http://{host}/routes");
        check("gorouter", fault, &gorouter_error(&url).await, expected);
        check("nats", fault, &nats_error(&format!("nats://{host}"), None).await, expected);
        let reported = postgres_error(&format!("{host}/d")).await;
        check("postgres", fault, &reported, expected);
        assert!(reported.contains(&host), "{reported}");
    }
    for tls in [false, true] {
        let reported = scrape_error(closed_address(), tls, &Authority::new("ours").pem).await;
        check("instance", "refused", &reported, REFUSED);
    }
}

#[actix_web::test]
async fn the_message_for_a_tls_mismatch_contains_the_cause() {
    let ours = Authority::new("ours");
    let identity = ours.issue("127.0.0.1");
    let no_tls = "does not speak TLS at this port";
    let open = plaintext_server().await;
    let url = format!("https://{open}");
    check("tsuru", "plain", &tsuru_error(&url).await, no_tls);
    check("sd", "plain", &sd_error(&format!("{url}/sd")).await, no_tls);
    check("instance", "plain", &scrape_error(open, true, &ours.pem).await, no_tls);

    let acceptor = identity.acceptor(None);
    let secured = Instance::start_secured("127.0.0.1:0", Some(acceptor), |_| Reply::Close).await;
    let url = format!("http://{}", secured.address);
    for (peer, reported) in [
        ("tsuru", tsuru_error(&url).await),
        ("sd", sd_error(&format!("{url}/sd")).await),
        ("gorouter", gorouter_error(&format!("{url}/routes")).await),
        ("instance", scrape_error(secured.address, false, &ours.pem).await),
    ] {
        check(peer, "TLS at a port without", &reported, "");
        assert!(reported.len() > 20, "{peer}: {reported}");
    }

    let closing = closing_server().await;
    let url = format!("http://{closing}");
    for (peer, reported) in [
        ("tsuru", tsuru_error(&url).await),
        ("tsuru with TLS", tsuru_error(&format!("https://{closing}")).await),
        ("sd", sd_error(&format!("{url}/sd")).await),
        ("gorouter", gorouter_error(&format!("{url}/routes")).await),
        ("nats", nats_error(&format!("nats://{closing}"), None).await),
        ("postgres", postgres_error(&format!("{closing}/d")).await),
        ("instance", scrape_error(closing, false, &ours.pem).await),
        ("instance with TLS", scrape_error(closing, true, &ours.pem).await),
    ] {
        check(peer, "closed", &reported, "");
        assert!(reported.len() > 20, "{peer}: {reported}");
    }
}

#[actix_web::test]
async fn the_message_for_an_invalid_certificate_contains_the_cause() {
    let ours = Authority::new("ours");
    let files = Files::create();
    files.write("ca", &ours.pem);
    for (fault, identity, by_us, by_rustls) in [
        (
            "another CA",
            Authority::new("theirs").issue("127.0.0.1"),
            "self-signed or from a CA that is not trusted",
            "UnknownIssuer",
        ),
        (
            "expired",
            ours.issue_with("127.0.0.1", expired),
            "certificate expired at 2002-02-02",
            "expired",
        ),
        (
            "another name",
            ours.issue("other.example.com"),
            "the certificate is not for 127.0.0.1 but for",
            "other.example.com",
        ),
    ] {
        let acceptor = identity.acceptor(None);
        let secured =
            Instance::start_secured("127.0.0.1:0", Some(acceptor), |_| Reply::Close).await;
        let reported = scrape_error(secured.address, true, &ours.pem).await;
        check("instance", fault, &reported, by_us);
        if fault == "another CA" {
            // These clients trust only the CAs of the system.
            let url = format!("https://{}", secured.address);
            check("tsuru", fault, &tsuru_error(&url).await, by_us);
            check("sd", fault, &sd_error(&format!("{url}/sd")).await, by_us);
        }

        files.write_identity(&identity);
        let (cert, key) = (files.path("cert"), files.path("key"));
        let settings = format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}");
        let nats = TestServer::start(&settings).await;
        let reported = nats_error(&format!("tls://{}", nats.address()), Some(&ours.pem)).await;
        check("nats", fault, &reported, by_rustls);

        let postgres = postgres_with_tls(&identity).await;
        let ca = files.path("ca");
        let url = format!("{postgres}/d?sslmode=verify-full&sslrootcert={ca}");
        let reported = postgres_error(&url).await;
        check("postgres", fault, &reported, by_rustls);
    }
}
