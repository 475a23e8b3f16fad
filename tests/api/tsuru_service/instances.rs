//! Service instances: plans, creation, update, deletion, info and status.

use super::client::*;
use scrapebroker::domain::{App, Catalog, TsuruApp};
use serde_json::json;

const RESOURCES: &str = "/metrics/resources";
const M: &str = "/metrics/resources/m";

#[actix_web::test]
async fn plans_have_names_and_descriptions() {
    on_sqlite(async |api| {
        let plans = api.get("/metrics/resources/plans").await;
        assert_eq!(plans.status, 200);
        assert_eq!(
            plans.json(),
            json!([
                {"name": "fetch-app", "description": "Scrapes the instances of bound apps on request"},
                {"name": "small", "description": "the small one"},
                {"name": "large", "description": "the large one"},
            ])
        );
    })
    .await;
}

#[actix_web::test]
async fn a_repeated_create_succeeds_and_a_different_one_is_409() {
    on_both(async |api| {
        let form = "name=m&team=checkout&plan=small&user=u&eventid=1&parameters.paths.0=/a";
        assert_eq!(api.post(RESOURCES, form).await.status, 201);
        // User, event ID, tags and description are not attributes that are compared.
        let again = "eventid=2&name=m&parameters.paths.0=%2Fa&plan=small&team=checkout&tags=x&description=d";
        assert_eq!(api.post(RESOURCES, again).await.status, 200);
        let json = json!({"name": "m", "team": "checkout", "plan": "small", "parameters": {"paths": ["/a"]}, "eventID": EVENT});
        let request = api.own("POST", RESOURCES).content_type("application/json");
        assert_eq!(send_request(request, json.to_string()).await.status, 200);
        for different in [
            "name=m&team=checkout&plan=small",
            "name=m&team=checkout&plan=large&parameters.paths.0=/a",
            "name=m&team=checkout&parameters.paths.0=/a&plan=",
            "name=m&team=other&plan=small&parameters.paths.0=/a",
            "name=m&team=checkout&plan=small&parameters.paths.0=/b",
        ] {
            let answer = api.post(RESOURCES, different).await;
            assert_eq!(answer.status, 409, "{different} {}", answer.text);
            assert!(answer.text.contains("with this name exists already"), "{}", answer.text);
        }
        let request = api.request("POST", RESOURCES).insert_header(("X-Tsuru-Pool-Name", "pool-a"));
        let request = request.insert_header((EVENT_ID, "1"));
        let elsewhere = send_request(request.content_type(FORM), form).await;
        assert_eq!(elsewhere.status, 409, "the pool is different");
    })
    .await;
}

