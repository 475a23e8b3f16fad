use super::*;
use proptest::prelude::*;
use std::{
    cell::{Cell, RefCell},
    future::pending,
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

fn budget(total: u64) -> MemoryBudget {
    MemoryBudget::new(total, MemoryBudgetMetrics::default())
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// Allocates memory for one body in these steps, with a pause of one second before each.
async fn body(reservation: &Reservation, steps: &[u64]) {
    let mut allocation = reservation.allocation();
    for step in steps {
        sleep(Duration::from_secs(1)).await;
        allocation.acquire(*step).await;
    }
    allocation.keep();
}

/// Runs a request with one body. A scraper reads the response for `reading` seconds.
fn request(
    budget: &MemoryBudget,
    expected: u64,
    steps: &'static [u64],
    reading: u64,
) -> JoinHandle<(Result<(), ScrapeError>, u32)> {
    let reservation = budget.reserve(expected);
    tokio::spawn(async move {
        let attempts = std::sync::atomic::AtomicU32::new(0);
        let latest = after(1000);
        let attempt = || async {
            attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            body(&reservation, steps).await;
        };
        let run =
            tokio::time::timeout(Duration::from_secs(10_000), reservation.run(latest, attempt));
        let result = run.await.expect("the request hangs");
        sleep(Duration::from_secs(reading)).await;
        (result, attempts.into_inner())
    })
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fits_starts_at_once() {
    let budget = budget(100);
    let start = Instant::now();
    let one = request(&budget, 50, &[20, 30], 0);
    let other = request(&budget, 1, &[20, 30], 0);
    assert_eq!(one.await.unwrap(), (Ok(()), 1));
    assert_eq!(other.await.unwrap(), (Ok(()), 1));
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(budget.allocated(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_start_in_order_of_arrival() {
    let budget = budget(100);
    let start = Instant::now();
    let requests = [(60, 1), (80, 1), (10, 1), (90, 1)].map(|(expected, reading)| {
        let request = request(&budget, expected, &[5], reading);
        async move {
            assert_eq!(request.await.unwrap(), (Ok(()), 1));
            start.elapsed().as_secs()
        }
    });
    // The small third request would fit beside the first one, but queues behind the second. It
    // starts together with the second. The fourth starts when both have released unused reserved
    // memory.
    let ended = futures_util::future::join_all(requests).await;
    assert_eq!(ended, [2, 3, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn reserved_memory_is_not_given_to_others_until_the_attempt_ends() {
    let budget = budget(100);
    let slow = budget.reserve(90);
    let allocation = slow.run(after(9), || async {
        let body = slow.allocation();
        sleep(Duration::from_secs(5)).await;
        body.keep()
    });
    let start = Instant::now();
    let (_, next) = tokio::join!(allocation, request(&budget, 20, &[20], 0));
    assert_eq!(next.unwrap(), (Ok(()), 1));
    assert_eq!(start.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn two_requests_that_block_each_other_both_complete_and_the_older_one_first() {
    let budget = budget(100);
    for reading in [0, 7] {
        let older = request(&budget, 1, &[40, 40], reading);
        let younger = request(&budget, 1, &[40, 40], reading);
        assert_eq!(older.await.unwrap(), (Ok(()), 1));
        let (result, attempts) = younger.await.unwrap();
        assert_eq!((result, attempts), (Ok(()), 2));
        assert_eq!(budget.allocated(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn many_large_requests_complete_one_after_the_other() {
    let budget = budget(100);
    let requests: Vec<_> = (0..20).map(|_| request(&budget, 1, &[10, 20, 30, 40], 1)).collect();
    for one in requests {
        let (result, attempts) = one.await.unwrap();
        assert_eq!(result, Ok(()));
        // A retry reserves what the attempt before it needed.
        assert!(attempts <= 4, "{attempts}");
    }
    assert_eq!(budget.allocated(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_budget_is_rejected_at_once() {
    let budget = budget(100);
    let start = Instant::now();
    let (result, attempts) = request(&budget, 1, &[60, 41], 0).await.unwrap();
    assert_eq!((result, attempts), (Err(ScrapeError::TooLarge { limit: 100 }), 1));
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(budget.allocated(), 0);
    // A request whose bodies were too large last time is tried again.
    assert_eq!(request(&budget, 10_000, &[100], 0).await.unwrap().0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_start_before_its_deadline_is_rejected() {
    let budget = budget(100);
    let reader = budget.reserve(1);
    reader.run(after(9), || body(&reader, &[80])).await.unwrap();
    let late = budget.reserve(50);
    let start = Instant::now();
    let refused = late.run(after(3), || async { unreachable!("there is no memory") }).await;
    assert_eq!(refused, Err::<(), _>(ScrapeError::TooLate { limit: 100 }));
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(budget.allocated(), 80);
    drop((late, reader));
    assert_eq!(budget.allocated(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_gets_no_memory_before_the_deadline_is_rejected() {
    let budget = budget(100);
    let reader = budget.reserve(1);
    reader.run(after(9), || body(&reader, &[80])).await.unwrap();
    let late = budget.reserve(1);
    let attempt = || async {
        let scrape = body(&late, &[10, 20]);
        tokio::time::timeout(Duration::from_secs(5), scrape).await.unwrap_err()
    };
    let refused = late.run(after(3), attempt).await;
    assert_eq!(refused.unwrap_err(), ScrapeError::TooLate { limit: 100 });
    assert_eq!(budget.allocated(), 80);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_releases_its_memory_in_every_phase() {
    let budget = budget(100);
    let collecting = request(&budget, 90, &[50, 50, 50], 0);
    let queued = request(&budget, 90, &[90], 0);
    let last = request(&budget, 90, &[90], 0);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(budget.allocated(), 50);
    collecting.abort();
    queued.abort();
    assert_eq!(last.await.unwrap(), (Ok(()), 1));
    assert_eq!(budget.allocated(), 0);
    // A request that blocks while holding memory.
    let reader = budget.reserve(1);
    reader.run(after(9), || body(&reader, &[50])).await.unwrap();
    let waiting = request(&budget, 1, &[40, 20], 0);
    let next = request(&budget, 50, &[50], 0);
    sleep(Duration::from_secs(5)).await;
    assert!(!next.is_finished());
    waiting.abort();
    assert_eq!(next.await.unwrap(), (Ok(()), 1));
}

#[tokio::test(start_paused = true)]
async fn memory_is_released_only_after_the_response_is_read() {
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
async fn memory_held_by_another_thread_is_not_allocated_twice() {
    let budget = budget(100);
    let reservation = budget.reserve(1);
    let elsewhere = RefCell::new(None);
    let run = async {
        reservation
            .run(after(100), || async {
                let mut allocation = reservation.allocation();
                allocation.acquire(60).await;
                *elsewhere.borrow_mut() = Some(allocation);
            })
            .await
    };
    run.await.unwrap();
    drop(reservation);
    let next = request(&budget, 50, &[50], 0);
    sleep(Duration::from_secs(5)).await;
    assert!(!next.is_finished() && budget.allocated() == 60);
    elsewhere.take();
    assert_eq!(next.await.unwrap(), (Ok(()), 1));
    assert_eq!(budget.allocated(), 0);
    assert!(budget.state().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_hold_an_index_while_it_waits_for_its_memory() {
    let budget = budget(100);
    let reader = budget.reserve(1);
    reader.run(after(9), || body(&reader, &[50])).await.unwrap();
    let (indexed, attempts) = (budget.reserve(1), Cell::new(0));
    let attempt = async || {
        attempts.set(attempts.get() + 1);
        let mut allocation = indexed.allocation();
        allocation.acquire(20).await;
        allocation.set_used(60).await;
        allocation.keep()
    };
    let check = async {
        sleep(Duration::from_secs(5)).await;
        assert_eq!((attempts.get(), budget.allocated()), (1, 50));
        drop(reader);
    };
    let (kept, ()) = tokio::join!(indexed.run(after(100), attempt), check);
    assert_eq!((kept, attempts.get(), budget.allocated()), (Ok(60), 2, 60));
    drop(indexed);

    let reservation = budget.reserve(1);
    let set = async |bytes| {
        let mut allocation = reservation.allocation();
        allocation.acquire(20).await;
        allocation.set_used(bytes).await;
        allocation.keep()
    };
    assert_eq!(reservation.run(after(9), || set(10)).await, Ok(10));
    let reservation = budget.reserve(1);
    let set = async || {
        let mut allocation = reservation.allocation();
        allocation.set_used(101).await;
    };
    let refused = reservation.run(after(9), set).await;
    assert_eq!(refused, Err(ScrapeError::TooLarge { limit: 100 }));
}

#[test]
fn an_aborted_request_restarts_only_after_all_its_memory_is_released() {
    let mut state = BudgetState::new(1000, MemoryBudgetMetrics::default());
    let ((older, _), (younger, _)) = (state.enqueue(1), state.enqueue(1));
    assert!(state.may_start(older) && state.may_start(younger));
    assert!(state.acquire_or_wait(older, 40) && state.acquire_or_wait(younger, 30));
    assert!(!state.acquire_or_wait(older, 940));
    assert!(!state.acquire_or_wait(younger, 10));
    assert_eq!(
        (state.abort_reason(older), state.abort_reason(younger)),
        (None, Some(AbortReason::Displaced))
    );
    state.stop_waiting(younger, false);
    state.requeue(younger);
    state.release(older, 40);
    state.finish(older);
    // The other bytes are still on another thread.
    state.release(younger, 20);
    assert!(!state.may_start(younger));
    state.release(younger, 10);
    assert!(state.may_start(younger));
}

#[test]
fn a_request_that_fits_starts_before_older_requests_have_been_polled() {
    let mut state = BudgetState::new(100, MemoryBudgetMetrics::default());
    let ids: Vec<_> = (0..6).map(|_| state.enqueue(20).0).collect();
    let started: Vec<_> = ids.iter().rev().map(|one| state.may_start(*one)).collect();
    assert_eq!(started, [false, true, true, true, true, true]);
    state.finish(ids[2]);
    assert!(state.may_start(ids[5]));
}

#[test]
fn no_request_starts_while_an_older_one_blocks_holding_memory() {
    let mut state = BudgetState::new(100, MemoryBudgetMetrics::default());
    let ((reader, _), (waiting, _)) = (state.enqueue(1), state.enqueue(1));
    assert!(state.may_start(reader) && state.may_start(waiting));
    assert!(state.acquire_or_wait(reader, 30) && state.acquire_or_wait(waiting, 60));
    assert_eq!(state.settle(reader), Ok(()));
    assert!(!state.acquire_or_wait(waiting, 20));
    let (small, _) = state.enqueue(1);
    assert!(!state.may_start(small));
    state.release(reader, 30);
    assert!(state.try_acquire(waiting, 20));
    state.stop_waiting(waiting, true);
    assert!(state.may_start(small));
}

/// One request of the property test. Times are in seconds; `leaves`, in tenths of a second, is when
/// the scraper disconnects.
#[derive(Clone, Debug)]
struct Script {
    arrives: u64,
    expected: u64,
    bodies: Vec<Vec<u64>>,
    reading: u64,
    leaves: Option<u64>,
}

/// The index of a body, which is counted after the last step.
fn index(steps: &[u64]) -> u64 {
    steps.first().copied().unwrap_or_default()
}

/// Bodies with three steps fail and release their memory.
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

/// Runs one request of the property test.
async fn play(budget: &MemoryBudget, script: &Script, most: &Cell<u64>) -> Result<(), ScrapeError> {
    sleep(Duration::from_secs(script.arrives)).await;
    let reservation = budget.reserve(script.expected);
    let work = async {
        let attempt = || async {
            let bodies = script.bodies.iter().enumerate().map(async |(position, steps)| {
                let mut allocation = reservation.allocation();
                for step in steps {
                    sleep(Duration::from_millis(100 * (position as u64 + 1))).await;
                    allocation.acquire(*step).await;
                    most.set(most.get().max(budget.allocated()));
                }
                if !is_broken(steps) {
                    allocation.set_used(allocation.bytes() + index(steps)).await;
                    most.set(most.get().max(budget.allocated()));
                    allocation.keep();
                }
            });
            futures_util::future::join_all(bodies).await;
        };
        reservation.run(after(100_000), attempt).await?;
        sleep(Duration::from_secs(script.reading)).await;
        Ok(())
    };
    let disconnect = async {
        match script.leaves {
            Some(seconds) => sleep(Duration::from_millis(seconds * 100)).await,
            None => pending().await,
        }
    };
    tokio::select! { done = work => done, () = disconnect => Ok(()) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn all_requests_complete_within_the_budget(
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
            prop_assert!(results.is_ok(), "deadlock");
            for (script, result) in scripts.iter().zip(results.unwrap()) {
                let size = |bodies: &mut dyn Iterator<Item = &Vec<u64>>| -> u64 {
                    bodies.map(|steps| steps.iter().sum::<u64>() + index(steps)).sum()
                };
                let kept = size(&mut script.bodies.iter().filter(|steps| !is_broken(steps)));
                match result {
                    Ok(()) => prop_assert!(kept <= TOTAL || script.leaves.is_some()),
                    Err(_) => prop_assert!(size(&mut script.bodies.iter()) > TOTAL),
                }
            }
            prop_assert!(most.get() <= TOTAL);
            prop_assert_eq!(budget.allocated(), 0);
            prop_assert!(budget.state().is_empty());
            Ok(())
        })?;
    }
}
