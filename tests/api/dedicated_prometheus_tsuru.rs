//! The life cycle of a dedicated Prometheus over the Tsuru service API, from the command
//! `tsuru service-instance-add` to the removal of its files.

use crate::{dedicated_prometheus::InstanceDirs, test_app::*, tsuru_binding::*};
use serde_json::Value;
use std::collections::BTreeMap;
use support::*;

/// The values that `tsuru service-instance-info` shows.
async fn info(app: &TestApp) -> BTreeMap<String, String> {
    let info = tsuru_request(app.address, "prometheus", "GET", "/own", "").await.unwrap().json();
    let lines = info.as_array().unwrap().iter().map(|line| {
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        (text("label"), text("value"))
    });
    lines.collect()
}

#[actix_web::test]
async fn life_cycle_of_a_dedicated_prometheus_over_tsuru() {
    let instance_dirs = InstanceDirs::new();
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(Instance::with_metrics("shop_orders_total 7\n").await);
    }
    let routes = RouteFile::new(&table_of_shop(instances.iter().take(2)));
    let mut settings = instance_dirs.settings();
    settings.push(routes.setting());
    settings.push(("SCRAPE__ACCESS", "token".to_owned()));
    let app = spawn_app(&settings).await;
    let tsuru = async |method: &str, path: &str, form: &str| {
        tsuru_request(app.address, "prometheus", method, path, form).await.unwrap()
    };

    let form = "name=own&team=checkout&plan=small&user=u&parameters.scrape_interval=1s";
    let made = tsuru("POST", "", form).await;
    assert_eq!(made.status, 202, "{}", made.text());
    eventually(async || (tsuru("GET", "/own/status", "").await.status == 204).then_some(())).await;
    let form = "app-name=shop&app-pool-name=pool-a&parameters.endpoint=%2Fown\
                &parameters.labels.tier=1";
    let bound = tsuru("POST", "/own/bind-app", form).await;
    assert_eq!(bound.status, 201, "{}", bound.text());
    let job = tsuru("PUT", "/own/binds/jobs/nightly", "").await;
    assert_eq!(job.status, 201, "{}", job.text());

    let variable = |answer: &Response, name: &str| answer.json()[name].as_str().unwrap().to_owned();
    let url = variable(&bound, "PROMETHEUS_URL");
    let path = url.strip_prefix("https://metrics.example.com/base").unwrap().to_owned();
    let send_request = async |binding: &Response, query: &str| {
        let (user, password) = ("PROMETHEUS_USERNAME", "PROMETHEUS_PASSWORD");
        let authorization = basic(&variable(binding, user), &variable(binding, password));
        let headers = [("Authorization", authorization.as_str())];
        app.get_with(&format!("{path}{query}"), &headers).await
    };
    let query = "/api/v1/query?query=shop_orders_total";
    let series: Vec<Value> = eventually(async || {
        let series = send_request(&bound, query).await.json()["data"]["result"].as_array()?.clone();
        (series.len() == 2).then_some(series)
    })
    .await;
    let labels = &series[0]["metric"];
    assert_eq!((&labels["app_id"], &labels["tier"]), (&"tsuru:shop".into(), &"1".into()));
    assert!(instances[0].requests().iter().all(|seen| seen.line.starts_with("GET /own ")));

    let targets = async |expected: &str| {
        eventually(async || (info(&app).await["Targets up / all"] == expected).then_some(())).await;
    };
    targets("2 / 2").await;
    routes.write(&table_of_shop(&instances));
    targets("4 / 4").await;
    eventually(async || {
        let series = send_request(&bound, query).await.json()["data"]["result"].as_array()?.clone();
        (series.len() == 4).then_some(())
    })
    .await;
    let info = info(&app).await;
    assert_eq!((&*info["State"], &*info["Last error"], &*info["URL"]), ("ready", "none", &*url));

    assert_eq!(tsuru("DELETE", "/own/bind-app", "app-name=shop").await.status, 200);
    assert_eq!(send_request(&bound, query).await.status, 401, "its credentials are revoked");
    eventually(async || {
        let targets = send_request(&job, "/api/v1/targets").await.json();
        targets["data"]["activeTargets"].as_array()?.is_empty().then_some(())
    })
    .await;
    // A job is still bound, and Tsuru deletes the instance nevertheless.
    assert_eq!(instance_dirs.processes().len(), 1);
    let removed = tsuru("DELETE", "/own", "user=u").await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    assert_eq!((instance_dirs.processes(), instance_dirs.remaining_paths()), (vec![], vec![]));
    assert_eq!(tsuru("GET", "/own/status", "").await.status, 404);
    assert_eq!(send_request(&job, query).await.status, 401);
}
