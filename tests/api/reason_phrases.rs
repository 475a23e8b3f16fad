//! The reason phrase of a failed scrape, which Prometheus shows as the error of the target.

use crate::test_app::*;
use support::{programs::Prometheus, *};

const METRICS: &str = "/v1/apps/app-guid/metrics";

async fn failing_with(status: u16) -> Instance {
    Instance::start(move |_| Reply::Http(status, vec![], b"secret".to_vec())).await
}

#[actix_web::test]
async fn the_status_line_names_the_reason_that_all_instances_have() {
    let (missing, forbidden, broken) =
        (failing_with(404).await, failing_with(403).await, failing_with(500).await);
    let cases = [
        (vec![closed_address()], 502, "connect: nothing listens at the instance's address"),
        (vec![broken.address, broken.address], 502, "status_5xx: the app failed"),
        (vec![missing.address, forbidden.address], 406, "status_4xx: the app refused the request"),
        (vec![missing.address, broken.address], 502, "several reasons, see the body"),
    ];
    for (addresses, status, phrase) in cases {
        let routes = RouteFile::of_addresses(addresses);
        let app = spawn_app(&[routes.setting()]).await;
        let answer = app.get(METRICS).await;
        assert_eq!((answer.status, answer.reason.as_str()), (status, phrase));
        assert_eq!(app.get("/v1/apps/unknown/metrics").await.reason, "Not Found");
    }
}

#[actix_web::test]
async fn a_real_prometheus_shows_the_reason_of_a_failed_scrape() {
    let broken = failing_with(500).await;
    let routes = RouteFile::of_app([&broken]);
    let app = spawn_app(&[routes.setting()]).await;
    let prometheus = Prometheus::start(&format!(
        "- job_name: my-app
  metrics_path: {METRICS}
  static_configs: [{{targets: ['{}']}}]
",
        app.address
    ));
    let error = prometheus.last_error().await;
    assert_eq!(error, "server returned HTTP status 502 status_5xx: the app failed");
}
