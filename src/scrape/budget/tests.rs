use super::*;
use proptest::prelude::*;
use std::{
    cell::{Cell, RefCell},
    future::pending,
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

fn budget(total: u64) -> Budget {
    Budget::new(total, BudgetMetrics::default())
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// One body that takes its bytes in these steps, a second before each.
async fn body(share: &Share, steps: &[u64]) {
    let mut held = share.hold();
    for step in steps {
        sleep(Duration::from_secs(1)).await;
        held.grow(*step).await;
    }
    held.keep();
}

/// Runs a request with one body, whose answer is then read for `reading` seconds.
fn request(
    budget: &Budget,
    expected: u64,
    steps: &'static [u64],
    reading: u64,
) -> JoinHandle<(Result<(), Refused>, u32)> {
    let share = budget.enter(expected);
    tokio::spawn(async move {
        let attempts = std::sync::atomic::AtomicU32::new(0);
        let latest = after(1000);
        let attempt = || async {
            attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            body(&share, steps).await;
        };
        let run = tokio::time::timeout(Duration::from_secs(10_000), share.run(latest, attempt));
        let result = run.await.expect("it waits for ever");
        sleep(Duration::from_secs(reading)).await;
        (result, attempts.into_inner())
    })
}

#[tokio::test(start_paused = true)]
async fn who_fits_does_not_wait() {
    let budget = budget(100);
    let start = Instant::now();
    let one = request(&budget, 50, &[20, 30], 0);
    let other = request(&budget, 1, &[20, 30], 0);
    assert_eq!(one.await.unwrap(), (Ok(()), 1));
    assert_eq!(other.await.unwrap(), (Ok(()), 1));
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let budget = budget(100);
    let start = Instant::now();
    let requests = [(60, 1), (80, 1), (10, 1), (90, 1)].map(|(expected, reading)| {
        let request = request(&budget, expected, &[5], reading);
        async move {
            assert_eq!(request.await.unwrap(), (Ok(()), 1));
            start.elapsed().as_secs()
        }
    });
    // The small third would fit beside the first, and waits behind the second;
    // with that it fits, and the fourth only when both need no more than they have.
    let ended = futures_util::future::join_all(requests).await;
    assert_eq!(ended, [2, 3, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_holds_its_place_until_it_is_known_what_is_needed() {
    let budget = budget(100);
    let slow = budget.enter(90);
    let held = slow.run(after(9), || async {
        let body = slow.hold();
        sleep(Duration::from_secs(5)).await;
        body.keep()
    });
    let start = Instant::now();
    let (_, next) = tokio::join!(held, request(&budget, 20, &[20], 0));
    assert_eq!(next.unwrap(), (Ok(()), 1));
    assert_eq!(start.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn two_that_grow_into_each_other_both_end_and_the_older_first() {
    let budget = budget(100);
    for reading in [0, 7] {
        let older = request(&budget, 1, &[40, 40], reading);
        let younger = request(&budget, 1, &[40, 40], reading);
        assert_eq!(older.await.unwrap(), (Ok(()), 1));
        let (result, attempts) = younger.await.unwrap();
        assert_eq!((result, attempts), (Ok(()), 2));
        assert_eq!(budget.held(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn many_large_ones_go_one_behind_the_other() {
    let budget = budget(100);
    let requests: Vec<_> = (0..20).map(|_| request(&budget, 1, &[10, 20, 30, 40], 1)).collect();
    for one in requests {
        let (result, attempts) = one.await.unwrap();
        assert_eq!(result, Ok(()));
        // What it learned, it need not learn again.
        assert!(attempts <= 4, "{attempts}");
    }
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_than_there_is_is_refused_at_once() {
    let budget = budget(100);
    let start = Instant::now();
    let (result, attempts) = request(&budget, 1, &[60, 41], 0).await.unwrap();
    assert_eq!((result, attempts), (Err(Refused::TooLarge { limit: 100 }), 1));
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(budget.held(), 0);
    // What was so large the last time is tried again.
    assert_eq!(request(&budget, 10_000, &[100], 0).await.unwrap().0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_in_time_is_refused() {
    let budget = budget(100);
    let reader = budget.enter(1);
    reader.run(after(9), || body(&reader, &[80])).await.unwrap();
    let late = budget.enter(50);
    let start = Instant::now();
    let refused = late.run(after(3), || async { unreachable!("there is no memory") }).await;
    assert_eq!(refused, Err::<(), _>(Refused::TooLate { limit: 100 }));
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(budget.held(), 80);
    drop((late, reader));
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_room_when_the_time_is_over_refuses_the_request() {
    let budget = budget(100);
    let reader = budget.enter(1);
    reader.run(after(9), || body(&reader, &[80])).await.unwrap();
    let late = budget.enter(1);
    let attempt = || async {
        let scrape = body(&late, &[10, 20]);
        tokio::time::timeout(Duration::from_secs(5), scrape).await.unwrap_err()
    };
    let refused = late.run(after(3), attempt).await;
    assert_eq!(refused.unwrap_err(), Refused::TooLate { limit: 100 });
    assert_eq!(budget.held(), 80);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_makes_room_wherever_he_stood() {
    let budget = budget(100);
    let collecting = request(&budget, 90, &[50, 50, 50], 0);
    let queued = request(&budget, 90, &[90], 0);
    let last = request(&budget, 90, &[90], 0);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(budget.held(), 50);
    collecting.abort();
    queued.abort();
    assert_eq!(last.await.unwrap(), (Ok(()), 1));
    assert_eq!(budget.held(), 0);
    // One that waits with bytes in its hands.
    let reader = budget.enter(1);
    reader.run(after(9), || body(&reader, &[50])).await.unwrap();
    let waiting = request(&budget, 1, &[40, 20], 0);
    let next = request(&budget, 50, &[50], 0);
    sleep(Duration::from_secs(5)).await;
    assert!(!next.is_finished());
    waiting.abort();
    assert_eq!(next.await.unwrap(), (Ok(()), 1));
}

#[tokio::test(start_paused = true)]
async fn a_reader_holds_the_bytes_until_he_has_read_or_is_gone() {
    let budget = budget(100);
    let start = Instant::now();
    let reader = request(&budget, 1, &[80], 50);
    sleep(Duration::from_secs(2)).await;
    let next = request(&budget, 80, &[80], 0);
    assert_eq!(next.await.unwrap(), (Ok(()), 1));
    assert_eq!(start.elapsed().as_secs(), 52);
    drop(reader);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_another_thread_still_holds_are_not_given_twice() {
    let budget = budget(100);
    let share = budget.enter(1);
    let elsewhere = RefCell::new(None);
    let run = async {
        share
            .run(after(100), || async {
                let mut held = share.hold();
                held.grow(60).await;
                *elsewhere.borrow_mut() = Some(held);
            })
            .await
    };
    run.await.unwrap();
    drop(share);
    let next = request(&budget, 50, &[50], 0);
    sleep(Duration::from_secs(5)).await;
    assert!(!next.is_finished() && budget.held() == 60);
    elsewhere.take();
    assert_eq!(next.await.unwrap(), (Ok(()), 1));
    assert_eq!(budget.held(), 0);
    assert!(budget.state().is_empty());
}

#[test]
fn who_let_go_begins_anew_only_when_all_is_given_back() {
    let mut state = State::new(1000, BudgetMetrics::default());
    let ((older, _), (younger, _)) = (state.enter(1), state.enter(1));
    assert!(state.is_admitted(older) && state.is_admitted(younger));
    assert!(state.grow_or_wait(older, 40) && state.grow_or_wait(younger, 30));
    assert!(!state.grow_or_wait(older, 940));
    assert!(!state.grow_or_wait(younger, 10));
    assert_eq!((state.end_of(older), state.end_of(younger)), (None, Some(End::Displaced)));
    state.stop_waiting(younger, false);
    state.queue_again(younger);
    state.give_back(older, 40);
    state.leave(older);
    // The rest is on another thread.
    state.give_back(younger, 20);
    assert!(!state.is_admitted(younger));
    state.give_back(younger, 10);
    assert!(state.is_admitted(younger));
}

#[test]
fn who_fits_begins_whether_or_not_those_before_have_noticed() {
    let mut state = State::new(100, BudgetMetrics::default());
    let tickets: Vec<_> = (0..6).map(|_| state.enter(20).0).collect();
    let admitted: Vec<_> = tickets.iter().rev().map(|one| state.is_admitted(*one)).collect();
    assert_eq!(admitted, [false, true, true, true, true, true]);
    state.leave(tickets[2]);
    assert!(state.is_admitted(tickets[5]));
}

#[test]
fn nobody_enters_past_one_who_waits_with_bytes_in_his_hands() {
    let mut state = State::new(100, BudgetMetrics::default());
    let ((reader, _), (waiting, _)) = (state.enter(1), state.enter(1));
    assert!(state.is_admitted(reader) && state.is_admitted(waiting));
    assert!(state.grow_or_wait(reader, 30) && state.grow_or_wait(waiting, 60));
    assert_eq!(state.settle(reader), Ok(()));
    assert!(!state.grow_or_wait(waiting, 20));
    let (small, _) = state.enter(1);
    assert!(!state.is_admitted(small));
    state.give_back(reader, 30);
    assert!(state.grow(waiting, 20));
    state.stop_waiting(waiting, true);
    assert!(state.is_admitted(small));
}

/// One request of the property: what it expects, its bodies' steps, how long
/// it is read, and when its scraper goes away.
#[derive(Clone, Debug)]
struct Script {
    arrives: u64,
    expected: u64,
    bodies: Vec<Vec<u64>>,
    reading: u64,
    leaves: Option<u64>,
}

/// Some bodies turn out to be no exposition.
fn is_broken(steps: &[u64]) -> bool {
    steps.len() == 3
}

fn script() -> impl Strategy<Value = Script> {
    let bodies = prop::collection::vec(prop::collection::vec(0_u64..40, 1..5), 1..4);
    let leaves = prop::option::weighted(0.2, 0_u64..40);
    (0_u64..6, 0_u64..150, bodies, 0_u64..4, leaves).prop_map(
        |(arrives, expected, bodies, reading, leaves)| Script {
            arrives,
            expected,
            bodies,
            reading,
            leaves,
        },
    )
}

/// Plays one request; whether it got its turn.
async fn play(budget: &Budget, script: &Script, most: &Cell<u64>) -> Result<(), Refused> {
    sleep(Duration::from_secs(script.arrives)).await;
    let share = budget.enter(script.expected);
    let work = async {
        let attempt = || async {
            let bodies = script.bodies.iter().enumerate().map(async |(position, steps)| {
                let mut held = share.hold();
                for step in steps {
                    sleep(Duration::from_millis(100 * (position as u64 + 1))).await;
                    held.grow(*step).await;
                    most.set(most.get().max(budget.held()));
                }
                if !is_broken(steps) {
                    held.keep();
                }
            });
            futures_util::future::join_all(bodies).await;
        };
        share.run(after(100_000), attempt).await?;
        sleep(Duration::from_secs(script.reading)).await;
        Ok(())
    };
    let gone = async {
        match script.leaves {
            Some(seconds) => sleep(Duration::from_millis(seconds * 100)).await,
            None => pending().await,
        }
    };
    tokio::select! { done = work => done, () = gone => Ok(()) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn everyone_gets_his_turn_and_no_more_than_there_is(
        scripts in prop::collection::vec(script(), 1..24)
    ) {
        const TOTAL: u64 = 120;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (budget, most) = (budget(TOTAL), Cell::new(0));
            let plays = scripts.iter().map(|script| play(&budget, script, &most));
            let all = futures_util::future::join_all(plays);
            let results = tokio::time::timeout(Duration::from_secs(10_000), all).await;
            prop_assert!(results.is_ok(), "they wait for each other for ever");
            for (script, result) in scripts.iter().zip(results.unwrap()) {
                let size = |bodies: &mut dyn Iterator<Item = &Vec<u64>>| -> u64 {
                    bodies.flatten().sum()
                };
                let kept = size(&mut script.bodies.iter().filter(|steps| !is_broken(steps)));
                match result {
                    Ok(()) => prop_assert!(kept <= TOTAL || script.leaves.is_some()),
                    Err(_) => prop_assert!(size(&mut script.bodies.iter()) > TOTAL),
                }
            }
            prop_assert!(most.get() <= TOTAL);
            prop_assert_eq!(budget.held(), 0);
            prop_assert!(budget.state().is_empty());
            Ok(())
        })?;
    }
}
