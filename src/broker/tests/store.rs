//! Broker and store: other replicas, keys, outages.

use super::*;

#[tokio::test]
async fn another_replica_sees_a_new_binding_and_its_deletion() {
    on_both(async |store| {
        let (local, remote) = (broker(&store).await, broker(&store).await);
        let shutdown = CancellationToken::new();
        let every = Duration::from_millis(5);
        let remote_loop = tokio::spawn(remote.clone().keep_current(every, shutdown.clone()));
        local.provision(provision("i")).await.unwrap();
        create_binding(&local, bind("i", "b", "app")).await;
        let until = async |bound: bool| {
            while remote.binding_table().binding_for("app").is_some() != bound {
                tokio::time::sleep(every).await;
            }
        };
        until(true).await;
        local.unbind(&instance("i"), &binding("b")).await.unwrap();
        until(false).await;
        shutdown.cancel();
        remote_loop.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_binding_does_not_affect_others() {
    on_both(async |store| {
        let broker = broker(&store).await;
        broker.provision(provision("i")).await.unwrap();
        for (id, app) in [("b1", "app"), ("b2", "app"), ("b3", "other")] {
            let parameters = map(json!({"endpoint": format!("/{id}")}));
            create_binding(&broker, Bind { parameters, ..bind("i", id, app) }).await;
        }
        // The parameters of one binding cannot be decrypted as those of another.
        let mut tx = store.begin_write().await.unwrap();
        let mut damaged =
            crate::store::bindings::find(&mut tx, &binding("b2")).await.unwrap().unwrap();
        crate::store::bindings::delete(&mut tx, &binding("b2")).await.unwrap();
        damaged.parameters = "damaged".to_owned();
        assert!(crate::store::bindings::insert(&mut tx, &damaged).await.unwrap());
        tx.commit().await.unwrap();

        broker.refresh().await.unwrap();
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/b1"));
        assert_eq!(active_endpoint(&broker, "other").as_deref(), Some("/b3"));
        broker.unbind(&instance("i"), &binding("b2")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_store_with_another_key_is_rejected() {
    on_both(async |store| {
        broker(&store).await.provision(provision("i")).await.unwrap();
        let other = "another key that is long enough".into();
        let error = Broker::open(store.clone(), Some(&other), catalog()).await.unwrap_err();
        assert!(matches!(error, OpenError::Store(StoreError::KeyChanged)), "{error:?}");
        assert!(error.to_string().contains("broker.token_key"), "{error}");
        broker(&store).await;
        // Without a configured key a key file is expected, which was not created here.
        let error = Broker::open(store, None, catalog()).await.unwrap_err();
        assert!(matches!(error, OpenError::TokenKey(_)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn with_sqlite_the_key_is_generated_once_next_to_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display()).parse().unwrap();
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
async fn while_the_database_is_unavailable_bindings_stay_active_and_changes_fail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let store =
        Store::open(&format!("sqlite://{}", path.display()).parse().unwrap(), 2).await.unwrap();
    let broker = broker(&store).await;
    broker.provision(provision("i")).await.unwrap();
    create_binding(&broker, bind("i", "b", "app")).await;
    let moved = dir.path().join("moved.db");
    std::fs::rename(&path, &moved).unwrap();
    let error = broker.unbind(&instance("i"), &binding("b")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(StoreError::Unavailable { .. })), "{error:?}");
    assert!(broker.refresh().await.is_err());
    assert!(broker.binding_table().binding_for("app").is_some());
    std::fs::rename(&moved, &path).unwrap();
    broker.unbind(&instance("i"), &binding("b")).await.unwrap();
    assert!(broker.binding_table().binding_for("app").is_none());
}

#[tokio::test]
async fn the_database_contains_no_plaintext_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let store =
        Store::open(&format!("sqlite://{}", path.display()).parse().unwrap(), 2).await.unwrap();
    let broker = broker(&store).await;
    broker.provision(provision("i")).await.unwrap();
    let parameters = map(json!({"headers": {"X-Key": "hunter2"}, "endpoint": "/findme"}));
    let credentials =
        create_binding(&broker, Bind { parameters, ..bind("i", "findthisid", "app") }).await;
    store.close().await;
    let bytes = std::fs::read(&path).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("findthisid"));
    for secret in ["hunter2", "/findme", credentials.token.expose_secret()] {
        assert!(!holds(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_replaced_database_file_is_another_store_with_its_own_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let open = async |name: &str, key: &SecretString| {
        let url = format!("sqlite://{}", file(name).display());
        let store = Store::open(&url.parse().unwrap(), 2).await.unwrap();
        (store.clone(), Broker::open(store, Some(key), catalog()).await.unwrap())
    };
    // The same number of changes as in the database in use, but other ones.
    for (name, key) in [("ours.db", key()), ("foreign.db", "another key, as long as ours".into())] {
        let (store, other) = open(name, &key).await;
        other.provision(provision("i")).await.unwrap();
        other.provision(provision("j")).await.unwrap();
        store.close().await;
    }
    let (_, broker) = open("used.db", &key()).await;
    broker.provision(provision("i")).await.unwrap();
    create_binding(&broker, bind("i", "b", "app")).await;

    std::fs::rename(file("ours.db"), file("used.db")).unwrap();
    broker.refresh().await.unwrap();
    assert!(broker.binding_table().binding_for("app").is_none());

    std::fs::rename(file("foreign.db"), file("used.db")).unwrap();
    let error = broker.deprovision(&instance("i")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(StoreError::KeyChanged)), "{error:?}");
    assert!(matches!(broker.refresh().await, Err(StoreError::KeyChanged)));

    std::fs::remove_file(file("used.db")).unwrap();
    std::fs::write(file("used.db"), "").unwrap();
    broker.provision(provision("i")).await.unwrap();
    assert_eq!(broker.fetch(&instance("i")).await.unwrap().service_id.as_str(), "s");
}
