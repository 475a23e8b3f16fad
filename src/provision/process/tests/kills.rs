//! Dropped at each place where they wait, and so killed between any two steps:
//! the next call finds what that left.

use super::*;
use std::{
    pin::pin,
    task::{Context, Poll},
};

/// Polls so often; none when it would have gone on.
async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut done) = (pin!(future), 0);
    std::future::poll_fn(move |context: &mut Context<'_>| {
        done += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(ready) => Poll::Ready(Some(ready)),
            Poll::Pending if done >= polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops `work` after each number of polls, by itself or together with all that we know.
async fn drop_everywhere(
    house: &House,
    before: Option<&Wanted>,
    work: impl AsyncFn(&Processes) -> Result<(), Failure>,
    check: impl AsyncFn(&Processes),
) {
    for polls in 1.. {
        let mut processes = house.open();
        if let Some(before) = before {
            processes.apply(before).await.unwrap();
        }
        let done = drop_after(polls, work(&processes)).await;
        if polls % 2 == 0 {
            // A kill would end threads, too.
            let instances: Vec<_> = processes.instances.borrow().values().cloned().collect();
            for instance in instances {
                drop(instance.turns.take().await);
            }
            processes = house.open();
        }
        check(&processes).await;
        if let Some(done) = done {
            done.unwrap();
            return;
        }
    }
}

#[test]
fn a_provision_that_is_dropped_is_finished_or_removed() {
    run(async {
        let house = House::new();
        let wanted = wanted("a");
        let make = async |processes: &Processes| processes.apply(&wanted).await.map(drop);
        let check = async |processes: &Processes| {
            processes.remove(&wanted.instance_id).await.unwrap();
            house.assert_nothing_is_left();
        };
        drop_everywhere(&house, None, make, check).await;
        let check = async |processes: &Processes| {
            processes.apply(&wanted).await.unwrap();
            house.only_pid();
            processes.remove(&wanted.instance_id).await.unwrap();
            house.assert_nothing_is_left();
        };
        drop_everywhere(&house, None, make, check).await;
    });
}

#[test]
fn an_update_that_is_dropped_goes_on_or_back() {
    run(async {
        let house = House::new();
        let mut before = wanted("a");
        before.spec.storage = Storage::Tmpfs;
        let mut after = before.clone();
        (after.spec.storage, after.spec.replicas) = (Storage::Disk, 2);
        let processes = house.open();
        let replicas = processes.apply(&before).await.unwrap();
        stored(&replicas[0], &before, 3).await;
        let change = async |processes: &Processes| processes.apply(&after).await.map(drop);
        let turns = Cell::new(0);
        let check = async |processes: &Processes| {
            turns.set(turns.get() + 1);
            let (wanted, count) = match turns.get() % 3 {
                0 => (&before, 1),
                _ => (&after, 2),
            };
            let replicas = processes.apply(wanted).await.unwrap();
            assert_eq!(house.pids().len(), count, "{}: {:?}", turns.get(), house.running());
            assert!(samples(&replicas[0], wanted).await >= 3, "samples are lost");
        };
        drop_everywhere(&house, Some(&before), change, check).await;
        house.open().remove(&before.instance_id).await.unwrap();
        house.assert_nothing_is_left();
    });
}

#[test]
fn a_reload_that_is_dropped_is_done_in_the_end() {
    run(async {
        let house = House::new();
        let before = wanted("a");
        let mut after = before.clone();
        after.spec.rules = Some(RULES.replace("probe", "other"));
        let change = async |processes: &Processes| processes.apply(&after).await.map(drop);
        let turns = Cell::new(0);
        let check = async |processes: &Processes| {
            turns.set(turns.get() + 1);
            let (wanted, rule) = match turns.get() % 2 {
                0 => (&before, "probe"),
                _ => (&after, "other"),
            };
            let replicas = processes.apply(wanted).await.unwrap();
            house.only_pid();
            let url = format!("{}/api/v1/rules", replicas[0].url);
            let rules = get(&url, before.web_password.expose_secret()).await.1;
            assert!(rules.contains(rule), "{rules}");
        };
        drop_everywhere(&house, Some(&before), change, check).await;
    });
}

#[test]
fn a_removal_that_is_dropped_can_be_repeated() {
    run(async {
        let house = House::new();
        let wanted = wanted("a");
        let remove = async |processes: &Processes| processes.remove(&wanted.instance_id).await;
        let check = async |processes: &Processes| {
            processes.remove(&wanted.instance_id).await.unwrap();
            house.assert_nothing_is_left();
        };
        drop_everywhere(&house, Some(&wanted), remove, check).await;
    });
}
