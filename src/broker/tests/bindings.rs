//! Service bindings: OSB 2.17, sections "Binding", "Binding Rotation", "Fetching a Service Binding"
//! and "Unbinding".

use super::*;

#[tokio::test]
async fn a_repeated_bind_is_recognized_and_a_different_one_is_a_conflict() {
    on_both(async |store| {
        let broker = broker(&store).await;
        for id in ["i", "j"] {
            broker.provision(provision(id)).await.unwrap();
        }
        let parameters = map(json!({"endpoint": "/a", "headers": {"X-Key": "k"}}));
        let first = Bind { parameters, ..bind("i", "b", "app") };
        let credentials = create_binding(&broker, first.clone()).await;
        let Bound::AlreadyExists(again) = broker.bind(first.clone()).await.unwrap() else {
            panic!("it was created twice");
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
        for (index, request) in different.into_iter().enumerate() {
            let error = broker.bind(request).await.unwrap_err();
            assert!(matches!(error, BrokerError::BindingConflict), "case {index}: {error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_decrypts_no_other_binding() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let at = |path: &str, id: &str, app: &str| Bind {
            parameters: map(json!({ "endpoint": path })),
            ..bind("i", id, app)
        };
        create_binding(&broker, at("/a", "a", "app-a")).await;
        create_binding(&broker, at("/b", "b", "app-b")).await;
        let table = broker.binding_table();
        let [a, b] = ["app-a", "app-b"].map(|app| table.binding_for(app).unwrap());

        broker.unbind(&instance("i"), &binding("b")).await.unwrap();
        create_binding(&broker, at("/other", "b", "app-b")).await;
        assert!(Arc::ptr_eq(&a, &table.binding_for("app-a").unwrap()));
        assert!(!Arc::ptr_eq(&b, &table.binding_for("app-b").unwrap()));
        assert_eq!(active_endpoint(&broker, "app-b").unwrap(), "/other");
    })
    .await;
}

#[tokio::test]
async fn an_invalid_bind_stores_nothing() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let fixed = Provision { plan_id: "fixed".parse().unwrap(), ..provision("fixed") };
        broker.provision(fixed).await.unwrap();
        let valid = bind("i", "b", "app");
        let parameters = |value| map(value);
        let cases = [
            (bind("unknown", "b", "app"), "InstanceUnknown"),
            (Bind { service_id: "x".parse().unwrap(), ..valid.clone() }, "UnknownService"),
            (Bind { plan_id: "x".parse().unwrap(), ..valid.clone() }, "UnknownPlan"),
            (Bind { plan_id: "sized".parse().unwrap(), ..valid.clone() }, "OtherPlan"),
            (
                Bind {
                    service_id: "s2".parse().unwrap(),
                    plan_id: "p2".parse().unwrap(),
                    ..valid.clone()
                },
                "OtherService",
            ),
            (
                Bind { plan_id: "fixed".parse().unwrap(), ..bind("fixed", "b", "app") },
                "NotBindable",
            ),
            (
                Bind { parameters: parameters(json!({"metrics_path": "/"})), ..valid.clone() },
                "Parameter",
            ),
            (
                Bind { parameters: parameters(json!({"headers": {"Host": "x"}})), ..valid.clone() },
                "Parameter",
            ),
            (
                Bind { app_guid: None, parameters: parameters(json!({"endpoint": "/"})), ..valid },
                "NoKeyParameters",
            ),
        ];
        for (index, (request, expected)) in cases.into_iter().enumerate() {
            let error = broker.bind(request).await.unwrap_err();
            assert_eq!(name(&error), expected, "case {index}");
        }
        let error = broker.unbind(&instance("i"), &binding("b")).await.unwrap_err();
        assert!(matches!(error, BrokerError::BindingGone), "{error:?}");
        assert!(broker.binding_table().binding_for("app").is_none());
    })
    .await;
}

#[tokio::test]
async fn the_newest_binding_of_an_app_is_active_and_its_deletion_activates_the_previous_one() {
    on_both(async |store| {
        let broker = broker(&store).await;
        for id in ["i", "j"] {
            broker.provision(provision(id)).await.unwrap();
        }
        assert!(broker.binding_table().binding_for("app").is_none());
        for (instance, id, path) in [("i", "b1", "/1"), ("j", "b2", "/2"), ("i", "b3", "/3")] {
            let parameters = map(json!({"endpoint": path}));
            create_binding(&broker, Bind { parameters, ..bind(instance, id, "app") }).await;
            assert_eq!(active_endpoint(&broker, "app").as_deref(), Some(path));
        }
        broker.unbind(&instance("i"), &binding("b3")).await.unwrap();
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/2"));
        broker.unbind(&instance("i"), &binding("b1")).await.unwrap();
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/2"));
        broker.deprovision(&instance("j")).await.unwrap();
        assert!(broker.binding_table().binding_for("app").is_none());
    })
    .await;
}

#[tokio::test]
async fn a_token_is_valid_while_its_binding_exists_and_covers_its_app_or_space() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let app = create_binding(&broker, bind("i", "b", "app")).await;
        let key = create_binding(&broker, Bind { app_guid: None, ..bind("i", "k", "app") }).await;
        let space: SpaceGuid = "space".parse().unwrap();
        let scope = |credentials: &Credentials| {
            broker.binding_table().scope_of_token(credentials.token.expose_secret())
        };
        assert_eq!(scope(&app), Some(Scope::App("app".parse().unwrap())));
        assert_eq!(scope(&key), Some(Scope::Space(space)));
        assert_eq!((&app.scope, &key.scope), (&scope(&app).unwrap(), &scope(&key).unwrap()));
        assert_eq!(broker.binding_table().scope_of_token("sbt_guess"), None);
        assert_eq!(broker.binding_table().scope_of_token("an app's own token"), None);
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
        let credentials =
            create_binding(&broker, Bind { parameters, ..bind("i", "b", "app") }).await;
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
async fn a_rotated_binding_copies_its_predecessor_and_outlives_it() {
    on_both(async |store| {
        let broker = broker(&store).await;
        for id in ["i", "j"] {
            broker.provision(provision(id)).await.unwrap();
        }
        let parameters = map(json!({"endpoint": "/a"}));
        let old = create_binding(&broker, Bind { parameters, ..bind("i", "old", "app") }).await;
        let Bound::Created(new) = broker.rotate(rotate("i", "new", "old")).await.unwrap() else {
            panic!("the binding exists already");
        };
        assert_ne!(new.token.expose_secret(), old.token.expose_secret());
        assert_eq!(new.scope, old.scope);
        let known = |token: &SecretString| {
            broker.binding_table().scope_of_token(token.expose_secret()).is_some()
        };
        assert!(known(&old.token) && known(&new.token));
        broker.unbind(&instance("i"), &binding("old")).await.unwrap();
        assert!(!known(&old.token) && known(&new.token));
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/a"));
        // A platform repeats the request after a timeout, also when the predecessor was deleted.
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
