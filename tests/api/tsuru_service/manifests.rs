//! The files in `deploy/tsuru` match the program.

use super::client::*;
use scrapebroker::config::Config;
use serde_json::Value;
use std::fs;
use yaml_rust2::{Yaml, YamlLoader};

fn read(name: &str) -> String {
    fs::read_to_string(format!("{}/deploy/tsuru/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn yaml(name: &str) -> Yaml {
    YamlLoader::load_from_str(&read(name)).unwrap().remove(0)
}

#[test]
fn each_service_of_the_shipped_catalog_has_a_manifest() {
    let catalog: Value =
        serde_json::from_str(include_str!("../../../broker-catalog.json")).unwrap();
    for service in catalog["services"].as_array().unwrap() {
        let name = service["name"].as_str().unwrap();
        let manifest = yaml(&format!("{name}.yaml"));
        assert_eq!(manifest["id"].as_str(), Some(name));
        assert_eq!(
            manifest["username"].as_str(),
            Some(name),
            "valid together with broker.password"
        );
        assert!(manifest["password"].as_str().is_some());
        assert!(manifest["team"].as_str().is_some());
        let endpoint = manifest["endpoint"]["production"].as_str().unwrap();
        assert!(endpoint.ends_with(&format!("/tsuru/{name}")), "{endpoint}");
    }
}

#[test]
fn the_program_can_be_deployed_as_a_tsuru_app() {
    let procfile = read("Procfile");
    assert_eq!(procfile.trim(), "web: ./scrapebroker serve");
    assert_eq!(yaml("tsuru.yml")["healthcheck"]["path"].as_str(), Some("/-/ready"));
    let environment = [("PORT", "8888"), ("TSURU_APPNAME", "scrapebroker")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::load(None, environment).unwrap();
    assert_eq!(config.listen[0].port(), 8888);
}

/// Adds parameters to a form in the encoding of Tsuru.
fn flatten(path: &str, value: &Value, form: &mut url::form_urlencoded::Serializer<'_, String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, form));
        }
        value => drop(form.append_pair(path, value.as_str().unwrap())),
    }
}

#[actix_web::test]
async fn the_documented_call_binds_with_an_endpoint_and_labels() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, call) = docs.split_once("/1.0/services/metrics/instances/shop-metrics/shop").unwrap();
    let (_, body) = call.split_once("--data '").unwrap();
    let body: Value = serde_json::from_str(body.split_once('\'').unwrap().0).unwrap();
    let mut form = url::form_urlencoded::Serializer::new("app-name=shop".to_owned());
    flatten("parameters", &body["parameters"], &mut form);
    let form = form.finish();
    on_sqlite(async |api| {
        api.created("shop-metrics").await;
        let bound = api.post("/metrics/resources/shop-metrics/bind-app", &form).await;
        assert_eq!(bound.status, 201, "{form} {}", bound.text);
        assert_eq!(api.endpoint("tsuru:shop").as_deref(), Some("/internal/metrics"));
        let active_binding = api.broker.binding_table().binding_for("tsuru:shop").unwrap();
        assert_eq!(active_binding.options.labels["tier"], "1");
    })
    .await;
}
