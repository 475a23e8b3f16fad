use super::*;
use crate::store::promfetcher::AppEndpoint;

fn row(guid: &str, app_guid: &str, endpoint: &str) -> AppEndpoint {
    AppEndpoint {
        guid: guid.to_owned(),
        app_guid: app_guid.to_owned(),
        endpoint: endpoint.to_owned(),
    }
}

fn org_space() -> OrgSpace {
    OrgSpace {
        organization_guid: Some("org".parse().unwrap()),
        space_guid: Some("space".parse().unwrap()),
    }
}

#[tokio::test]
async fn imported_bindings_are_active_until_they_are_deleted() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let rows = [row("b1", "app1", "/one"), row("b2", "app2", "two?x=1"), row("k", "", "/key")];
        let first = broker.import(&rows).await.unwrap();
        assert_eq!((first.imported, first.known, first.without_app), (2, 0, 1));
        assert_eq!(active_endpoint(&broker, "app1").as_deref(), Some("/one"));
        assert_eq!(active_endpoint(&broker, "app2").as_deref(), Some("/two?x=1"));

        let other = self::broker(&store).await;
        broker.unbind(&instance("whatever"), &binding("b1")).await.unwrap();
        assert_eq!(active_endpoint(&broker, "app1"), None);
        assert_eq!(active_endpoint(&other, "app1").as_deref(), Some("/one"));
        other.refresh().await.unwrap();
        assert_eq!(active_endpoint(&other, "app1"), None, "other replicas see the deletion");
        let error = broker.unbind(&instance("whatever"), &binding("b1")).await.unwrap_err();
        assert_eq!(name(&error), "BindingGone");

        let again = broker.import(&rows).await.unwrap();
        assert_eq!((again.imported, again.known), (0, 2));
        assert_eq!(active_endpoint(&broker, "app1"), None, "it was removed here");
        assert_eq!(active_endpoint(&broker, "app2").as_deref(), Some("/two?x=1"));
    })
    .await;
}

#[tokio::test]
async fn an_import_skips_invalid_rows_and_reports_why() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let rows = [
            row("parent", "app", "/../admin"),
            row("blank", "app", "/a b"),
            row("", "app", "/"),
            row("long", &"x".repeat(300), "/"),
            row("good", "app", "/good"),
        ];
        let import = broker.import(&rows).await.unwrap();
        assert_eq!(import.imported, 1);
        let skipped: Vec<_> =
            import.skipped.iter().map(|row| (row.guid.as_str(), row.problem.as_str())).collect();
        assert_eq!(skipped[0], ("parent", "endpoint must not contain the segment `..`"));
        assert!(skipped[1].1.starts_with("endpoint contains a character"), "{skipped:?}");
        assert_eq!(skipped[2], ("", "guid must not be empty"));
        assert_eq!(skipped[3], ("long", "app_guid is longer than 255 bytes"));
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/good"));
    })
    .await;
}

#[tokio::test]
async fn later_imports_and_own_bindings_take_precedence() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        let parameters = map(json!({"endpoint": "/ours"}));
        create_binding(&broker, Bind { parameters, ..bind("i", "own", "app") }).await;
        broker.import(&[row("b1", "app", "/first")]).await.unwrap();
        broker.import(&[row("b2", "app", "/second")]).await.unwrap();
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/ours"));
        broker.unbind(&instance("i"), &binding("own")).await.unwrap();
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/second"));
        broker.unbind(&instance("i"), &binding("b2")).await.unwrap();
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/first"));
    })
    .await;
}

