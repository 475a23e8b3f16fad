//! Error messages about unreachable peers: each names the cause exactly once, for every kind of
//! peer.

use crate::{start::program, test_app::*, tsuru_binding::ask_tsuru};
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

/// The message about the only route source on the status page for operators.
async fn said_of_source(settings: &[(&str, String)]) -> String {
    let app = spawn_app(settings).await;
    if settings.iter().any(|(key, _)| key.starts_with("ROUTES__TSURU")) {
        let made = "name=of-team&team=team&user=u";
        let made = ask_tsuru(app.address, "metrics", "POST", "", made).await.unwrap();
        assert!(made.status < 300, "{}", made.text());
        let form = "app-name=shop&app-pool-name=pool&user=u";
        let bound = ask_tsuru(app.address, "metrics", "POST", "/of-team/bind-app", form).await;
        assert!(bound.unwrap().status < 300);
    }
    eventually(async || {
        let page = app.status_page().await.text();
        let (_, sources) = page.split_once("Sources of routes")?;
        let (_, bad) = sources.split_once("<span class=\"bad\">")?;
        let text = bad.split_once("</span>")?.0;
        // The connection to a NATS server may still be in progress.
        (!text.contains("connecting")).then(|| text.replace("&#39;", "'").replace("&quot;", "\""))
    })
    .await
}

async fn said_of_tsuru(url: &str) -> String {
    let settings =
        [("ROUTES__TSURU__API_URL", url.to_owned()), ("ROUTES__TSURU__TOKEN", "token".to_owned())];
    said_of_source(&settings).await
}

async fn said_of_gorouter(url: &str) -> String {
    said_of_source(&[("ROUTES__GOROUTERS", json!([{ "url": url }]).to_string())]).await
}

async fn said_of_nats(url: &str, ca: Option<&str>) -> String {
    let mut settings = vec![("ROUTES__NATS__SERVERS", json!([url]).to_string())];
    settings.extend(ca.map(|ca| ("ROUTES__NATS__TLS__CA", ca.to_owned())));
    said_of_source(&settings).await
}

async fn said_of_postgres(rest: &str) -> String {
    let url = format!("postgres://user:hunter2@{rest}");
    Store::open(&url.into(), 1).await.unwrap_err().to_string()
}

/// The output of `scrapebroker sd`.
async fn said_by_sd(url: &str) -> String {
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
async fn said_of_instance(address: SocketAddr, tls: bool, ca: &str) -> String {
    let mut endpoint = endpoint("app", 0, address);
    endpoint["tls"] = json!(tls);
    let routes = RouteFile::new(&json!({ "app.example.com": [endpoint] }));
    let app = spawn_app(&[routes.setting(), ("BACKENDS__CA", ca.to_owned())]).await;
    app.get("/v1/apps/app-guid/metrics").await.text().trim().to_owned()
}

/// A server that closes each connection after it has received data.
async fn closing() -> SocketAddr {
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
async fn plain() -> SocketAddr {
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
async fn tls_of_postgres(identity: &Identity) -> SocketAddr {
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
            check("tsuru", fault, &said_of_tsuru(&url).await, expected);
            check("sd", fault, &said_by_sd(&format!("{url}/sd")).await, expected);
        }
        let url = format!("http://{host}/routes");
        check("gorouter", fault, &said_of_gorouter(&url).await, expected);
        check("nats", fault, &said_of_nats(&format!("nats://{host}"), None).await, expected);
        let said = said_of_postgres(&format!("{host}/d")).await;
        check("postgres", fault, &said, expected);
        assert!(said.contains(&host), "{said}");
    }
    for tls in [false, true] {
        let said = said_of_instance(closed_address(), tls, &Authority::new("ours").pem).await;
        check("instance", "refused", &said, REFUSED);
    }
}

#[actix_web::test]
async fn the_message_for_a_tls_mismatch_contains_the_cause() {
    let ours = Authority::new("ours");
    let identity = ours.issue("127.0.0.1");
    let no_tls = "does not speak TLS at this port";
    let open = plain().await;
    let url = format!("https://{open}");
    check("tsuru", "plain", &said_of_tsuru(&url).await, no_tls);
    check("sd", "plain", &said_by_sd(&format!("{url}/sd")).await, no_tls);
    check("instance", "plain", &said_of_instance(open, true, &ours.pem).await, no_tls);

    let acceptor = identity.acceptor(None);
    let secured = Instance::start_secured("127.0.0.1:0", Some(acceptor), |_| Reply::Close).await;
    let url = format!("http://{}", secured.address);
    for (peer, said) in [
        ("tsuru", said_of_tsuru(&url).await),
        ("sd", said_by_sd(&format!("{url}/sd")).await),
        ("gorouter", said_of_gorouter(&format!("{url}/routes")).await),
        ("instance", said_of_instance(secured.address, false, &ours.pem).await),
    ] {
        check(peer, "TLS at a port without", &said, "");
        assert!(said.len() > 20, "{peer}: {said}");
    }

    let closing = closing().await;
    let url = format!("http://{closing}");
    for (peer, said) in [
        ("tsuru", said_of_tsuru(&url).await),
        ("tsuru with TLS", said_of_tsuru(&format!("https://{closing}")).await),
        ("sd", said_by_sd(&format!("{url}/sd")).await),
        ("gorouter", said_of_gorouter(&format!("{url}/routes")).await),
        ("nats", said_of_nats(&format!("nats://{closing}"), None).await),
        ("postgres", said_of_postgres(&format!("{closing}/d")).await),
        ("instance", said_of_instance(closing, false, &ours.pem).await),
        ("instance with TLS", said_of_instance(closing, true, &ours.pem).await),
    ] {
        check(peer, "closed", &said, "");
        assert!(said.len() > 20, "{peer}: {said}");
    }
}

#[actix_web::test]
async fn the_message_for_an_invalid_certificate_contains_the_cause() {
    let ours = Authority::new("ours");
    let files = Files::new();
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
        let said = said_of_instance(secured.address, true, &ours.pem).await;
        check("instance", fault, &said, by_us);
        if fault == "another CA" {
            // These clients trust only the CAs of the system.
            let url = format!("https://{}", secured.address);
            check("tsuru", fault, &said_of_tsuru(&url).await, by_us);
            check("sd", fault, &said_by_sd(&format!("{url}/sd")).await, by_us);
        }

        files.write_identity(&identity);
        let (cert, key) = (files.path("cert"), files.path("key"));
        let settings = format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}");
        let nats = TestServer::start(&settings).await;
        let said = said_of_nats(&format!("tls://{}", nats.address()), Some(&ours.pem)).await;
        check("nats", fault, &said, by_rustls);

        let postgres = tls_of_postgres(&identity).await;
        let ca = files.path("ca");
        let url = format!("{postgres}/d?sslmode=verify-full&sslrootcert={ca}");
        let said = said_of_postgres(&url).await;
        check("postgres", fault, &said, by_rustls);
    }
}
