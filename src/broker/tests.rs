use super::*;
use crate::{
    domain::{BindingId, SpaceGuid},
    store::{Names, testing::on_both},
};
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

/// Two services; the second plan of the first has a maintenance version and parameters of its
/// own, the third cannot be left or bound.
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
        names: Names::default(),
        parameters: Map::new(),
        maintenance_version: None,
    }
}

fn update(id: &str) -> Update {
    Update {
        instance_id: id.parse().unwrap(),
        service_id: "s".parse().unwrap(),
        plan_id: None,
        names: Names::default(),
        parameters: Map::new(),
        maintenance_version: None,
    }
}

fn bind(instance: &str, id: &str, app: &str) -> Bind {
    Bind {
        instance_id: instance.parse().unwrap(),
        binding_id: id.parse().unwrap(),
        service_id: "s".parse().unwrap(),
        plan_id: "p".parse().unwrap(),
        app_guid: Some(app.parse().unwrap()),
        parameters: Map::new(),
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

/// The credentials of a binding that had to be made.
async fn made(broker: &Broker, request: Bind) -> Credentials {
    match broker.bind(request).await.unwrap() {
        Bound::Created(credentials) => credentials,
        Bound::AlreadyExists(_) => panic!("it was there before"),
    }
}

fn endpoint_in_force(broker: &Broker, app: &str) -> Option<String> {
    let in_force = broker.bound_apps().options_of(app)?;
    in_force.options.endpoint.as_ref().map(|path| path.as_str().to_owned())
}

/// The variant's name, for tables.
fn name(error: &BrokerError) -> String {
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
}

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
        let renamed = Names { instance: Some("new name".to_owned()), ..Names::default() };
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
            assert!(matches!(error, BrokerError::InstanceConflict), "{request:?}: {error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_provision_that_makes_no_sense_leaves_nothing_behind() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let good = provision("i");
        let version = |text: &str| Some(text.to_owned());
        let sized = Provision { plan_id: "sized".parse().unwrap(), ..good.clone() };
        let fixed = Provision { plan_id: "fixed".parse().unwrap(), ..good.clone() };
        let cases = [
            (Provision { service_id: "x".parse().unwrap(), ..good.clone() }, "UnknownService"),
            (Provision { plan_id: "x".parse().unwrap(), ..good.clone() }, "UnknownPlan"),
            (Provision { plan_id: "p2".parse().unwrap(), ..good.clone() }, "UnknownPlan"),
            (Provision { parameters: map(json!({"a": 1})), ..good.clone() }, "Parameter"),
            (Provision { parameters: map(json!({"a": 1})), ..fixed }, "NoParameters"),
            (Provision { parameters: map(json!({"size": "5"})), ..sized.clone() }, "Parameter"),
            (
                Provision { maintenance_version: version("Invalid"), ..good },
                "MaintenanceInfoConflict",
            ),
            (
                Provision { maintenance_version: version("1.2.1"), ..sized },
                "MaintenanceInfoConflict",
            ),
        ];
        for (request, expected) in cases {
            let error = broker.provision(request.clone()).await.unwrap_err();
            assert_eq!(name(&error), expected, "{request:?}");
        }
        let error = broker.deprovision(&instance("i")).await.unwrap_err();
        assert!(matches!(error, BrokerError::InstanceGone), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_shown_as_it_was_made_and_updated() {
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
        assert_eq!(fetched().await.maintenance_version, None);

        // Cloud Controller sends `{}` when its user gave no parameters.
        broker.update(update("i")).await.unwrap();
        assert_eq!(fetched().await.parameters, map(json!({"size": 5})));
        let request = Update {
            parameters: map(json!({"color": "red"})),
            maintenance_version: Some("1.2.0".to_owned()),
            ..update("i")
        };
        broker.update(request).await.unwrap();
        assert_eq!(fetched().await.parameters, map(json!({"size": 5, "color": "red"})));
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
async fn an_update_that_makes_no_sense_changes_nothing() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let good = update("i");
        let cases = [
            (update("unknown"), "InstanceUnknown"),
            (Update { service_id: "x".parse().unwrap(), ..good.clone() }, "UnknownService"),
            (Update { service_id: "s2".parse().unwrap(), ..good.clone() }, "OtherService"),
            (Update { plan_id: Some("x".parse().unwrap()), ..good.clone() }, "UnknownPlan"),
            (Update { parameters: map(json!({"a": 1})), ..good.clone() }, "Parameter"),
            (
                Update { maintenance_version: Some("9.9.9".to_owned()), ..good },
                "MaintenanceInfoConflict",
            ),
        ];
        let before = broker.fetch(&instance("i")).await.unwrap();
        for (request, expected) in cases {
            let error = broker.update(request.clone()).await.unwrap_err();
            assert_eq!(name(&error), expected, "{request:?}");
        }
        assert_eq!(broker.fetch(&instance("i")).await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_bind_is_recognized_and_a_different_one_is_a_conflict() {
    on_both(async |store| {
        let broker = broker(&store).await;
        for id in ["i", "j"] {
            broker.provision(provision(id)).await.unwrap();
        }
        let parameters = map(json!({"endpoint": "/a", "headers": {"X-Key": "k"}}));
        let first = Bind { parameters, ..bind("i", "b", "app") };
        let credentials = made(&broker, first.clone()).await;
        let Bound::AlreadyExists(again) = broker.bind(first.clone()).await.unwrap() else {
            panic!("it was made twice");
        };
        assert_eq!(again.token.expose_secret(), credentials.token.expose_secret());

        let different = [
            Bind { instance_id: "j".parse().unwrap(), ..first.clone() },
            Bind { instance_id: "unknown".parse().unwrap(), ..first.clone() },
            Bind { service_id: "s2".parse().unwrap(), ..first.clone() },
            Bind { plan_id: "sized".parse().unwrap(), ..first.clone() },
            Bind { plan_id: "no plan".parse().unwrap(), ..first.clone() },
            Bind { app_guid: Some("other".parse().unwrap()), ..first.clone() },
            Bind { app_guid: None, ..first.clone() },
            Bind { parameters: Map::new(), ..first },
        ];
        for request in different {
            let error = broker.bind(request.clone()).await.unwrap_err();
            assert!(matches!(error, BrokerError::BindingConflict), "{request:?}: {error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_bind_that_makes_no_sense_leaves_nothing_behind() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let fixed = Provision { plan_id: "fixed".parse().unwrap(), ..provision("fixed") };
        broker.provision(fixed).await.unwrap();
        let good = bind("i", "b", "app");
        let parameters = |value| map(value);
        let cases = [
            (bind("unknown", "b", "app"), "InstanceUnknown"),
            (Bind { service_id: "x".parse().unwrap(), ..good.clone() }, "UnknownService"),
            (Bind { plan_id: "x".parse().unwrap(), ..good.clone() }, "UnknownPlan"),
            (Bind { plan_id: "sized".parse().unwrap(), ..good.clone() }, "OtherPlan"),
            (
                Bind {
                    service_id: "s2".parse().unwrap(),
                    plan_id: "p2".parse().unwrap(),
                    ..good.clone()
                },
                "OtherService",
            ),
            (
                Bind { plan_id: "fixed".parse().unwrap(), ..bind("fixed", "b", "app") },
                "NotBindable",
            ),
            (
                Bind { parameters: parameters(json!({"metrics_path": "/"})), ..good.clone() },
                "Parameter",
            ),
            (
                Bind { parameters: parameters(json!({"headers": {"Host": "x"}})), ..good.clone() },
                "Parameter",
            ),
            (
                Bind { app_guid: None, parameters: parameters(json!({"endpoint": "/"})), ..good },
                "NoKeyParameters",
            ),
        ];
        for (request, expected) in cases {
            let error = broker.bind(request.clone()).await.unwrap_err();
            assert_eq!(name(&error), expected, "{request:?}");
        }
        let error = broker.unbind(&instance("i"), &binding("b")).await.unwrap_err();
        assert!(matches!(error, BrokerError::BindingGone), "{error:?}");
        assert!(broker.bound_apps().options_of("app").is_none());
    })
    .await;
}

#[tokio::test]
async fn the_newest_binding_of_an_app_is_in_force_and_its_removal_brings_the_one_before_back() {
    on_both(async |store| {
        let broker = broker(&store).await;
        for id in ["i", "j"] {
            broker.provision(provision(id)).await.unwrap();
        }
        assert!(broker.bound_apps().options_of("app").is_none());
        for (instance, id, path) in [("i", "b1", "/1"), ("j", "b2", "/2"), ("i", "b3", "/3")] {
            let parameters = map(json!({"endpoint": path}));
            made(&broker, Bind { parameters, ..bind(instance, id, "app") }).await;
            assert_eq!(endpoint_in_force(&broker, "app").as_deref(), Some(path));
        }
        broker.unbind(&instance("i"), &binding("b3")).await.unwrap();
        assert_eq!(endpoint_in_force(&broker, "app").as_deref(), Some("/2"));
        broker.unbind(&instance("i"), &binding("b1")).await.unwrap();
        assert_eq!(endpoint_in_force(&broker, "app").as_deref(), Some("/2"));
        broker.deprovision(&instance("j")).await.unwrap();
        assert!(broker.bound_apps().options_of("app").is_none());
    })
    .await;
}

#[tokio::test]
async fn a_token_is_known_while_its_binding_exists_and_means_its_app_or_space() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let app = made(&broker, bind("i", "b", "app")).await;
        let key = made(&broker, Bind { app_guid: None, ..bind("i", "k", "app") }).await;
        let space: SpaceGuid = "space".parse().unwrap();
        let scope = |credentials: &Credentials| {
            broker.bound_apps().scope_of_token(credentials.token.expose_secret())
        };
        assert_eq!(scope(&app), Some(Scope::App("app".parse().unwrap())));
        assert_eq!(scope(&key), Some(Scope::Space(space)));
        assert_eq!((&app.scope, &key.scope), (&scope(&app).unwrap(), &scope(&key).unwrap()));
        assert_eq!(broker.bound_apps().scope_of_token("sbt_guess"), None);
        assert_eq!(broker.bound_apps().scope_of_token("an app's own token"), None);
        broker.unbind(&instance("i"), &binding("b")).await.unwrap();
        assert_eq!(scope(&app), None);
        assert!(scope(&key).is_some());
    })
    .await;
}

#[tokio::test]
async fn a_binding_is_shown_with_its_credentials_and_without_its_secrets() {
    on_both(async |store| {
        let broker = broker(&store).await;
        for id in ["i", "j"] {
            broker.provision(provision(id)).await.unwrap();
        }
        let parameters = map(json!({"endpoint": "/a", "bearer_token": "hunter2"}));
        let credentials = made(&broker, Bind { parameters, ..bind("i", "b", "app") }).await;
        let fetched = broker.fetch_binding(&instance("i"), &binding("b")).await.unwrap();
        assert_eq!(fetched.parameters, map(json!({"endpoint": "/a"})));
        let (shown, given) = (&fetched.credentials.token, &credentials.token);
        assert_eq!(shown.expose_secret(), given.expose_secret());
        for (other, id) in [("j", "b"), ("i", "c")] {
            let error = broker.fetch_binding(&instance(other), &binding(id)).await.unwrap_err();
            assert!(matches!(error, BrokerError::BindingUnknown), "{error:?}");
            let error = broker.unbind(&instance(other), &binding(id)).await.unwrap_err();
            assert!(matches!(error, BrokerError::BindingGone), "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_rotated_binding_is_like_its_predecessor_and_outlives_it() {
    on_both(async |store| {
        let broker = broker(&store).await;
        for id in ["i", "j"] {
            broker.provision(provision(id)).await.unwrap();
        }
        let parameters = map(json!({"endpoint": "/a"}));
        let old = made(&broker, Bind { parameters, ..bind("i", "old", "app") }).await;
        let Bound::Created(new) = broker.rotate(rotate("i", "new", "old")).await.unwrap() else {
            panic!("it was there before");
        };
        assert_ne!(new.token.expose_secret(), old.token.expose_secret());
        assert_eq!(new.scope, old.scope);
        let known = |token: &SecretString| {
            broker.bound_apps().scope_of_token(token.expose_secret()).is_some()
        };
        assert!(known(&old.token) && known(&new.token));
        broker.unbind(&instance("i"), &binding("old")).await.unwrap();
        assert!(!known(&old.token) && known(&new.token));
        assert_eq!(endpoint_in_force(&broker, "app").as_deref(), Some("/a"));
        // Repeated after its predecessor has gone, as a platform does after a timeout.
        let again = broker.rotate(rotate("i", "new", "old")).await.unwrap();
        assert!(matches!(again, Bound::AlreadyExists(_)), "{again:?}");

        for (request, expected) in [
            (rotate("i", "new", "other"), "BindingConflict"),
            (rotate("j", "new", "old"), "BindingConflict"),
            (rotate("i", "newer", "old"), "PredecessorUnknown"),
            (rotate("j", "newer", "new"), "PredecessorUnknown"),
            (rotate("unknown", "newer", "new"), "InstanceUnknown"),
        ] {
            let error = broker.rotate(request.clone()).await.unwrap_err();
            assert_eq!(name(&error), expected, "{request:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_operation_on_what_is_there_has_succeeded() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let (i, b) = (instance("i"), binding("b"));
        let unknown = broker.last_operation(&i, None).await.unwrap_err();
        assert!(matches!(unknown, BrokerError::InstanceUnknown), "{unknown:?}");
        broker.provision(provision("i")).await.unwrap();
        assert_eq!(broker.last_operation(&i, None).await.unwrap(), LastOperation::Succeeded);
        let unknown = broker.last_operation(&i, Some(&b)).await.unwrap_err();
        assert!(matches!(unknown, BrokerError::BindingUnknown), "{unknown:?}");
        made(&broker, bind("i", "b", "app")).await;
        assert_eq!(broker.last_operation(&i, Some(&b)).await.unwrap(), LastOperation::Succeeded);
    })
    .await;
}

#[tokio::test]
async fn what_has_left_the_catalog_can_still_be_used_and_removed() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        made(&broker, bind("i", "b", "app")).await;
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
        assert!(broker.bound_apps().options_of("app").is_some());
        broker.unbind(&instance("i"), &binding("b")).await.unwrap();
        broker.deprovision(&instance("i")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_creates() {
    on_both(async |store| {
        // Two brokers on one store are two replicas: only the database is between them.
        let replicas = [broker(&store).await, broker(&store).await];
        let provisioned = join_all(
            (0..50).map(async |n: usize| replicas[n % 2].provision(provision("i")).await.unwrap()),
        )
        .await;
        let created = |outcome: &&Provisioned| **outcome == Provisioned::Created;
        assert_eq!(provisioned.iter().filter(created).count(), 1);

        let bound = join_all(
            (0..50)
                .map(async |n: usize| replicas[n % 2].bind(bind("i", "b", "app")).await.unwrap()),
        )
        .await;
        let created = |outcome: &&Bound| matches!(outcome, Bound::Created(_));
        assert_eq!(bound.iter().filter(created).count(), 1);

        // One binding id, claimed for two instances at once: one gets it, one is told so.
        replicas[0].provision(provision("j")).await.unwrap();
        let [first, second] = &replicas;
        let (a, b) = tokio::join!(
            first.bind(bind("i", "contested", "app")),
            second.bind(bind("j", "contested", "app"))
        );
        let outcomes = [a, b].map(|outcome| outcome.err().map(|error| name(&error)));
        assert!(outcomes.contains(&None), "{outcomes:?}");
        assert!(outcomes.contains(&Some("BindingConflict".to_owned())), "{outcomes:?}");
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_comes_after_a_put_finds_what_the_put_did() {
    on_both(async |store| {
        let (broker, id) = (broker(&store).await, instance("i"));
        for _ in 0..20 {
            // Polled in this order, so the DELETE arrives while the PUT is being served.
            let (put, deleted) = tokio::join!(
                biased;
                broker.provision(provision("i")),
                broker.deprovision(&id)
            );
            assert_eq!(put.unwrap(), Provisioned::Created);
            deleted.unwrap();
        }
        let gone = broker.fetch(&instance("i")).await.unwrap_err();
        assert!(matches!(gone, BrokerError::InstanceUnknown), "{gone:?}");
    })
    .await;
}

#[tokio::test]
async fn puts_and_deletes_of_two_replicas_end_in_a_state_that_fits_the_answers() {
    on_both(async |store| {
        let replicas = [broker(&store).await, broker(&store).await];
        let (mut made, mut gone) = (0, 0);
        for _ in 0..20 {
            let answers = join_all((0..4).map(async |n: usize| {
                let broker = &replicas[n % 2];
                match n < 2 {
                    true => {
                        let outcome = broker.provision(provision("i")).await.unwrap();
                        i32::from(outcome == Provisioned::Created)
                    }
                    false => match broker.deprovision(&instance("i")).await {
                        Ok(()) => -1,
                        Err(BrokerError::InstanceGone) => 0,
                        Err(error) => panic!("{error:?}"),
                    },
                }
            }))
            .await;
            made += answers.iter().filter(|answer| **answer == 1).count();
            gone += answers.iter().filter(|answer| **answer == -1).count();
        }
        let left = usize::from(replicas[0].fetch(&instance("i")).await.is_ok());
        assert_eq!(made - gone, left, "made {made}, gone {gone}");
    })
    .await;
}

#[tokio::test]
async fn another_replica_learns_of_a_binding_and_of_its_end() {
    on_both(async |store| {
        let (here, there) = (broker(&store).await, broker(&store).await);
        let shutdown = CancellationToken::new();
        let every = Duration::from_millis(5);
        let loop_there = tokio::spawn(there.clone().keep_current(every, shutdown.clone()));
        here.provision(provision("i")).await.unwrap();
        made(&here, bind("i", "b", "app")).await;
        let until = async |bound: bool| {
            while there.bound_apps().options_of("app").is_some() != bound {
                tokio::time::sleep(every).await;
            }
        };
        until(true).await;
        here.unbind(&instance("i"), &binding("b")).await.unwrap();
        until(false).await;
        shutdown.cancel();
        loop_there.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_binding_that_cannot_be_read_costs_nobody_elses() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        for (id, app) in [("b1", "app"), ("b2", "app"), ("b3", "other")] {
            let parameters = map(json!({"endpoint": format!("/{id}")}));
            made(&broker, Bind { parameters, ..bind("i", id, app) }).await;
        }
        // What belongs to one binding does not open as another's.
        let mut tx = store.begin_write().await.unwrap();
        let mut damaged =
            crate::store::bindings::find(&mut tx, &binding("b2")).await.unwrap().unwrap();
        crate::store::bindings::delete(&mut tx, &binding("b2")).await.unwrap();
        damaged.parameters = "damaged".to_owned();
        assert!(crate::store::bindings::insert(&mut tx, &damaged).await.unwrap());
        tx.commit().await.unwrap();

        broker.refresh().await.unwrap();
        assert_eq!(endpoint_in_force(&broker, "app").as_deref(), Some("/b1"));
        assert_eq!(endpoint_in_force(&broker, "other").as_deref(), Some("/b3"));
        broker.unbind(&instance("i"), &binding("b2")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_store_is_refused_with_another_key_than_the_one_it_was_used_with() {
    on_both(async |store| {
        broker(&store).await.provision(provision("i")).await.unwrap();
        let other = "another key that is long enough".into();
        let error = Broker::open(store.clone(), Some(&other), catalog()).await.unwrap_err();
        assert!(matches!(error, OpenError::Store(StoreError::KeyChanged)), "{error:?}");
        assert!(error.to_string().contains("broker.token_key"), "{error}");
        broker(&store).await;
        // Without a configured key, SQLite has a file for it, which was never made here.
        let error = Broker::open(store, None, catalog()).await.unwrap_err();
        assert!(matches!(error, OpenError::TokenKey(_)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn with_sqlite_the_key_is_made_once_and_kept_beside_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let url = SecretString::from(format!("sqlite://{}", dir.path().join("test.db").display()));
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let store = Store::open(&url, 2).await.unwrap();
        let broker = Broker::open(store.clone(), None, catalog()).await.unwrap();
        broker.provision(provision("i")).await.unwrap();
        let (Bound::Created(credentials) | Bound::AlreadyExists(credentials)) =
            broker.bind(bind("i", "b", "app")).await.unwrap();
        tokens.push(credentials.token.expose_secret().to_owned());
        store.close().await;
    }
    assert_eq!(tokens[0], tokens[1]);
    assert!(dir.path().join("test.db.token-key").exists());
}

#[tokio::test]
async fn while_the_database_is_away_bindings_stay_in_force_and_changes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let store = Store::open(&format!("sqlite://{}", path.display()).into(), 2).await.unwrap();
    let broker = broker(&store).await;
    broker.provision(provision("i")).await.unwrap();
    made(&broker, bind("i", "b", "app")).await;
    let away = dir.path().join("away.db");
    std::fs::rename(&path, &away).unwrap();
    let error = broker.unbind(&instance("i"), &binding("b")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(StoreError::Unavailable { .. })), "{error:?}");
    assert!(broker.refresh().await.is_err());
    assert!(broker.bound_apps().options_of("app").is_some());
    std::fs::rename(&away, &path).unwrap();
    broker.unbind(&instance("i"), &binding("b")).await.unwrap();
    assert!(broker.bound_apps().options_of("app").is_none());

    // Another file with as many changes is another store all the same.
    made(&broker, bind("i", "b", "app")).await;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    broker.provision(provision("i")).await.unwrap();
    assert!(broker.bound_apps().options_of("app").is_none());
}

#[tokio::test]
async fn no_secret_reaches_the_database_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let store = Store::open(&format!("sqlite://{}", path.display()).into(), 2).await.unwrap();
    let broker = broker(&store).await;
    broker.provision(provision("i")).await.unwrap();
    let parameters = map(json!({"headers": {"X-Key": "hunter2"}, "endpoint": "/findme"}));
    let credentials = made(&broker, Bind { parameters, ..bind("i", "findthisid", "app") }).await;
    store.close().await;
    let bytes = std::fs::read(&path).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("findthisid"));
    for secret in ["hunter2", "/findme", credentials.token.expose_secret()] {
        assert!(!holds(secret), "{secret}");
    }
}