#[tokio::test]
async fn an_imported_binding_belongs_to_any_instance_service_and_plan() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.import(&[row("b", "app", "/prom")]).await.unwrap();
        let fetched = broker.fetch_binding(&instance("any"), &binding("b")).await.unwrap();
        assert_eq!(fetched.parameters, map(json!({"endpoint": "/prom"})));
        assert_eq!(fetched.credentials.scope, Scope::App("app".parse().unwrap()));
        let token = fetched.credentials.token.expose_secret().to_owned();
        let scope = broker.binding_table().scope_of_token(&token);
        assert_eq!(scope, Some(Scope::App("app".parse().unwrap())));

        let same = Bind { parameters: fetched.parameters, ..bind("any", "b", "app") };
        let other_plan = Bind { plan_id: "no plan".parse().unwrap(), ..same.clone() };
        for request in [same.clone(), other_plan] {
            let bound = broker.bind(request).await.unwrap();
            assert!(matches!(bound, Bound::AlreadyExists(_)), "{bound:?}");
        }
        for different in [
            Bind { app_guid: Some("other".parse().unwrap()), ..same.clone() },
            Bind { app_guid: None, ..same.clone() },
            Bind { parameters: Map::new(), ..same },
        ] {
            assert_eq!(name(&broker.bind(different).await.unwrap_err()), "BindingConflict");
        }

        broker.provision(provision("i")).await.unwrap();
        let rotated = broker.rotate(rotate("i", "new", "b")).await.unwrap();
        assert!(matches!(rotated, Bound::Created(_)), "{rotated:?}");
        broker.unbind(&instance("i"), &binding("b")).await.unwrap();
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/prom"));
        assert_eq!(broker.binding_table().scope_of_token(&token), None, "revoked");
    })
    .await;
}

#[tokio::test]
async fn unknown_instances_are_adopted_only_when_that_is_enabled() {
    on_both(async |store| {
        let broker = broker(&store).await;
        let binds =
            |instance: &str, id: &str| Bind { org_space: org_space(), ..bind(instance, id, "app") };
        let update_at = |id: &str| Update {
            plan_id: Some("sized".parse().unwrap()),
            previous_plan_id: Some("p".parse().unwrap()),
            org_space: org_space(),
            ..update(id)
        };
        assert_eq!(name(&broker.bind(binds("i", "b")).await.unwrap_err()), "InstanceUnknown");
        assert_eq!(name(&broker.update(update_at("i")).await.unwrap_err()), "InstanceUnknown");
        assert_eq!(name(&broker.deprovision(&instance("i")).await.unwrap_err()), "InstanceGone");

        broker.adopt_unknown_instances(true);
        create_binding(&broker, binds("i", "b")).await;
        assert_eq!(broker.fetch(&instance("i")).await.unwrap().plan_id.as_str(), "p");
        broker.update(update_at("j")).await.unwrap();
        assert_eq!(broker.fetch(&instance("j")).await.unwrap().plan_id.as_str(), "sized");
        let same = broker.provision(provision("i")).await.unwrap();
        assert_eq!(same, Provisioned::AlreadyExists, "its row equals that of a provision");
        broker.deprovision(&instance("k")).await.unwrap();

        let without_place = bind("l", "b2", "app");
        assert_eq!(name(&broker.bind(without_place).await.unwrap_err()), "InstanceUnknown");
        let unknown_plan = Bind { plan_id: "x".parse().unwrap(), ..binds("l", "b2") };
        assert_eq!(name(&broker.bind(unknown_plan).await.unwrap_err()), "UnknownPlan");
        assert_eq!(name(&broker.fetch(&instance("l")).await.unwrap_err()), "InstanceUnknown");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_adopted_instance_is_not_adopted_again() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.adopt_unknown_instances(true);
        let late_bind =
            |instance: &str| Bind { org_space: org_space(), ..bind(instance, "late", "app") };
        create_binding(&broker, Bind { org_space: org_space(), ..bind("i", "b", "app") }).await;
        for id in ["i", "never seen"] {
            broker.deprovision(&instance(id)).await.unwrap();
            let again = broker.deprovision(&instance(id)).await.unwrap_err();
            assert_eq!(name(&again), "InstanceGone");
            assert_eq!(name(&broker.bind(late_bind(id)).await.unwrap_err()), "InstanceUnknown");
        }
        let provisioned = broker.provision(provision("i")).await.unwrap();
        assert_eq!(provisioned, Provisioned::Created);
        broker.deprovision(&instance("i")).await.unwrap();
    })
    .await;
}
