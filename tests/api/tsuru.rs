//! Tsuru apps: scraped unit by unit, as the platform's API tells.

use crate::{
    helpers::{Answer, send},
    tsuru_api::{Fault, TOKEN, TsuruApi, TsuruApp},
};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

async fn ask(api: &TsuruApi, method: &str, path: &str, body: &str) -> Answer {
    let authorization = format!("bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str()), FORM];
    send(method, &format!("{}/1.0{path}", api.url()), &headers, Some(body.to_owned())).await
}

#[actix_web::test]
async fn the_stand_in_keeps_to_the_contract_of_the_platforms_api() {
    let mut api = TsuruApi::start().await;
    let create = "name=prom-x&platform=&pool=pool-a&teamOwner=checkout&plan=c1m1&tags.0=a%3Ab";
    assert_eq!(send("GET", &format!("{}/1.0/apps/x", api.url()), &[], None).await.status, 401);
    assert_eq!(ask(&api, "GET", "/apps/prom-x", "").await.status, 404);
    let made = ask(&api, "POST", "/apps", create).await;
    assert_eq!((made.status, made.json()["status"].as_str()), (201, Some("success")));
    assert_eq!(ask(&api, "POST", "/apps", create).await.status, 409);
    assert_eq!(ask(&api, "POST", "/apps", "name=Bad").await.status, 400);
    api.quota(1);
    assert_eq!(ask(&api, "POST", "/apps", "name=more").await.status, 403);

    let env = "Envs.0.Name=A&Envs.0.Value=b%20c&Envs.0.Private=true&NoRestart=true";
    let set = ask(&api, "POST", "/apps/prom-x/env", env).await;
    assert_eq!(set.headers["content-type"], "application/x-json-stream");
    let app = api.app("prom-x").unwrap();
    assert_eq!((app.environment["A"].value.as_str(), app.restarts), ("b c", 0));
    assert_eq!((app.tags, app.team_owner.as_str()), (vec!["a:b".to_owned()], "checkout"));
    let protected = "Envs.0.Name=TSURU_APPNAME&Envs.0.Value=x";
    assert_eq!(ask(&api, "POST", "/apps/prom-x/env", protected).await.status, 400);

    let deploy = "image=prom%2Fprometheus%3Av2&origin=image";
    api.fault(Fault::InStream("no such image".to_owned()));
    let failed = ask(&api, "POST", "/apps/prom-x/deploy", deploy).await;
    assert!(failed.status == 200 && !failed.text().trim_end().ends_with("OK"));
    let failed = ask(&api, "POST", "/apps/prom-x/env", env).await;
    assert!(failed.status == 200 && failed.text().contains(r#""Error":"no such image""#));
    api.fault(Fault::Status(500));
    assert_eq!(ask(&api, "GET", "/apps/prom-x", "").await.status, 500);
    api.fault(Fault::None);
    let deployed = ask(&api, "POST", "/apps/prom-x/deploy", deploy).await;
    assert!(deployed.text().ends_with("OK\n") && deployed.headers.contains_key("x-tsuru-eventid"));
    assert_eq!(ask(&api, "POST", "/apps/prom-x/deploy", "origin=image").await.status, 400);
    assert_eq!(ask(&api, "PUT", "/apps/prom-x/units", "units=3&process=web").await.status, 200);
    let info = ask(&api, "GET", "/apps/prom-x", "").await.json();
    assert_eq!(info["units"].as_array().map(Vec::len), Some(4));

    api.down().await;
    assert!(tokio::net::TcpStream::connect(api.address).await.is_err());
    api.up();
    assert_eq!(ask(&api, "DELETE", "/apps/prom-x", "").await.status, 200);
    assert!(api.apps().is_empty());
    api.put(TsuruApp { is_forbidden: true, ..TsuruApp::new("theirs", "other", "pool-a") });
    assert_eq!(ask(&api, "GET", "/apps/theirs", "").await.status, 403);
}
