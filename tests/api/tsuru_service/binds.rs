//! Binds of apps, units and jobs.

use super::client::*;
use scrapebroker::{
    broker::Scope,
    domain::{App, Catalog, TsuruApp},
};

const M: &str = "/metrics/resources/m";

fn bind_app() -> String {
    format!("{M}/bind-app")
}

#[actix_web::test]
async fn a_repeated_bind_returns_the_same_url_and_token() {
    on_both(async |api| {
        api.created("m").await;
        let form = "app-name=shop&app-host=h&app-hosts=h&app-pool-name=pool-a\
                    &parameters.endpoint=%2Finternal&parameters.sample_limit=5";
        let bound = api.post(&bind_app(), form).await;
        assert_eq!(bound.status, 201, "{}", bound.text);
        assert_eq!(
            bound.variable("METRICS_URL"),
            "https://metrics.example.com/v1/apps/tsuru:shop/metrics"
        );
        let token = bound.variable("METRICS_TOKEN");
        let scope = api.broker.binding_table().scope_of_token(&token);
        assert_eq!(scope, Some(Scope::App("tsuru:shop".parse().unwrap())));
        assert_eq!(api.endpoint("tsuru:shop").as_deref(), Some("/internal"));
        let again = api.post(&bind_app(), form).await;
        assert_eq!((again.status, again.text), (200, bound.text));
    })
    .await;
}

