//! What the broker makes of its store: other replicas, keys, outages.

use super::*;

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
            while there.binding_table().binding_for("app").is_some() != bound {
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
        assert_eq!(active_endpoint(&broker, "app").as_deref(), Some("/b1"));
        assert_eq!(active_endpoint(&broker, "other").as_deref(), Some("/b3"));
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
    assert!(broker.binding_table().binding_for("app").is_some());
    std::fs::rename(&away, &path).unwrap();
    broker.unbind(&instance("i"), &binding("b")).await.unwrap();
    assert!(broker.binding_table().binding_for("app").is_none());
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

#[tokio::test]
async fn a_database_file_that_was_replaced_is_another_store_with_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let open = async |name: &str, key: &SecretString| {
        let url = format!("sqlite://{}", file(name).display());
        let store = Store::open(&url.into(), 2).await.unwrap();
        (store.clone(), Broker::open(store, Some(key), catalog()).await.unwrap())
    };
    // As many changes as the one in use will have, but others.
    for (name, key) in [("ours.db", key()), ("foreign.db", "another key, as long as ours".into())] {
        let (store, other) = open(name, &key).await;
        other.provision(provision("i")).await.unwrap();
        other.provision(provision("j")).await.unwrap();
        store.close().await;
    }
    let (_, broker) = open("used.db", &key()).await;
    broker.provision(provision("i")).await.unwrap();
    made(&broker, bind("i", "b", "app")).await;

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