#[actix_web::test]
async fn instances_of_two_services_can_have_the_same_name() {
    on_both(async |api| {
        for service in ["metrics", "other"] {
            let path = format!("/{service}/resources");
            assert_eq!(api.post(&path, "name=m&team=t").await.status, 201);
        }
        assert_eq!(api.delete(M, "").await.status, 200);
        assert_eq!(api.get(M).await.status, 404);
        assert_eq!(api.get("/other/resources/m").await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn a_create_without_a_required_field_is_400_and_names_the_field() {
    on_sqlite(async |api| {
        let long = format!("name={}&team=t", "x".repeat(250));
        let pool = format!("name=m&team={}", "x".repeat(250));
        for (form, named) in [
            ("", "name is missing"),
            ("team=t", "name is missing"),
            ("name=&team=t", "name is missing"),
            ("name=m", "team is missing"),
            ("name=m&team=", "team is missing"),
            ("name=m&team=a%2Fb", "team must not contain a slash"),
            ("name=m&team=a%0Ab", "team contains a control character"),
            ("name=m&team=t&plan=huge", "there are: fetch-app, small, large"),
            ("name=plans&team=t", "\"plans\""),
            (&long, "name is longer than 255 bytes"),
            (&pool, "team is longer than 255 bytes"),
            ("name=m&team=t&parameters.size=5", "parameter size is unknown"),
            (
                "name=m&team=t&plan=small&parameters.size=5",
                "known are limits, paths, scrape_interval",
            ),
            ("name=m&team=t&plan=small&parameters.limits.series=many", "limits.series"),
            ("name=m&team=t&plan=small&parameters.limits=1&parameters.limits.series=2", "twice"),
            ("name=m&team=t&parameters.=5", "names no parameter"),
        ] {
            let answer = api.post(RESOURCES, form).await;
            assert_eq!(answer.status, 400, "{form} {}", answer.text);
            assert!(answer.text.contains(named), "{form} {}", answer.text);
        }
        assert_eq!(api.get(M).await.status, 404, "no instance was created");
    })
    .await;
}

#[actix_web::test]
async fn invalid_names_are_refused_for_changes_and_unknown_for_reads() {
    on_sqlite(async |api| {
        let names = [
            "a:app:b",
            "a%3Aapp%3Ab",
            "a%20b",
            "a%2Fb",
            "%C3%BC",
            "a.b",
            "%22",
            "%3Cscript%3E",
            "%25",
            "*",
            "..%2Fx",
            "%F0%9F%92%A5",
            "a%00b",
            "a%0D%0Ab",
        ];
        for name in names {
            let made = api.post(RESOURCES, &format!("name={name}&team=t")).await;
            assert_eq!(made.status, 400, "{name} {}", made.text);
            let path = format!("{RESOURCES}/{name}");
            for (method, path, form, status) in [
                ("GET", path.clone(), "", 404),
                ("GET", format!("{path}/status"), "", 404),
                ("PUT", path.clone(), "plan=small", 403),
                ("POST", format!("{path}/bind-app"), "app-name=a", 403),
                ("PUT", format!("{path}/binds/jobs/j"), "", 403),
                ("DELETE", format!("{path}/bind-app"), "app-name=a", 403),
                ("DELETE", format!("{path}/binds/jobs/j"), "", 403),
                ("DELETE", path, "", 403),
            ] {
                let answer = api.form(method, &path, form).await;
                assert_eq!(answer.status, status, "{method} {path} {}", answer.text);
            }
        }
    })
    .await;
}

/// The stored plan and parameters of the instance `m`.
async fn stored(api: &Api) -> (String, serde_json::Value) {
    let id = "tsuru:metrics:m".parse().unwrap();
    let kept = api.broker.fetch(&id).await.unwrap();
    (kept.plan_id.to_string(), json!(api.broker.stored_parameters(&id).await.unwrap()))
}

#[actix_web::test]
async fn parameters_that_an_update_omits_are_reset() {
    on_both(async |api| {
        api.created("m").await;
        let plan = async || stored(&api).await.0;
        let first = plan().await;
        let form = "description=&eventid=1&plan=large&tags=tier%3A1&team=checkout&user=u\
                    &parameters.limits.series=5&parameters.paths.0=%2Fa";
        assert_eq!(api.put(M, form).await.status, 200);
        let all = json!({"limits": {"series": 5}, "paths": ["/a"]});
        assert_eq!(stored(&api).await, ("large".to_owned(), all.clone()));
        assert_eq!(api.put(M, form).await.status, 200, "a repeated update succeeds");
        assert_eq!(stored(&api).await.1, all);
        // If the request has no plan, the plan stays the same.
        let form = "description=d&plan=&team=checkout&tags=&parameters.limits.series=5";
        assert_eq!(api.put(M, form).await.status, 200);
        assert_eq!(stored(&api).await, ("large".to_owned(), json!({"limits": {"series": 5}})));
        for form in ["plan=large&parameters.=", "plan=large", ""] {
            let update = api.put(M, "plan=large&parameters.limits.series=5").await;
            assert_eq!(update.status, 200, "{}", update.text);
            assert_eq!(api.put(M, form).await.status, 200, "{form}");
            assert_eq!(stored(&api).await, ("large".to_owned(), json!({})), "{form}");
        }
        // A JSON request without parameters omits the field.
        api.put(M, "plan=large&parameters.limits.series=5").await;
        let request = api.own("PUT", M).content_type("application/json");
        let json = json!({"team": "checkout", "plan": "large", "eventID": EVENT});
        assert_eq!(send_request(request, json.to_string()).await.status, 200);
        assert_eq!(stored(&api).await.1, json!({}));

        let unknown = api.put(M, "plan=huge").await;
        assert_eq!(unknown.status, 400);
        assert!(unknown.text.contains("there are: fetch-app"), "{}", unknown.text);
        assert_eq!(api.put(M, "parameters.x=1").await.status, 400);
        assert_eq!(api.put("/metrics/resources/unknown", "plan=small").await.status, 404);
        assert_eq!(api.post("/other/resources", "name=m&team=t").await.status, 201);
        let fixed = api.put("/other/resources/m", "plan=small").await;
        assert_eq!(fixed.status, 422, "{}", fixed.text);
        assert_ne!(plan().await, first);
    })
    .await;
}

#[actix_web::test]
async fn a_refused_parameter_does_not_block_later_updates() {
    on_both(async |api| {
        let refused = async || {
            let info = api.get(M).await.json();
            let lines = info.as_array().unwrap().clone();
            let line = lines.into_iter().find(|line| line["label"] == "Refused, not active");
            line.map(|line| line["value"].as_str().unwrap().to_owned())
        };
        let made = "name=m&team=checkout&plan=small&parameters.limits.series=5";
        assert_eq!(api.post(RESOURCES, made).await.status, 201);
        let state = json!({"limits": {"series": 5}});
        // Tsuru stores the requested values and sends them again with each later update.
        let bad = "plan=small&team=checkout&parameters.limits.series=many";
        let first = api.put(M, bad).await;
        assert_eq!(first.status, 400, "{}", first.text);
        assert!(first.text.contains("limits.series"), "{}", first.text);
        assert_eq!(stored(&api).await, ("small".to_owned(), state.clone()));
        assert_eq!(refused().await.as_deref(), Some("parameter limits"));
        let described = api.put(M, &format!("{bad}&description=new")).await;
        assert_eq!(described.status, 200, "{}", described.text);
        assert_eq!(stored(&api).await, ("small".to_owned(), state.clone()));
        let more = api.put(M, &format!("{bad}&parameters.paths.0=/a")).await;
        assert_eq!(more.status, 200, "{}", more.text);
        let with_paths = json!({"limits": {"series": 5}, "paths": ["/a"]});
        assert_eq!(stored(&api).await, ("small".to_owned(), with_paths.clone()));
        // Another invalid parameter is refused once as well.
        let worse = format!("{bad}&parameters.paths.0=/a&parameters.size=1");
        let second = api.put(M, &worse).await;
        assert_eq!(second.status, 400);
        assert!(second.text.contains("size"), "{}", second.text);
        assert_eq!(api.put(M, &worse).await.status, 200);
        assert_eq!(stored(&api).await, ("small".to_owned(), with_paths));
        assert_eq!(refused().await.as_deref(), Some("parameter limits, parameter size"));
        // An unknown plan is refused once as well. The other values of later updates are applied.
        let huge = "plan=huge&team=checkout&parameters.limits.series=6";
        assert_eq!(api.put(M, huge).await.status, 400);
        assert_eq!(api.put(M, &format!("{huge}&parameters.paths.0=/b")).await.status, 200);
        let (plan, parameters) = stored(&api).await;
        assert_eq!((plan.as_str(), &parameters["paths"]), ("small", &json!(["/b"])));
        assert!(refused().await.unwrap().contains("plan huge"));
        // Valid values end the refused state.
        assert_eq!(api.put(M, "plan=large&parameters.limits.series=7").await.status, 200);
        let right = ("large".to_owned(), json!({"limits": {"series": 7}}));
        assert_eq!((stored(&api).await, refused().await), (right, None));
        // Afterwards the same invalid value is refused again.
        assert_eq!(api.put(M, bad).await.status, 400);
    })
    .await;
}

/// A refused update changes nothing, and the response says so.
#[actix_web::test]
async fn valid_parameters_beside_a_refused_one_are_applied_after_a_correction() {
    on_both(async |api| {
        let refused = async || {
            let info = api.get(M).await.json();
            let lines = info.as_array().unwrap().clone();
            let line = lines.into_iter().find(|line| line["label"] == "Refused, not active");
            line.map(|line| line["value"].as_str().unwrap().to_owned())
        };
        let made = "name=m&team=checkout&plan=small&parameters.limits.series=5";
        assert_eq!(api.post(RESOURCES, made).await.status, 201);
        let before = stored(&api).await;
        let bad = "plan=small&parameters.limits.series=many&parameters.paths.0=/a";
        let answer = api.put(M, bad).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains("limits.series"), "{}", answer.text);
        assert!(answer.text.contains("nothing of this update is active"), "{}", answer.text);
        assert_eq!(stored(&api).await, before);
        let both = Some("parameter limits, parameter paths");
        assert_eq!(refused().await.as_deref(), both);
        // A later update with the same values changes nothing.
        assert_eq!(api.put(M, &format!("{bad}&description=new")).await.status, 200);
        assert_eq!((stored(&api).await, refused().await.as_deref()), (before, both));
        // A new value of the valid parameter is applied.
        let other = bad.replace("/a", "/b");
        assert_eq!(api.put(M, &other).await.status, 200);
        assert_eq!(stored(&api).await.1, json!({"limits": {"series": 5}, "paths": ["/b"]}));
        for right in ["parameters.limits.series=6&parameters.paths.0=/a", "parameters.paths.0=/a"] {
            let again = api.put(M, bad).await;
            assert!([200, 400].contains(&again.status) && refused().await.is_some(), "{right}");
            assert_eq!(api.put(M, &format!("plan=small&{right}")).await.status, 200, "{right}");
            assert_eq!((&stored(&api).await.1["paths"], refused().await), (&json!(["/a"]), None));
        }
    })
    .await;
}

#[actix_web::test]
async fn tokens_from_before_a_team_change_give_no_access_to_the_new_team() {
    on_both(async |api| {
        let request = api.own("POST", RESOURCES).content_type(FORM);
        let request = request.insert_header(("X-Tsuru-Pool-Name", "pool-a"));
        let made = send_request(request, format!("name=m&team=checkout&eventid={EVENT}")).await;
        assert_eq!(made.status, 201);
        let app = |team: &str, pool: &str| -> App {
            let (name, hosts) = ("shop".to_owned(), Vec::new());
            let app = TsuruApp { name, team: team.to_owned(), pool: pool.to_owned(), hosts };
            app.describe().unwrap()
        };
        let covers = |token: &str, team: &str| {
            let scope = api.broker.binding_table().scope_of_token(token).unwrap();
            scope.covers(&app(team, "pool-a"))
        };
        let job = |name: &str| format!("{M}/binds/jobs/{name}");
        let old = api.put(&job("old"), "").await.variable("METRICS_TOKEN");
        assert!(covers(&old, "checkout") && !covers(&old, "payments"));

        // A refused parameter also rejects the new team. The next update contains both again.
        let refused = api.put(M, "team=payments&parameters.x=1").await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        let team = async || {
            let kept = api.broker.fetch(&"tsuru:metrics:m".parse().unwrap()).await.unwrap();
            (kept.organization_guid.to_string(), kept.space_guid.to_string())
        };
        let before = ("tsuru:checkout".to_owned(), "tsuru:checkout/pool-a".to_owned());
        assert_eq!(team().await, before);
        let moved = api.put(M, "team=payments&parameters.x=1&description=d").await;
        assert_eq!(moved.status, 200, "{}", moved.text);
        let after = ("tsuru:payments".to_owned(), "tsuru:payments/pool-a".to_owned());
        assert_eq!(team().await, after);
        assert_eq!(api.put(M, "team=payments&plan=large").await.status, 200);

        assert!(covers(&old, "checkout") && !covers(&old, "payments"));
        let again = api.put(&job("old"), "").await.variable("METRICS_TOKEN");
        assert!(!covers(&again, "payments"), "the repeated bind returns the same token");
        let new = api.put(&job("new"), "").await.variable("METRICS_TOKEN");
        assert!(covers(&new, "payments") && !covers(&new, "checkout"));
        // Now a create request is equal if it has the new team.
        let slash = api.put(M, "team=a%2Fb").await;
        assert_eq!(slash.status, 400, "{}", slash.text);
        assert_eq!(team().await, after);
    })
    .await;
}

#[actix_web::test]
async fn a_repeated_delete_succeeds() {
    on_both(async |api| {
        api.created("m").await;
        api.post(&format!("{M}/bind-app"), "app-name=shop&app-hosts=h").await;
        assert_eq!(api.put(&format!("{M}/binds/jobs/nightly"), "").await.status, 201);
        for form in ["eventid=1&user=u", "eventid=1&user=u", "eventid=2"] {
            let deleted = api.delete(M, form).await;
            assert_eq!((deleted.status, &*deleted.text), (200, ""), "{form}");
        }
        assert_eq!(api.hosts("shop"), None, "the bindings of apps and jobs were removed");
        assert!(api.broker.binding_table().binding_for("tsuru:shop").is_none());
        assert_eq!(api.get(&format!("{M}/status")).await.status, 404);
        api.created("m").await;
    })
    .await;
}

#[actix_web::test]
async fn the_info_has_labels_and_values_and_the_status_is_up() {
    on_both(async |api| {
        assert_eq!(api.get(M).await.status, 404);
        assert_eq!(api.get(&format!("{M}/status")).await.status, 404);
        api.created("m").await;
        assert_eq!(
            api.get(M).await.json(),
            json!([
                {"label": "URL", "value": "https://metrics.example.com/v1/apps"},
                {"label": "State", "value": "ready"},
            ])
        );
        let status = api.get(&format!("{M}/status")).await;
        assert_eq!((status.status, &*status.text), (204, ""));
    })
    .await;
}

#[actix_web::test]
async fn instances_of_a_removed_plan_can_be_deleted() {
    on_sqlite(async |api| {
        api.created("m").await;
        api.post(&format!("{M}/bind-app"), "app-name=shop&app-hosts=h").await;
        let mut document = catalog().document().clone();
        document["services"].as_array_mut().unwrap().remove(0);
        api.broker.replace_catalog(Catalog::parse(&document, BASE_URL).unwrap());
        assert_eq!(api.get(M).await.status, 404);
        assert_eq!(api.delete(&format!("{M}/bind-app"), "app-name=shop").await.status, 200);
        assert_eq!(api.hosts("shop"), None);
        assert_eq!(api.delete(M, "").await.status, 200);
        api.broker.replace_catalog(catalog());
        assert_eq!(api.get(M).await.status, 404);
    })
    .await;
}
