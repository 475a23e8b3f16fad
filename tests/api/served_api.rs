//! One API for platforms on a free port, without the rest of the program.

use actix_web::{App, HttpServer, web};
use scrapebroker::{broker::Broker, domain::Catalog, http::auth::BasicCredentials, store::Store};
use secrecy::SecretString;
use std::{net::TcpListener, time::Duration};

pub(crate) async fn open_broker(store: &Store, catalog: Catalog) -> Broker {
    let key = SecretString::from("a key that is long enough");
    Broker::open(store.clone(), Some(&key), catalog).await.unwrap()
}

pub(crate) fn credentials() -> Option<BasicCredentials> {
    Some(BasicCredentials::new("broker", &"secret".into()))
}

/// Serves the API below `scope`. Returns its URL and a client.
pub(crate) fn serve(
    scope: &'static str,
    configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> (String, awc::Client) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}{scope}", listener.local_addr().unwrap());
    let app = move || App::new().service(web::scope(scope).configure(configure.clone()));
    let server = HttpServer::new(app).workers(2).disable_signals().listen(listener).unwrap();
    actix_web::rt::spawn(server.run());
    (url, awc::Client::builder().timeout(Duration::from_secs(60)).finish())
}
