//! Tests of the broker on SQLite and PostgreSQL.

mod bindings;
mod instances;
mod locks;
mod migration;
mod races;
mod store;

use super::*;
use crate::{
    domain::{BindingId, InstanceNames, SpaceGuid},
    store::testing::on_both,
};
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

/// Two services. The second plan of the first has a maintenance version and a parameter schema. The
/// third plan is not bindable and not updateable.
fn catalog() -> Catalog {
    let mut document: Value =
        serde_json::from_str(include_str!("../../broker-catalog.json")).unwrap();
    let service = &mut document["services"][0];
    service["id"] = json!("s");
    service["plans"][0]["id"] = json!("p");
    let mut sized = service["plans"][0].clone();
    sized["id"] = json!("sized");
    sized["name"] = json!("sized");
    sized["maintenance_info"] = json!({"version": "1.2.0"});
    let schema = json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"size": {"type": "integer"}, "color": {"type": "string"}},
        "additionalProperties": false,
    });
    sized["schemas"]["service_instance"] =
        json!({"create": {"parameters": schema}, "update": {"parameters": schema}});
    let mut fixed = service["plans"][0].clone();
    fixed["id"] = json!("fixed");
    fixed["name"] = json!("fixed");
    fixed["bindable"] = json!(false);
    fixed["plan_updateable"] = json!(false);
    fixed["binding_rotatable"] = json!(false);
    fixed["schemas"] = json!({});
    service["plans"].as_array_mut().unwrap().extend([sized, fixed]);
    let mut other = service.clone();
    other["id"] = json!("s2");
    other["name"] = json!("other");
    other["plans"] = json!([{"id": "p2", "name": "p2", "description": "d"}]);
    document["services"].as_array_mut().unwrap().push(other);
    Catalog::parse(&document, "http://x").unwrap()
}

fn key() -> SecretString {
    "a key that is long enough".into()
}

async fn broker(store: &Store) -> Broker {
    Broker::open(store.clone(), Some(&key()), catalog()).await.unwrap()
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn provision(id: &str) -> Provision {
    Provision {
        instance_id: id.parse().unwrap(),
        service_id: "s".parse().unwrap(),
        plan_id: "p".parse().unwrap(),
        organization_guid: "org".parse().unwrap(),
        space_guid: "space".parse().unwrap(),
        names: InstanceNames::default(),
        parameters: Map::new(),
        maintenance_version: None,
        accepts_incomplete: false,
    }
}

fn update(id: &str) -> Update {
    Update {
        instance_id: id.parse().unwrap(),
        service_id: "s".parse().unwrap(),
        plan_id: None,
        names: InstanceNames::default(),
        parameters: Map::new(),
        omitted_parameters: OmittedParameters::Keep,
        target_space: OrgSpace::default(),
        maintenance_version: None,
        previous_plan_id: None,
        org_space: OrgSpace::default(),
        accepts_incomplete: false,
    }
}

fn bind(instance: &str, id: &str, app: &str) -> Bind {
    Bind {
        replaces: false,
        instance_id: instance.parse().unwrap(),
        binding_id: id.parse().unwrap(),
        service_id: "s".parse().unwrap(),
        plan_id: "p".parse().unwrap(),
        app_guid: Some(app.parse().unwrap()),
        parameters: Map::new(),
        org_space: OrgSpace::default(),
        tsuru: None,
    }
}

fn rotate(instance: &str, id: &str, predecessor: &str) -> Rotate {
    Rotate {
        instance_id: instance.parse().unwrap(),
        binding_id: id.parse().unwrap(),
        predecessor_id: predecessor.parse().unwrap(),
    }
}

fn instance(id: &str) -> InstanceId {
    id.parse().unwrap()
}

fn binding(id: &str) -> BindingId {
    id.parse().unwrap()
}

/// Creates a binding, which must not exist yet.
async fn create_binding(broker: &Broker, request: Bind) -> Credentials {
    match broker.bind(request).await.unwrap() {
        Bound::Created(credentials) => credentials,
        Bound::AlreadyExists(_) => panic!("the binding exists already"),
    }
}

fn active_endpoint(broker: &Broker, app: &str) -> Option<String> {
    let active = broker.binding_table().binding_for(app)?;
    active.options.endpoint.as_ref().map(|path| path.as_str().to_owned())
}

/// The name of the variant.
fn name(error: &BrokerError) -> String {
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
}
