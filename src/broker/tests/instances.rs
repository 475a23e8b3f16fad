//! Service instances: OSB 2.17, sections "Provisioning", "Fetching a Service Instance", "Updating a
//! Service Instance" and "Deprovisioning".

use super::*;
use crate::{domain::OperationState, store::instances};

#[tokio::test]
async fn a_repeated_provision_is_recognized_and_a_different_one_is_a_conflict() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let first = Provision {
            plan_id: "sized".parse().unwrap(),
            parameters: map(json!({"size": 5})),
            ..provision("i")
        };
        assert_eq!(broker.provision(first.clone()).await.unwrap(), Provisioned::Created);
        assert_eq!(broker.provision(first.clone()).await.unwrap(), Provisioned::AlreadyExists);
        let renamed =
            InstanceNames { instance: Some("new name".to_owned()), ..InstanceNames::default() };
        let same = Provision { names: renamed, ..first.clone() };
        assert_eq!(broker.provision(same).await.unwrap(), Provisioned::AlreadyExists);

        let different = [
            Provision { service_id: "s2".parse().unwrap(), ..first.clone() },
            Provision { plan_id: "p".parse().unwrap(), ..first.clone() },
            Provision { plan_id: "no plan".parse().unwrap(), ..first.clone() },
            Provision { organization_guid: "other".parse().unwrap(), ..first.clone() },
            Provision { space_guid: "other".parse().unwrap(), ..first.clone() },
            Provision { parameters: map(json!({"size": 6})), ..first.clone() },
            Provision { parameters: map(json!({"no": "such"})), ..first.clone() },
            Provision { parameters: Map::new(), ..first },
        ];
        for request in different {
            let error = broker.provision(request.clone()).await.unwrap_err();
            assert!(matches!(error, BrokerError::InstanceConflict), "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_invalid_provision_stores_nothing() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let valid = provision("i");
        let version = |text: &str| Some(text.to_owned());
        let sized = Provision { plan_id: "sized".parse().unwrap(), ..valid.clone() };
        let fixed = Provision { plan_id: "fixed".parse().unwrap(), ..valid.clone() };
        let cases = [
            (Provision { service_id: "x".parse().unwrap(), ..valid.clone() }, "UnknownService"),
            (Provision { plan_id: "x".parse().unwrap(), ..valid.clone() }, "UnknownPlan"),
            (Provision { plan_id: "p2".parse().unwrap(), ..valid.clone() }, "UnknownPlan"),
            (Provision { parameters: map(json!({"a": 1})), ..valid.clone() }, "Parameter"),
            (Provision { parameters: map(json!({"a": 1})), ..fixed }, "NoParameters"),
            (Provision { parameters: map(json!({"size": "5"})), ..sized.clone() }, "Parameter"),
            (
                Provision { maintenance_version: version("Invalid"), ..valid },
                "MaintenanceInfoConflict",
            ),
            (
                Provision { maintenance_version: version("1.2.1"), ..sized },
                "MaintenanceInfoConflict",
            ),
        ];
        for (request, expected) in cases {
            let error = broker.provision(request.clone()).await.unwrap_err();
            assert_eq!(name(&error), expected, "{:?}", request.parameters);
        }
        let error = broker.deprovision(&instance("i")).await.unwrap_err();
        assert!(matches!(error, BrokerError::InstanceGone), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_fetched_instance_reflects_its_provision_and_updates() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let unknown = broker.fetch(&instance("i")).await.unwrap_err();
        assert!(matches!(unknown, BrokerError::InstanceUnknown), "{unknown:?}");
        broker
            .provision(Provision {
                plan_id: "sized".parse().unwrap(),
                parameters: map(json!({"size": 5})),
                ..provision("i")
            })
            .await
            .unwrap();
        let fetched = async || broker.fetch(&instance("i")).await.unwrap();
        let stored = async || {
            let mut tx = store.begin_read().await.unwrap();
            let stored = instances::find(&mut tx, &instance("i")).await.unwrap().unwrap();
            broker.parameters_of(&stored).unwrap()
        };
        assert_eq!(fetched().await.maintenance_version, None);
        assert_eq!(fetched().await.parameters, Map::new(), "it may be a secret");

        // Cloud Controller sends `{}` when its user gave no parameters.
        broker.update(update("i")).await.unwrap();
        assert_eq!(stored().await, map(json!({"size": 5})));
        let request = Update {
            parameters: map(json!({"color": "red"})),
            maintenance_version: Some("1.2.0".to_owned()),
            ..update("i")
        };
        broker.update(request).await.unwrap();
        assert_eq!(stored().await, map(json!({"size": 5, "color": "red"})));
        assert_eq!(fetched().await.maintenance_version.as_deref(), Some("1.2.0"));

        broker.update(Update { plan_id: Some("p".parse().unwrap()), ..update("i") }).await.unwrap();
        assert_eq!(fetched().await.plan_id.as_str(), "p");
        let to_fixed = Update { plan_id: Some("fixed".parse().unwrap()), ..update("i") };
        broker.update(to_fixed.clone()).await.unwrap();
        broker.update(to_fixed).await.unwrap();
        let leave = Update { plan_id: Some("p".parse().unwrap()), ..update("i") };
        let error = broker.update(leave).await.unwrap_err();
        assert!(matches!(error, BrokerError::PlanNotUpdateable), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn an_invalid_update_changes_nothing() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let valid = update("i");
        let cases = [
            (update("unknown"), "InstanceUnknown"),
            (Update { service_id: "x".parse().unwrap(), ..valid.clone() }, "UnknownService"),
            (Update { service_id: "s2".parse().unwrap(), ..valid.clone() }, "OtherService"),
            (Update { plan_id: Some("x".parse().unwrap()), ..valid.clone() }, "UnknownPlan"),
            (Update { parameters: map(json!({"a": 1})), ..valid.clone() }, "Parameter"),
            (
                Update { maintenance_version: Some("9.9.9".to_owned()), ..valid },
                "MaintenanceInfoConflict",
            ),
        ];
        let before = broker.fetch(&instance("i")).await.unwrap();
        for (request, expected) in cases {
            let error = broker.update(request.clone()).await.unwrap_err();
            assert_eq!(name(&error), expected, "{:?}", request.parameters);
        }
        assert_eq!(broker.fetch(&instance("i")).await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn the_last_operation_on_an_existing_instance_or_binding_has_succeeded() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let (i, b) = (instance("i"), binding("b"));
        let unknown = broker.last_operation(&i, None).await.unwrap_err();
        assert!(matches!(unknown, BrokerError::InstanceUnknown), "{unknown:?}");
        broker.provision(provision("i")).await.unwrap();
        let last = broker.last_operation(&i, None).await.unwrap();
        assert_eq!((last.kind, last.state), (None, OperationState::Succeeded));
        let unknown = broker.last_operation(&i, Some(&b)).await.unwrap_err();
        assert!(matches!(unknown, BrokerError::BindingUnknown), "{unknown:?}");
        create_binding(&broker, bind("i", "b", "app")).await;
        let last = broker.last_operation(&i, Some(&b)).await.unwrap();
        assert_eq!((last.kind, last.state), (None, OperationState::Succeeded));
    })
    .await;
}

#[tokio::test]
async fn instances_of_removed_plans_can_be_used_and_deleted() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        create_binding(&broker, bind("i", "b", "app")).await;
        let mut document = catalog().document().clone();
        document["services"].as_array_mut().unwrap().remove(0);
        broker.replace_catalog(Catalog::parse(&document, "").unwrap());

        let again = broker.provision(provision("i")).await.unwrap();
        assert_eq!(again, Provisioned::AlreadyExists);
        let again = broker.bind(bind("i", "b", "app")).await.unwrap();
        assert!(matches!(again, Bound::AlreadyExists(_)), "{again:?}");
        let error = broker.bind(bind("i", "b2", "app")).await.unwrap_err();
        assert!(matches!(error, BrokerError::UnknownService), "{error:?}");
        let error = broker.provision(provision("j")).await.unwrap_err();
        assert!(matches!(error, BrokerError::UnknownService), "{error:?}");
        assert!(broker.binding_table().binding_for("app").is_some());
        broker.unbind(&instance("i"), &binding("b")).await.unwrap();
        broker.deprovision(&instance("i")).await.unwrap();
    })
    .await;
}
