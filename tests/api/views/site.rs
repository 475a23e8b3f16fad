//! An installation with something to show on every page.

use super::fake_prometheus::fake_prometheus;
use crate::{
    query::{Fixture, server},
    test_app::*,
};
use serde_json::{Value, json};
use support::*;

const EVENTS_SERVICE: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a03";
const EVENTS_PLAN: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a31";

/// Secrets of the binding of the app. No page shows them.
pub(super) const SECRETS: [&str; 5] = ["hidden-1", "hidden-2", "hidden-3", "hidden-4", "sbt_"];

/// All pages for people, with an example of each parameter.
pub(super) const PAGES: [&str; 14] = [
    "/",
    "/?details",
    "/doc",
    "/apps",
    "/apps?q=guid&state=failing&sort=samples&order=asc",
    "/apps/app-guid",
    "/apps/app-guid?state=failing",
    "/apps/app-guid/metrics",
    "/prometheus",
    "/prometheus/own/?q=web&state=down&metric=jobs_total",
    "/pools",
    "/pools/main/",
    "/events",
    "/events?queue=q1&limit=5",
];

/// The program with an app whose second instance fails, another app, a Prometheus, a pool and a
/// queue of events.
pub(super) struct Site {
    pub(super) fixture: Fixture,
    pub(super) tokens: Tokens,
    instances: [Instance; 2],
    _prometheus: Instance,
    _routes: RouteFile,
}

pub(super) struct Tokens {
    pub(super) app: String,
    pub(super) other_app: String,
    pub(super) space: String,
    pub(super) prometheus: String,
    pub(super) events: String,
}

impl Site {
    /// `text` is the name of organization, space and app, and occurs wherever apps, scrapers and
    /// Prometheus servers choose a text.
    pub(super) async fn start(text: &str, settings: &[(&str, String)]) -> Self {
        let instances = [good_instance(text).await, failing_instance(text).await];
        let routes = RouteFile::new(&table(&instances, text));
        let prometheus = fake_prometheus(text, text).await;
        let url = format!("http://{}", prometheus.address);
        let pools = json!([
            {"name": "main", "selection_interval": "300ms", "locators": [{"static": [url]}]}
        ]);
        let own = [
            routes.setting(),
            ("QUERY__POOLS", pools.to_string()),
            ("EVENTS__LISTEN", "127.0.0.1:0".to_owned()),
        ];
        let fixture =
            Fixture::start_with("http://metrics.example.com", &[&own, settings].concat()).await;
        let parameters = json!({
            "endpoint": "/metrics?key=hidden-1", "bearer_token": "hidden-2",
            "headers": {"X-Key": "hidden-3"}, "params": {"p": "hidden-4"},
        });
        let app = &fixture.app;
        let tokens = Tokens {
            app: token(&app.bind("b1", "app-guid", parameters).await),
            other_app: token(&app.bind("b2", "other-guid", json!({})).await),
            space: app.space_token().await,
            prometheus: fixture.instance("own", &[server(0, &url)]).await,
            events: app.queue_token().await,
        };
        let site = Self { fixture, tokens, instances, _prometheus: prometheus, _routes: routes };
        site.use_everything(text).await;
        site
    }

    /// Number of scrapes of the app.
    pub(super) fn scrapes(&self) -> usize {
        self.instances[0].requests().len()
    }

    /// A scrape, an event and a scrape of events, each with `text`.
    async fn use_everything(&self, text: &str) {
        let app = &self.fixture.app;
        let operator = basic(USER, PASSWORD);
        // Headers and events have no control characters, and labels of events are short.
        let allowed: String = text.chars().filter(|c| !c.is_control()).take(256).collect();
        let headers = [("Authorization", operator.as_str()), ("User-Agent", &allowed)];
        assert_eq!(app.get_with("/v1/apps/app-guid/metrics", &headers).await.status, 200);
        let json = [("Authorization", operator.as_str()), ("Content-Type", "application/json")];
        for queue in ["", "?queue=q1"] {
            let labels = json!({"type": "deploy", "detail": allowed});
            let event = json!({"labels": labels}).to_string();
            let url = app.url(&format!("/v1/events{queue}"));
            let posted = send("POST", &url, &json, Some(event)).await;
            assert_eq!(posted.status, 200, "{}", posted.text());
        }
        let scraped = app.get_with("/v1/events/metrics", &headers).await;
        assert_eq!(scraped.status, 200, "{}", scraped.text());
        eventually(async || {
            let pool =
                app.get_with("/pools/main/", &[headers[0], ("Accept", "application/json")]).await;
            (pool.json()["usable"] == true).then_some(())
        })
        .await;
    }
}

fn token(bound: &Response) -> String {
    assert_eq!(bound.status, 201, "{}", bound.text());
    bound.json()["credentials"]["token"].as_str().unwrap().to_owned()
}

impl TestApp {
    /// The token of a service key, for all apps of the space.
    async fn space_token(&self) -> String {
        let catalog = self.broker("GET", "/v2/catalog", None).await.json();
        let service = &catalog["services"][0];
        let key = json!({
            "service_id": service["id"], "plan_id": service["plans"][0]["id"], "bind_resource": {},
        });
        token(&self.broker("PUT", "/v2/service_instances/i1/service_bindings/k1", Some(key)).await)
    }

    /// The token of a queue of events.
    async fn queue_token(&self) -> String {
        let ids = json!({"service_id": EVENTS_SERVICE, "plan_id": EVENTS_PLAN});
        let mut provision = ids.clone();
        provision["organization_guid"] = "org-guid".into();
        provision["space_guid"] = "space-guid".into();
        self.broker("PUT", "/v2/service_instances/e1", Some(provision)).await;
        let mut bind = ids;
        bind["bind_resource"] = json!({"app_guid": "app-guid"});
        token(&self.broker("PUT", "/v2/service_instances/e1/service_bindings/q1", Some(bind)).await)
    }
}

/// Escapes a text for HELP and label values of the text format.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

async fn good_instance(text: &str) -> Instance {
    let text = escaped(text);
    let metrics = format!(
        "# HELP jobs_total {}\n# TYPE jobs_total counter\njobs_total{{detail=\"{text}\"}} 1\n\
         jobs_total{{detail=\"other\",instance=\"own\"}} 2\n",
        text.replace("\\\"", "\"")
    );
    Instance::with_metrics(&metrics).await
}

/// The failure of the instance quotes its body.
async fn failing_instance(text: &str) -> Instance {
    let body = text.to_owned();
    Instance::start(move |_| Reply::Http(200, vec![], body.clone().into_bytes())).await
}

fn table(instances: &[Instance; 2], text: &str) -> Value {
    let named = |mut endpoint: Value, space: &str| {
        for name in ["organization_name", "space_name", "app_name"] {
            endpoint["tags"][name] = text.into();
        }
        endpoint["tags"]["space_id"] = space.into();
        endpoint
    };
    let app =
        [0, 1].map(|index| named(endpoint("app", index, instances[index].address), "space-guid"));
    let other = named(endpoint("other", 0, instances[0].address), "other-space");
    let mut table = json!({"app.example.com": app, "other.example.com": [other]});
    table[format!("{text}.example.com").to_lowercase()] = json!([app[0]]);
    table
}
