use super::*;
use actix_web::rt;
use awc::{Client, ClientResponse};
use tokio::sync::oneshot;

/// Starts an instance on a free port. It stops when the sender is dropped.
fn start(options: Options) -> (String, oneshot::Sender<()>, rt::task::JoinHandle<io::Result<()>>) {
    let app = DemoApp::bind(([127, 0, 0, 1], 0).into(), options).unwrap();
    let url = format!("http://{}", app.address());
    let (stop, stopped) = oneshot::channel();
    let running = rt::spawn(app.run_until(async { drop(stopped.await) }));
    (url, stop, running)
}

fn header<B>(response: &ClientResponse<B>, name: &str) -> String {
    response.headers().get(name).unwrap().to_str().unwrap().to_owned()
}

#[actix_web::test]
async fn requests_are_counted_and_unknown_paths_are_not_found() {
    let (url, _stop, _) = start(Options::default());
    let client = Client::default();
    for path in ["/", "/path1", "/path1", "/path2"] {
        assert_eq!(client.get(format!("{url}{path}")).send().await.unwrap().status(), 200);
    }
    for path in ["/path3", "/metrics/", "/favicon.ico"] {
        assert_eq!(client.get(format!("{url}{path}")).send().await.unwrap().status(), 404);
    }
    let mut response = client.get(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(header(&response, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let body = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    assert!(
        body.contains("api_http_requests_total{method=\"GET\",handler=\"/path1\"} 2\n"),
        "{body}"
    );
}

#[actix_web::test]
async fn head_has_no_body_and_other_methods_are_rejected() {
    let (url, _stop, _) = start(Options::default());
    let client = Client::default();
    for path in ["/", "/metrics"] {
        let mut response = client.head(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key("content-length"));
        assert!(response.body().await.unwrap().is_empty());
        let response = client.post(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(header(&response, "allow"), "GET, HEAD");
    }
}

#[actix_web::test]
async fn metrics_may_have_another_path_and_a_password() {
    let (url, _stop, _) = start(Options {
        path: "actuator/prometheus".parse().unwrap(),
        basic_auth: Some(BasicAuth { username: "u".to_owned(), password: "p:w".into() }),
        index: 2,
        ..Options::default()
    });
    let client = Client::default();
    let metrics = format!("{url}/actuator/prometheus");
    assert_eq!(client.get(format!("{url}/metrics")).send().await.unwrap().status(), 404);
    assert_eq!(client.get(format!("{url}/")).send().await.unwrap().status(), 200);

    let response = client.get(&metrics).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(header(&response, "www-authenticate").starts_with("Basic "));
    let wrong = ["Basic dTp3cm9uZw==", "Basic !", "Basic", "Bearer dTpwOnc="];
    for wrong in wrong {
        let request = client.get(&metrics).insert_header(("Authorization", wrong));
        assert_eq!(request.send().await.unwrap().status(), 401, "{wrong}");
    }
    let response = client.get(&metrics).basic_auth("u", "p:w").send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[actix_web::test]
async fn the_app_stops_and_an_address_in_use_is_an_error() {
    let app = DemoApp::bind(([127, 0, 0, 1], 0).into(), Options::default()).unwrap();
    let address = app.address();
    let second = DemoApp::bind(address, Options::default()).err().unwrap();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    app.run_until(std::future::ready(())).await.unwrap();
    assert!(DemoApp::bind(address, Options::default()).is_ok());
}

#[actix_web::test]
async fn an_instance_may_fail_on_purpose() {
    let (url, _stop, _) = start(Options { fails_on_purpose: true, ..Options::default() });
    let client = Client::default();
    let mut response = client.get(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(response.status(), 500);
    let body = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    assert!(body.contains("fails on purpose"), "{body}");
    assert_eq!(client.get(format!("{url}/")).send().await.unwrap().status(), 200);
}
