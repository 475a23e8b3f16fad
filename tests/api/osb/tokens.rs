//! Tokens and passwords have a random part: a recreated instance or binding gets new ones.

use super::{client::*, fake_provisioner::*};
use scrapebroker::{
    secrets::token_hash,
    store::{ServiceBinding, bindings},
};
use secrecy::ExposeSecret;
use serde_json::json;

fn token(answer: &BrokerResponse) -> String {
    assert!([200, 201].contains(&answer.status), "{answer:?}");
    answer.body["credentials"]["token"].as_str().unwrap().to_owned()
}

fn is_good(api: &Api, token: &str) -> bool {
    api.broker.binding_table().scope_of_token(token).is_some()
}

#[actix_web::test]
async fn a_recreated_binding_has_another_token() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        let key = json!({"service_id": SERVICE, "plan_id": PLAN, "bind_resource": {}});
        for body in [bind("app"), key] {
            let b = binding("i", "b");
            let first = token(&api.put(&b, &body).await);
            assert_eq!(
                token(&api.put(&b, &body).await),
                first,
                "a repeated PUT returns the same token"
            );
            assert_eq!(token(&api.get(&b).await), first);
            assert!(is_good(&api, &first));
            assert_eq!(api.delete(&b).await.status, 200);
            assert!(!is_good(&api, &first));
            let second = token(&api.put(&b, &body).await);
            assert_ne!(second, first);
            assert!(is_good(&api, &second) && !is_good(&api, &first));

            assert_eq!(api.delete(&instance("i")).await.status, 200);
            api.put(&instance("i"), &provision()).await;
            let third = token(&api.put(&b, &body).await);
            assert!(third != second && third != first && !is_good(&api, &second));
            let successor = json!({"predecessor_binding_id": "b"});
            let rotated = token(&api.put(&binding("i", "c"), &successor).await);
            assert_eq!(token(&api.put(&binding("i", "c"), &successor).await), rotated);
            assert!(rotated != third && is_good(&api, &rotated) && is_good(&api, &third));
            assert_eq!(api.delete(&b).await.status, 200);
            assert_eq!(api.delete(&binding("i", "c")).await.status, 200);
        }
    })
    .await;
}

#[actix_web::test]
async fn a_recreated_prometheus_has_other_credentials() {
    on_both_fixtures(async |fixture| {
        let password = || {
            let known = fixture.api.broker.binding_table().prometheus("i").unwrap();
            known.web_password.expose_secret().to_owned()
        };
        fixture.provisioned("i", STANDARD).await;
        let (first, reader) = (password(), token(&fixture.bind("i", "b", STANDARD, None).await));
        assert_eq!(fixture.update("i", None, json!({"scrape_interval": "2s"})).await.status, 202);
        assert_eq!(fixture.end_of("i").await, "succeeded");
        assert_eq!(password(), first, "an update keeps the credentials");
        assert_eq!(fixture.delete("i", false).await.status, 200);
        fixture.provisioned("i", STANDARD).await;
        assert_ne!(password(), first);
        assert_ne!(token(&fixture.bind("i", "b", STANDARD, None).await), reader);
    })
    .await;
}

#[actix_web::test]
async fn an_old_binding_without_a_salt_keeps_its_token_until_it_is_removed() {
    on_both_fixtures(async |fixture| {
        let api = &fixture.api;
        api.put(&instance("i"), &provision()).await;
        api.put(&binding("i", "other"), &bind("app")).await;
        let mut tx = fixture.store.begin_write().await.unwrap();
        let other = bindings::find(&mut tx, &"other".parse().unwrap()).await.unwrap().unwrap();
        let id = "b".parse().unwrap();
        let keys = api.broker.keys();
        let old = keys.token(&id, "").expose_secret().to_owned();
        let parameters = serde_json::Map::new();
        let row = ServiceBinding {
            parameters: keys
                .encrypt(scrapebroker::secrets::AssociatedData::Binding("b"), &parameters)
                .unwrap(),
            token_hash: token_hash(&old),
            token_salt: String::new(),
            binding_id: id,
            ..other
        };
        assert!(bindings::insert(&mut tx, &row).await.unwrap());
        tx.commit().await.unwrap();
        let b = binding("i", "b");
        assert_eq!(token(&api.get(&b).await), old);
        assert_eq!(token(&api.put(&b, &bind("app")).await), old);
        assert_eq!(api.delete(&b).await.status, 200);
        let new = token(&api.put(&b, &bind("app")).await);
        assert!(new != old && is_good(api, &new) && !is_good(api, &old));
    })
    .await;
}
