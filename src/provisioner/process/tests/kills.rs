//! Futures are dropped at every await, as in a crash between any two steps. The next call must
//! handle the state that is left.

use super::*;
use std::{
    pin::pin,
    task::{Context, Poll},
};

/// Drops the future after this number of polls; `None` if it was not finished.
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

/// Drops `work` after each possible number of polls, alternately with the provisioner.
async fn drop_everywhere(
    fixture: &Fixture,
    before: Option<&DesiredInstance>,
    work: impl AsyncFn(&ProcessProvisioner) -> Result<(), Failure>,
    check: impl AsyncFn(&ProcessProvisioner),
) {
    for polls in 1.. {
        let mut processes = fixture.open();
        if let Some(before) = before {
            processes.apply(before).await.unwrap();
        }
        let done = drop_after(polls, work(&processes)).await;
        if polls % 2 == 0 {
            // A crash would end file operations on other threads, so wait for them.
            let instances: Vec<_> = processes.instances.borrow().values().cloned().collect();
            for instance in instances {
                drop(instance.file_lock.lock().await);
            }
            processes = fixture.open();
        }
        check(&processes).await;
        if let Some(done) = done {
            done.unwrap();
            return;
        }
    }
}

#[test]
fn a_dropped_provision_can_be_repeated_or_removed() {
    run(async {
        let fixture = Fixture::new();
        let desired = desired("a");
        let make = async |processes: &ProcessProvisioner| processes.apply(&desired).await.map(drop);
        let check = async |processes: &ProcessProvisioner| {
            processes.remove(&desired.instance_id).await.unwrap();
            fixture.assert_nothing_left();
        };
        drop_everywhere(&fixture, None, make, check).await;
        let check = async |processes: &ProcessProvisioner| {
            processes.apply(&desired).await.unwrap();
            fixture.only_pid();
            processes.remove(&desired.instance_id).await.unwrap();
            fixture.assert_nothing_left();
        };
        drop_everywhere(&fixture, None, make, check).await;
    });
}

#[test]
fn a_dropped_update_can_be_repeated_or_reverted() {
    run(async {
        let fixture = Fixture::new();
        let mut before = desired("a");
        before.spec.storage = Storage::Tmpfs;
        let mut after = before.clone();
        (after.spec.storage, after.spec.replicas) = (Storage::Disk, 2);
        let processes = fixture.open();
        let replicas = processes.apply(&before).await.unwrap();
        wait_for_samples(&replicas[0], &before, 3).await;
        let change = async |processes: &ProcessProvisioner| processes.apply(&after).await.map(drop);
        let rounds = Cell::new(0);
        let check = async |processes: &ProcessProvisioner| {
            rounds.set(rounds.get() + 1);
            let (desired, count) = match rounds.get() % 3 {
                0 => (&before, 1),
                _ => (&after, 2),
            };
            let replicas = processes.apply(desired).await.unwrap();
            assert_eq!(fixture.pids().len(), count, "{}: {:?}", rounds.get(), fixture.running());
            assert!(samples(&replicas[0], desired).await >= 3, "samples are lost");
        };
        drop_everywhere(&fixture, Some(&before), change, check).await;
        fixture.open().remove(&before.instance_id).await.unwrap();
        fixture.assert_nothing_left();
    });
}

#[test]
fn a_dropped_reload_is_repeated() {
    run(async {
        let fixture = Fixture::new();
        let before = desired("a");
        let mut after = before.clone();
        after.spec.rules = Some(RULES.replace("probe", "other"));
        let change = async |processes: &ProcessProvisioner| processes.apply(&after).await.map(drop);
        let rounds = Cell::new(0);
        let check = async |processes: &ProcessProvisioner| {
            rounds.set(rounds.get() + 1);
            let (desired, rule) = match rounds.get() % 2 {
                0 => (&before, "probe"),
                _ => (&after, "other"),
            };
            let replicas = processes.apply(desired).await.unwrap();
            fixture.only_pid();
            let url = format!("{}/api/v1/rules", replicas[0].url);
            let rules = get(&url, before.web_password.expose_secret()).await.1;
            assert!(rules.contains(rule), "{rules}");
        };
        drop_everywhere(&fixture, Some(&before), change, check).await;
    });
}

#[test]
fn a_dropped_removal_can_be_repeated() {
    run(async {
        let fixture = Fixture::new();
        let desired = desired("a");
        let remove =
            async |processes: &ProcessProvisioner| processes.remove(&desired.instance_id).await;
        let check = async |processes: &ProcessProvisioner| {
            processes.remove(&desired.instance_id).await.unwrap();
            fixture.assert_nothing_left();
        };
        drop_everywhere(&fixture, Some(&desired), remove, check).await;
    });
}
