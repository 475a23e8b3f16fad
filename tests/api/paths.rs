//! Repeated and trailing slashes in request paths.

use crate::test_app::*;
use support::*;

#[actix_web::test]
async fn superfluous_slashes_are_ignored() {
    let instance = Instance::with_metrics("m 1\n").await;
    let routes = RouteFile::new(&serde_json::json!({
        "app.example.com": [endpoint("app", 0, instance.address)],
        "app.example.com/a/b": [endpoint("app", 0, instance.address)],
    }));
    let settings = [routes.setting(), ("HEALTH_LISTEN", "127.0.0.1:0".to_owned())];
    let app = spawn_app(&settings).await;
    for path in [
        "/metrics/",
        "//metrics",
        "/-/ready/",
        "/doc/",
        "/v1/apps/app-guid/",
        "/v1/apps/app-guid/metrics/",
        "//v1//apps//app-guid//metrics",
        "/v1/apps/app-guid/instances/0/metrics/",
        "/v1/apps/metrics/?app=app-guid",
        "/v2/apps/acme/prod/app/metrics/",
        "/v1/apps/app.example.com%2Fa%2Fb/metrics/",
        "/sd/",
    ] {
        let headers = [("Authorization", &*basic(USER, PASSWORD))];
        assert_eq!(app.get_with(path, &headers).await.status, 200, "{path}");
    }
    // An encoded slash is part of the name.
    assert_eq!(app.get("/v1/apps/app-guid%2F/metrics").await.status, 404);
    for path in ["//v2/catalog", "/v2/catalog/", "/v2//catalog//"] {
        assert_eq!(app.broker("GET", path, None).await.status, 200, "{path}");
    }
    let health = app.health_address.unwrap();
    for path in ["/-/healthy/", "//-/healthy"] {
        let answer = send("GET", &format!("http://{health}{path}"), &[], None).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}
