//! Probes of slow replicas.

use super::*;
use std::{cell::Cell, rc::Rc};

#[actix_web::test]
async fn a_replica_whose_metrics_are_late_stays_healthy_and_keeps_its_history() {
    let is_slow = Rc::new(Cell::new(false));
    let (state, metrics) = (Rc::clone(&is_slow), history(Duration::from_secs(36_000)));
    let slow = Instance::start(move |request| {
        let reply = respond(&request.line, "slow", &metrics);
        match state.get() && request.line.starts_with("GET /metrics") {
            true => Reply::Late(Duration::from_secs(60), Box::new(reply)),
            false => reply,
        }
    })
    .await;
    let other = server("other", history(Duration::from_secs(3600))).await;
    let app = start_pool(&[&slow, &other], "").await;
    app.selects(slow.address).await;
    is_slow.set(true);
    // The third probe begins when two were late, so that its health would have changed.
    let probes = || slow.requests().iter().filter(|it| it.line.contains("/metrics")).count();
    let before = probes();
    eventually(async || (probes() >= before + 3).then_some(())).await;
    let status = app.pool_status().await;
    let first = &status["replicas"][0];
    assert_eq!((&first["url"], &first["health"]), (&url(slow.address).into(), &"healthy".into()));
    assert_eq!(first["history_seconds"].as_u64().unwrap() / 3600, 10);
    let reason = first["reason"].as_str().unwrap();
    assert!(reason.ends_with("its history is that of an earlier probe"), "{reason}");
    assert_eq!(app.query(QUERY).await.text(), "slow");
}
