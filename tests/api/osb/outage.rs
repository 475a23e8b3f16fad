//! Database outages.

use super::client::*;
use scrapebroker::store::Store;
use std::net::{SocketAddr, TcpListener};
use support::databases::{Schema, postgres};
use tokio::{io::copy_bidirectional, net::TcpStream, sync::watch};

/// A TCP proxy in front of PostgreSQL that can interrupt connections.
struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Data is forwarded.
    Forwarding,
    /// Existing and new connections are closed.
    Closed,
    /// Connections stay open, but no data is forwarded.
    Silent,
}

impl Proxy {
    fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (state, watched) = watch::channel(State::Forwarding);
        actix_web::rt::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                actix_web::rt::spawn(forward(near, server.clone(), watched.clone()));
            }
        });
        Self { address, state }
    }

    fn set(&self, state: State) {
        self.state.send(state).unwrap();
    }
}

async fn forward(mut near: TcpStream, server: String, mut state: watch::Receiver<State>) {
    let Ok(mut far) = TcpStream::connect(&server).await else { return };
    loop {
        let now = *state.borrow_and_update();
        match now {
            State::Closed => return,
            State::Silent => {
                if state.changed().await.is_err() {
                    return;
                }
            }
            State::Forwarding => tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => return,
                changed = state.changed() => if changed.is_err() { return },
            },
        }
    }
}

/// A broker with a bound app, on PostgreSQL behind a proxy.
async fn bound_over_a_proxy() -> (Proxy, Schema, Api) {
    let server = postgres();
    let url: awc::http::Uri = server.parse().unwrap();
    let authority = url.authority().unwrap();
    let host = authority.host();
    let port = authority.port_u16().unwrap_or(5432);
    let proxy = Proxy::to(format!("{host}:{port}"));
    let behind = server.replace(&format!("{host}:{port}"), &proxy.address.to_string());
    let schema = Schema::create().await;
    let store = Store::open(&schema.url(Some(&behind)).parse().unwrap(), 4).await.unwrap();
    let api = Api::start(&store).await;
    assert_eq!(api.put(&instance("i"), &provision()).await.status, 201);
    assert_eq!(api.put(&binding("i", "b"), &bind("app")).await.status, 201);
    (proxy, schema, api)
}

/// Sends every kind of request that needs the database. Returns status and body of each response.
async fn statuses(api: &Api) -> Vec<(u16, String)> {
    let answers = [
        api.put(&instance("j"), &provision()).await,
        api.get(&instance("i")).await,
        api.put(&binding("i", "c"), &bind("other")).await,
        api.delete(&binding("i", "b")).await,
        api.delete(&instance("i")).await,
    ];
    answers.map(|answer| (answer.status, answer.body.to_string())).into()
}

#[actix_web::test]
async fn requests_are_503_only_while_postgresql_is_unavailable() {
    let (proxy, schema, api) = bound_over_a_proxy().await;
    for state in [State::Closed, State::Silent] {
        proxy.set(state);
        for (status, body) in statuses(&api).await {
            assert_eq!(status, 503, "{body}");
            assert!(body.contains("the database is not available"), "{body}");
        }
        assert_eq!(
            api.get("/v2/catalog").await.status,
            200,
            "the catalog does not need the database"
        );
        assert!(
            api.broker.binding_table().binding_for("app").is_some(),
            "the last known binding stays active"
        );
        proxy.set(State::Forwarding);
        let back = api.put(&instance("i"), &provision()).await;
        assert_eq!(back.status, 200, "{:?}", back.body);
    }
    assert_eq!(api.delete(&instance("i")).await.status, 200);
    assert!(api.broker.binding_table().binding_for("app").is_none());
    schema.drop().await;
}

#[actix_web::test]
async fn requests_are_503_only_while_the_sqlite_file_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (original, moved) = (dir.path().join("original"), dir.path().join("moved"));
    std::fs::create_dir(&original).unwrap();
    let url = format!("sqlite://{}", original.join("test.db").display());
    let store = Store::open(&url.parse().unwrap(), 4).await.unwrap();
    let api = Api::start(&store).await;
    assert_eq!(api.put(&instance("i"), &provision()).await.status, 201);
    std::fs::rename(&original, &moved).unwrap();
    for (status, body) in statuses(&api).await {
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("is missing"), "{body}");
    }
    std::fs::rename(&moved, &original).unwrap();
    assert_eq!(api.put(&instance("i"), &provision()).await.status, 200);
    assert_eq!(api.delete(&instance("i")).await.status, 200);
}
