use super::*;
use crate::store::testing::on_both;

fn binding(id: &str) -> ImportedBinding {
    ImportedBinding {
        binding_id: id.parse().unwrap(),
        app_guid: "app".parse().unwrap(),
        parameters: "encrypted".to_owned(),
        token_hash: "hash".to_owned(),
        token_salt: "salt".to_owned(),
    }
}

#[tokio::test]
async fn an_imported_binding_is_inserted_once_and_deleted_permanently() {
    on_both(async |store| {
        let mut tx = store.begin_write().await.unwrap();
        let before = state::read(&mut tx).await.unwrap().revision;
        for id in ["a", "b"] {
            assert!(insert(&mut tx, &binding(id)).await.unwrap());
            assert!(!insert(&mut tx, &binding(id)).await.unwrap());
        }
        assert_eq!(find(&mut tx, &"a".parse().unwrap()).await.unwrap(), Some(binding("a")));
        assert_eq!(find(&mut tx, &"c".parse().unwrap()).await.unwrap(), None);
        tx.commit().await.unwrap();

        let mut tx = store.begin_write().await.unwrap();
        assert!(state::read(&mut tx).await.unwrap().revision > before);
        let kept: Vec<_> =
            all(&mut tx).await.unwrap().into_iter().map(|kept| kept.unwrap()).collect();
        assert_eq!(kept, [binding("b"), binding("a")], "the newest first");

        assert!(remove(&mut tx, &"a".parse().unwrap()).await.unwrap());
        assert!(!remove(&mut tx, &"a".parse().unwrap()).await.unwrap());
        assert!(!insert(&mut tx, &binding("a")).await.unwrap(), "it does not come back");
        assert_eq!(find(&mut tx, &"a".parse().unwrap()).await.unwrap(), None);
        assert_eq!(all(&mut tx).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_marked_as_deleted_once() {
    on_both(async |store| {
        let id: InstanceId = "i".parse().unwrap();
        let mut tx = store.begin_write().await.unwrap();
        assert!(!is_deleted(&mut tx, &id).await.unwrap());
        for _ in 0..2 {
            mark_deleted(&mut tx, &id).await.unwrap();
            assert!(is_deleted(&mut tx, &id).await.unwrap());
        }
        tx.commit().await.unwrap();
    })
    .await;
}