#[actix_web::test]
async fn a_later_bind_replaces_the_stored_data_of_the_app() {
    on_both(async |api| {
        api.created("m").await;
        let mut apps = api.broker.binding_table().watch_tsuru_apps();
        let first = "app-name=shop&app-host=a&app-hosts=a&app-hosts=b&app-pool-name=pool-a\
                     &app-internal-hosts=tcp%3A%2F%2Fshop-web%3A8888";
        api.post(&bind_app(), first).await;
        let expected_app = |pool: &str, hosts: &[&str]| TsuruApp {
            name: "shop".to_owned(),
            team: "checkout".to_owned(),
            pool: pool.to_owned(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        assert!(apps.has_changed().unwrap());
        let expected = [expected_app("pool-a", &["a", "b", "tcp://shop-web:8888"])];
        assert_eq!(**apps.borrow_and_update(), expected);
        assert_eq!(api.post(&bind_app(), first).await.status, 200);
        assert!(!apps.has_changed().unwrap(), "nothing has changed");
        let moved = api.post(&bind_app(), "app-name=shop&app-hosts=c&app-pool-name=pool-b").await;
        assert_eq!(moved.status, 200);
        assert_eq!(**apps.borrow_and_update(), [expected_app("pool-b", &["c"])]);
        assert_eq!(api.delete(&bind_app(), "app-name=shop").await.status, 200);
        assert!(apps.borrow_and_update().is_empty());
    })
    .await;
}

#[actix_web::test]
async fn the_newest_bind_of_an_app_determines_its_hosts_team_and_pool() {
    on_both(async |api| {
        api.created("m").await;
        let made = api.post("/other/resources", "name=m&team=ops").await;
        assert_eq!(made.status, 201);
        api.post(&bind_app(), "app-name=shop&app-hosts=a").await;
        api.post("/other/resources/m/bind-app", "app-name=shop&app-hosts=b").await;
        api.post(&bind_app(), "app-name=cart&app-hosts=c").await;
        let apps = api.broker.binding_table().tsuru_apps();
        let apps: Vec<_> =
            apps.iter().map(|app| (&*app.name, &*app.team, &*app.hosts[0])).collect();
        assert_eq!(apps, [("cart", "checkout", "c"), ("shop", "ops", "b")]);
        api.delete("/other/resources/m/bind-app", "app-name=shop").await;
        assert_eq!(api.hosts("shop").unwrap(), ["a"]);
    })
    .await;
}

#[actix_web::test]
async fn a_bind_with_other_parameters_replaces_the_previous_one() {
    on_both(async |api| {
        api.created("m").await;
        let first = api.post(&bind_app(), "app-name=shop&parameters.endpoint=/a").await;
        let second = api.post(&bind_app(), "app-name=shop&parameters.endpoint=/b").await;
        assert_eq!((first.status, second.status), (201, 201));
        assert_eq!(first.variable("METRICS_TOKEN"), second.variable("METRICS_TOKEN"));
        assert_eq!(api.endpoint("tsuru:shop").as_deref(), Some("/b"));
        // The plan is an attribute of the binding as well.
        assert_eq!(api.put(M, "plan=large").await.status, 200);
        assert_eq!(api.post(&bind_app(), "app-name=shop&parameters.endpoint=/b").await.status, 201);
        assert_eq!(api.delete(&bind_app(), "app-name=shop").await.status, 200);
        assert!(api.broker.binding_table().binding_for("tsuru:shop").is_none());
    })
    .await;
}

#[actix_web::test]
async fn an_invalid_bind_is_refused_with_a_message() {
    on_sqlite(async |api| {
        api.created("m").await;
        let many: String = (0..300).map(|n| format!("&app-hosts=h{n}")).collect();
        let many = format!("app-name=shop{many}");
        for (form, named) in [
            ("", "app-name is missing"),
            ("app-name=a%3Ab", "app-name must be made of"),
            ("app-name=shop&app-hosts=a%0Ab", "app-hosts contains a control character"),
            (&many, "app-hosts has more than 256 addresses"),
            (
                "app-name=shop&parameters.metrics_path=/x",
                "parameter metrics_path is unknown; known are endpoint",
            ),
            ("app-name=shop&parameters.sample_limit=many", "sample_limit"),
            ("app-name=shop&parameters.endpoint=%2F%2Fevil", "endpoint"),
        ] {
            let answer = api.post(&bind_app(), form).await;
            assert_eq!(answer.status, 400, "{form} {}", answer.text);
            assert!(answer.text.contains(named), "{form} {}", answer.text);
        }
        let unknown = api.post("/metrics/resources/n/bind-app", "app-name=shop").await;
        assert_eq!(unknown.status, 404);
        assert_eq!(unknown.text, "there is no service instance with this name");
        assert_eq!(api.hosts("shop"), None);
    })
    .await;
}

#[actix_web::test]
async fn form_values_are_converted_to_binding_parameters() {
    on_sqlite(async |api| {
        api.created("m").await;
        let form = "app-name=shop&parameters.sample_limit=1000&parameters.process_types.0=web\
                    &parameters.process_types.1=worker&parameters.labels.tier=1\
                    &parameters.params.collect.0=cpu&parameters.params.collect.1=mem\
                    &parameters.params.module=http&parameters.basic_auth.username=u\
                    &parameters.basic_auth.password=p";
        let bound = api.post(&bind_app(), form).await;
        assert_eq!(bound.status, 201, "{}", bound.text);
        let active_binding = api.broker.binding_table().binding_for("tsuru:shop").unwrap();
        assert_eq!(active_binding.options.sample_limit, Some(1000));
        assert!(active_binding.options.process_types.contains("worker"));
        assert_eq!(active_binding.options.labels["tier"], "1");
        assert_eq!(active_binding.options.params["collect"], ["cpu", "mem"]);
        assert_eq!(active_binding.options.params["module"], ["http"]);
    })
    .await;
}

#[actix_web::test]
async fn a_repeated_unbind_succeeds() {
    on_both(async |api| {
        api.created("m").await;
        api.post(&bind_app(), "app-name=shop").await;
        let form = "app-name=shop&app-host=h&app-hosts=h&eventid=1&user=u";
        for _ in 0..2 {
            assert_eq!(api.delete(&bind_app(), form).await.status, 200);
            assert!(api.broker.binding_table().binding_for("tsuru:shop").is_none());
        }
        let nameless = api.delete(&bind_app(), "").await;
        assert_eq!((nameless.status, &*nameless.text), (400, "app-name is missing"));
        let unknown = api.delete("/metrics/resources/n/bind-app", form).await;
        assert_eq!(unknown.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn bind_is_the_fallback_of_bind_app() {
    on_both(async |api| {
        api.created("m").await;
        let bind = format!("{M}/bind");
        let bound = api.post(&bind, "app-name=shop&app-host=h").await;
        assert_eq!(bound.status, 201);
        assert_eq!(api.hosts("shop").unwrap(), ["h"]);
        let again = api.post(&bind_app(), "app-name=shop&app-host=h").await;
        assert_eq!((again.status, again.text), (200, bound.text));
        assert_eq!(api.post("/metrics/resources/n/bind", "app-name=shop").await.status, 404);
        assert_eq!(api.delete(&bind, "app-name=shop").await.status, 200);
        assert_eq!(api.hosts("shop"), None);
    })
    .await;
}

#[actix_web::test]
async fn binds_of_units_are_accepted_and_have_no_effect() {
    on_both(async |api| {
        api.created("m").await;
        let bind = format!("{M}/bind");
        // Tsuru 1.9 sends no event ID in these requests, and no address if the unit has none yet.
        let of_unit = async |method, form: &str| {
            let request = api.request(method, &bind).content_type(FORM);
            send_request(request, form).await
        };
        for host in ["127.4.1.7", "127.4.1.7", ""] {
            let form = format!("app-name=shop&app-host=h&app-hosts=h&unit-host={host}");
            let bound = of_unit("POST", &form).await;
            assert_eq!((bound.status, &*bound.text), (200, "{}"), "{form}");
        }
        assert_eq!(api.hosts("shop"), None);
        api.post(&bind_app(), "app-name=shop&app-host=h").await;
        for host in ["127.4.1.7", "127.4.1.7", ""] {
            let form = format!("app-host=h&app-hosts=h&unit-host={host}");
            assert_eq!(of_unit("DELETE", &form).await.status, 200, "{form}");
        }
        assert_eq!(
            api.hosts("shop").unwrap(),
            ["h"],
            "an unbind of a unit does not unbind the app"
        );
    })
    .await;
}

#[actix_web::test]
async fn a_job_gets_a_token_for_the_apps_of_its_team_or_pool() {
    on_both(async |api| {
        api.created("everywhere").await;
        let request = api.own("POST", "/metrics/resources").content_type(FORM);
        let request = request.insert_header(("X-Tsuru-Pool-Name", "pool-a"));
        let made =
            send_request(request, format!("name=in-pool&team=checkout&eventid={EVENT}")).await;
        assert_eq!(made.status, 201);
        let app = |team: &str, pool: &str| -> App {
            let (name, hosts) = ("shop".to_owned(), Vec::new());
            let app = TsuruApp { name, team: team.to_owned(), pool: pool.to_owned(), hosts };
            app.describe().unwrap()
        };
        for (instance, others) in [("everywhere", true), ("in-pool", false)] {
            let path = format!("/metrics/resources/{instance}/binds/jobs/nightly");
            let form = "job-name=nightly&job-pool-name=pool-b&eventid=1";
            let bound = api.put(&path, form).await;
            assert_eq!(bound.status, 201, "{}", bound.text);
            assert_eq!(bound.variable("METRICS_URL"), "https://metrics.example.com/v1/apps");
            let scope = api.broker.binding_table().scope_of_token(&bound.variable("METRICS_TOKEN"));
            let scope = scope.unwrap();
            assert!(scope.covers(&app("checkout", "pool-a")), "{instance}");
            assert_eq!(scope.covers(&app("checkout", "pool-b")), others, "{instance}");
            assert!(!scope.covers(&app("checkout2", "pool-a")), "{instance}");
            let again = api.put(&path, form).await;
            assert_eq!((again.status, again.text), (200, bound.text));
            for _ in 0..2 {
                assert_eq!(api.delete(&path, "eventid=1&user=u").await.status, 200);
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn an_app_and_a_job_with_the_same_name_have_separate_bindings() {
    on_both(async |api| {
        api.created("m").await;
        let job = format!("{M}/binds/jobs/shop");
        api.post(&bind_app(), "app-name=shop&app-hosts=h").await;
        assert_eq!(api.put(&job, "").await.status, 201);
        assert_eq!(api.delete(&job, "").await.status, 200);
        assert_eq!(api.hosts("shop").unwrap(), ["h"]);
        let odd = api.put(&format!("{M}/binds/jobs/a%3Ab"), "").await;
        assert_eq!(odd.status, 403, "{}", odd.text);
        let parameters = api.put(&job, "parameters.endpoint=/x").await;
        assert_eq!(parameters.status, 400);
        assert!(parameters.text.contains("the bind of a job takes no parameters"));
    })
    .await;
}

#[actix_web::test]
async fn a_refused_bind_keeps_the_previous_one_active() {
    on_both(async |api| {
        api.created("m").await;
        let good = "app-name=shop&app-hosts=h&app-pool-name=pool-a&parameters.endpoint=/a";
        let first = api.post(&bind_app(), good).await;
        assert_eq!(first.status, 201, "{}", first.text);
        let token = first.variable("METRICS_TOKEN");
        let assert_first_bind_is_active = async || {
            assert_eq!(api.endpoint("tsuru:shop").as_deref(), Some("/a"));
            assert_eq!(api.hosts("shop").unwrap(), ["h"]);
            let scope = api.broker.binding_table().scope_of_token(&token);
            assert_eq!(scope, Some(Scope::App("tsuru:shop".parse().unwrap())));
        };
        let many: String = (0..300).map(|n| format!("&app-hosts=h{n}")).collect();
        for form in [
            "app-name=shop&parameters.endpoint=%2F%2Fevil",
            "app-name=shop&parameters.metrics_path=/x",
            "app-name=shop&parameters.sample_limit=0",
            "app-name=shop&parameters.bearer_token=a&parameters.basic_auth.username=u",
            "app-name=shop&app-hosts=a%0Ab",
            &format!("app-name=shop&parameters.endpoint=/b{many}"),
        ] {
            for path in ["bind-app", "bind"] {
                let refused = api.post(&format!("{M}/{path}"), form).await;
                assert_eq!(refused.status, 400, "{form} {}", refused.text);
                assert_first_bind_is_active().await;
            }
        }
        // The same applies to a job, and to a plan that was removed from the catalog.
        let job = format!("{M}/binds/jobs/nightly");
        let of_job = api.put(&job, "").await.variable("METRICS_TOKEN");
        assert_eq!(api.put(&job, "parameters.endpoint=/x").await.status, 400);
        assert!(api.broker.binding_table().scope_of_token(&of_job).is_some());
        let mut document = catalog().document().clone();
        document["services"][0]["plans"].as_array_mut().unwrap().remove(0);
        api.broker.replace_catalog(Catalog::parse(&document, BASE_URL).unwrap());
        let refused = api.post(&bind_app(), "app-name=shop&parameters.endpoint=/b").await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_first_bind_is_active().await;
    })
    .await;
}

#[actix_web::test]
async fn empty_lists_and_maps_are_absent() {
    on_sqlite(async |api| {
        let form = "name=m&team=checkout&plan=small&parameters.=";
        assert_eq!(api.post("/metrics/resources", form).await.status, 201);
        for form in [
            "name=m&team=checkout&plan=small&parameters.=&parameters.=",
            "name=m&team=checkout&plan=small&parameters.paths=&parameters.limits=",
            "name=m&team=checkout&plan=small",
        ] {
            let again = api.post("/metrics/resources", form).await;
            assert_eq!(again.status, 200, "{form} {}", again.text);
        }
        let request = api.own("POST", "/metrics/resources").content_type("application/json");
        let json = serde_json::json!({
            "name": "m", "team": "checkout", "plan": "small", "eventID": EVENT,
            "parameters": {"paths": [], "limits": {}},
        });
        assert_eq!(send_request(request, json.to_string()).await.status, 200);
        assert_eq!(api.put(M, "plan=small&team=checkout&parameters.=").await.status, 200);
        let form = "app-name=shop&parameters.=&parameters.labels=&parameters.process_types=\
                    &parameters.params=&parameters.headers=";
        let bound = api.post(&bind_app(), form).await;
        assert_eq!(bound.status, 201, "{}", bound.text);
        assert_eq!(
            api.post(&bind_app(), "app-name=shop").await.status,
            200,
            "the binding is the same"
        );
        let nameless = api.post(&bind_app(), "app-name=shop&parameters.=5").await;
        assert_eq!(nameless.status, 400, "{}", nameless.text);
    })
    .await;
}
