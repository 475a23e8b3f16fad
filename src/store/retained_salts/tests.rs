use super::*;
use crate::store::testing::{binding, instance};
use crate::store::{bindings, instances, testing::on_both};

async fn in_write<T>(
    store: &crate::store::Store,
    work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>,
) -> T {
    let mut tx = store.begin_write().await.unwrap();
    let done = work(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    done
}

/// Shifts the deletion times of all rows by `milliseconds`.
async fn shift(tx: &mut Tx, milliseconds: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE unbound_tokens SET unbound_at = unbound_at + $1")
        .bind(milliseconds)
        .execute(tx.connection())
        .await?;
    Ok(())
}

async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS total FROM unbound_tokens")
        .fetch_one(tx.connection())
        .await?;
    Ok(row.try_get("total")?)
}

#[tokio::test]
async fn a_salt_can_be_taken_once_within_the_retention() {
    on_both(async |store| {
        let kept = ServiceBinding { token_salt: "salt".to_owned(), ..binding("i", "b") };
        let (id, space) = (&kept.binding_id, &kept.space_guid);
        in_write(&store, async |tx| instances::insert(tx, &instance("i")).await).await;
        assert_eq!(in_write(&store, async |tx| take(tx, id, space).await).await, None);
        in_write(&store, async |tx| retain(tx, &kept).await).await;
        let salt = in_write(&store, async |tx| take(tx, id, space).await).await;
        assert_eq!(salt.as_deref(), Some("salt"));
        assert_eq!(in_write(&store, async |tx| take(tx, id, space).await).await, None, "once");
        in_write(&store, async |tx| retain(tx, &kept).await).await;
        let other = "other".parse().unwrap();
        assert_eq!(in_write(&store, async |tx| take(tx, id, &other).await).await, None);
        let minute = 60_000;
        for (milliseconds, expected) in
            [(-9 * minute, Some("salt")), (-11 * minute, None), (11 * minute, None)]
        {
            in_write(&store, async |tx| retain(tx, &kept).await).await;
            in_write(&store, async |tx| shift(tx, milliseconds).await).await;
            let salt = in_write(&store, async |tx| take(tx, id, space).await).await;
            assert_eq!(salt.as_deref(), expected, "{milliseconds}");
        }
    })
    .await;
}

#[tokio::test]
async fn expired_salts_are_deleted_and_salts_go_with_their_instance() {
    on_both(async |store| {
        in_write(&store, async |tx| instances::insert(tx, &instance("i")).await).await;
        for number in 0..20 {
            in_write(&store, async |tx| retain(tx, &binding("i", &format!("b{number}"))).await)
                .await;
            in_write(&store, async |tx| shift(tx, -60_001).await).await;
        }
        assert_eq!(in_write(&store, async |tx| count(tx).await).await, 10);
        let id = binding("i", "b19").instance_id;
        in_write(&store, async |tx| instances::delete(tx, &id).await).await;
        assert_eq!(in_write(&store, async |tx| count(tx).await).await, 0);
    })
    .await;
}

#[tokio::test]
async fn bindings_keep_their_salts() {
    on_both(async |store| {
        let salted = ServiceBinding { token_salt: "salt".to_owned(), ..binding("i", "b") };
        in_write(&store, async |tx| instances::insert(tx, &instance("i")).await).await;
        in_write(&store, async |tx| bindings::insert(tx, &salted).await).await;
        let found = in_write(&store, async |tx| bindings::find(tx, &salted.binding_id).await).await;
        assert_eq!(found, Some(salted));
    })
    .await;
}
