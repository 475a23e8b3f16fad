//! Contract tsuru.md 3.2, row by row: plans, create, update, delete, info, status.

use crate::helpers::*;
use scrapebroker::domain::Catalog;
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
async fn an_equal_create_again_is_a_success_and_a_different_one_409() {
    on_both(async |api| {
        let form = "name=m&team=checkout&plan=small&user=u&eventid=1&parameters.paths.0=/a";
        assert_eq!(api.post(RESOURCES, form).await.status, 201);
        // Who asked and how often is no attribute, and so are tags and description.
        let again = "eventid=2&name=m&parameters.paths.0=%2Fa&plan=small&team=checkout&tags=x&description=d";
        assert_eq!(api.post(RESOURCES, again).await.status, 200);
        let json = json!({"name": "m", "team": "checkout", "plan": "small", "parameters": {"paths": ["/a"]}});
        let request = api.request("POST", RESOURCES).content_type("application/json");
        assert_eq!(answer(request, json.to_string()).await.status, 200);
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
        let elsewhere = answer(request.content_type(FORM), form).await;
        assert_eq!(elsewhere.status, 409, "another pool");
    })
    .await;
}

#[actix_web::test]
async fn equal_names_of_two_services_are_two_instances() {
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
async fn a_create_without_something_is_400_and_names_it() {
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
        assert_eq!(api.get(M).await.status, 404, "nothing was made");
    })
    .await;
}

#[actix_web::test]
async fn odd_names_are_refused_at_create_and_unknown_everywhere_else() {
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
                ("PUT", path.clone(), "plan=small", 404),
                ("POST", format!("{path}/bind-app"), "app-name=a", 404),
                ("PUT", format!("{path}/binds/jobs/j"), "", 404),
                ("DELETE", format!("{path}/bind-app"), "app-name=a", 200),
                ("DELETE", format!("{path}/binds/jobs/j"), "", 200),
                ("DELETE", path, "", 200),
            ] {
                let answer = api.form(method, &path, form).await;
                assert_eq!(answer.status, status, "{method} {path} {}", answer.text);
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn an_update_changes_plan_and_parameters_and_leaves_what_is_not_named() {
    on_both(async |api| {
        api.created("m").await;
        let plan = async || {
            let info = api.get(M).await.json();
            let lines = info.as_array().unwrap();
            let line = lines.iter().find(|line| line["label"] == "Plan").unwrap();
            line["value"].as_str().unwrap().to_owned()
        };
        assert_eq!(plan().await, "fetch-app");
        let form = "description=&eventid=1&plan=large&tags=tier%3A1&team=checkout&user=u\
                    &parameters.limits.series=5";
        assert_eq!(api.put(M, form).await.status, 200);
        assert_eq!(plan().await, "large");
        assert_eq!(api.put(M, "description=d&plan=&team=checkout&tags=").await.status, 200);
        assert_eq!(plan().await, "large");
        assert_eq!(api.put(M, "").await.status, 200);
        let kept = api.broker.fetch(&"tsuru:metrics:m".parse().unwrap()).await.unwrap();
        assert_eq!(json!(kept.parameters), json!({"limits": {"series": 5}}));

        let team = api.put(M, "plan=large&team=other").await;
        assert_eq!(team.status, 422);
        assert!(team.text.contains("the team of a service instance"), "{}", team.text);
        let unknown = api.put(M, "plan=huge").await;
        assert_eq!(unknown.status, 400);
        assert!(unknown.text.contains("there are: fetch-app"), "{}", unknown.text);
        assert_eq!(api.put(M, "parameters.x=1").await.status, 400);
        assert_eq!(api.put("/metrics/resources/unknown", "plan=small").await.status, 404);
        assert_eq!(api.post("/other/resources", "name=m&team=t").await.status, 201);
        let fixed = api.put("/other/resources/m", "plan=small").await;
        assert_eq!(fixed.status, 422, "{}", fixed.text);
    })
    .await;
}

#[actix_web::test]
async fn a_delete_again_is_a_success() {
    on_both(async |api| {
        api.created("m").await;
        api.post(&format!("{M}/bind-app"), "app-name=shop&app-hosts=h").await;
        assert_eq!(api.put(&format!("{M}/binds/jobs/nightly"), "").await.status, 201);
        for form in ["eventid=1&user=u", "eventid=1&user=u", ""] {
            let deleted = api.delete(M, form).await;
            assert_eq!((deleted.status, &*deleted.text), (200, ""), "{form}");
        }
        assert_eq!(api.hosts("shop"), None, "bound apps and jobs went with it");
        assert!(api.broker.bound_apps().options_of("tsuru:shop").is_none());
        assert_eq!(api.get(&format!("{M}/status")).await.status, 404);
        api.created("m").await;
    })
    .await;
}

#[actix_web::test]
async fn info_is_labels_with_texts_and_status_is_up() {
    on_both(async |api| {
        assert_eq!(api.get(M).await.status, 404);
        assert_eq!(api.get(&format!("{M}/status")).await.status, 404);
        api.created("m").await;
        assert_eq!(
            api.get(M).await.json(),
            json!([
                {"label": "URL", "value": "https://metrics.example.com/v1/apps"},
                {"label": "Plan", "value": "fetch-app"},
                {"label": "State", "value": "ready"},
            ])
        );
        let status = api.get(&format!("{M}/status")).await;
        assert_eq!((status.status, &*status.text), (204, ""));
    })
    .await;
}

#[actix_web::test]
async fn what_has_left_the_catalog_can_be_removed() {
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
