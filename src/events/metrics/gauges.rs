//! Gauges of queues and scrapers, from their states at the last sweep.

use crate::{
    events::{QueueState, QueueStates, ScraperState},
    telemetry::metrics::encode_family,
};
use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector, encoding::DescriptorEncoder, metrics::gauge::ConstGauge,
};
use std::{cmp::Reverse, fmt, sync::Arc};

/// Maximum number of queues of bindings that have series of their own.
const MAX_QUEUES: usize = 100;

#[derive(Debug)]
pub(super) struct QueuesCollector(pub(super) Arc<ArcSwap<QueueStates>>);

impl Collector for QueuesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.0.load();
        let scrapers = states.installation().map_or(&[][..], |queue| &queue.scrapers);
        encode_scrapers(&mut encoder, &states, scrapers)?;
        let mut queues: Vec<_> = states.queues.iter().filter(|it| it.binding.is_some()).collect();
        queues.sort_by_key(|queue| Reverse(queue.pending));
        queues.truncate(MAX_QUEUES);
        encode_queues(&mut encoder, &states, &queues)
    }
}

fn encode_scrapers(
    encoder: &mut DescriptorEncoder<'_>,
    states: &QueueStates,
    scrapers: &[ScraperState],
) -> fmt::Result {
    let pending = scrapers.iter().map(|it| (&*it.name, ConstGauge::new(it.pending)));
    let help = "Events of the installation's queue that the scraper has to get";
    encode_family(encoder, "scrapebroker_events_pending", help, "scraper", pending)?;

    let ages = scrapers.iter().map(|it| (&*it.name, ConstGauge::new(states.age(it.oldest_at))));
    let help = "Age of the oldest event that the scraper has to get, 0 without one";
    let name = "scrapebroker_events_oldest_pending_seconds";
    encode_family(encoder, name, help, "scraper", ages)?;

    let seen = scrapers.iter();
    let seen = seen.map(|it| (&*it.name, ConstGauge::new(it.last_seen as f64 / 1_000.0)));
    let help = "Time of the scraper's last scrape, in seconds since 1970";
    let name = "scrapebroker_events_scraper_last_seen_timestamp_seconds";
    encode_family(encoder, name, help, "scraper", seen)
}

fn encode_queues(
    encoder: &mut DescriptorEncoder<'_>,
    states: &QueueStates,
    queues: &[&QueueState],
) -> fmt::Result {
    let named = || queues.iter().filter_map(|it| Some((it.binding.as_ref()?.as_str(), it)));
    let pending = named().map(|(name, it)| (name, ConstGauge::new(it.pending)));
    let help = "Events of a binding's queue that a scraper has to get";
    encode_family(encoder, "scrapebroker_events_queue_pending", help, "queue", pending)?;

    let ages = named().map(|(name, it)| (name, ConstGauge::new(states.age(it.oldest_at))));
    let help = "Age of the oldest event that a scraper has to get, 0 without one";
    let name = "scrapebroker_events_queue_oldest_pending_seconds";
    encode_family(encoder, name, help, "queue", ages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::QueueId,
        events::{Collision, EventMetrics, Rejection, evidence::AckBy},
        telemetry::metrics,
    };
    use prometheus_client::registry::Registry;
    use std::time::Instant;

    fn queue(id: i64, pending: i64) -> QueueState {
        let scraper = ScraperState {
            name: "10.0.0.7".to_owned(),
            pending,
            oldest_at: Some(1_000),
            last_seen: 2_500,
            is_in_flight: false,
        };
        QueueState {
            queue: QueueId::new(id),
            binding: (id > 0).then(|| format!("b{id}").parse().unwrap()),
            last_seq: 10,
            pending,
            oldest_at: Some(1_000),
            scrapers: vec![scraper],
        }
    }

    #[test]
    fn gauges_show_the_states_and_are_bounded() {
        let mut registry = Registry::default();
        let metrics = EventMetrics::register(&mut registry);
        let queues = (0..=110).map(|id| queue(id, id + 1)).collect();
        metrics.states.store(Arc::new(QueueStates { queues, now: 4_000, read_at: Instant::now() }));
        metrics.rejected(Rejection::Pending);
        metrics.acknowledged(AckBy::Close);
        metrics.folded(Collision::Sum, 3);
        let text = metrics::render(&registry, &metrics::Namespace::default()).unwrap();
        for expected in [
            "scrapebroker_events_pending{scraper=\"10.0.0.7\"} 1\n",
            "scrapebroker_events_oldest_pending_seconds{scraper=\"10.0.0.7\"} 3.",
            "scrapebroker_events_scraper_last_seen_timestamp_seconds{scraper=\"10.0.0.7\"} 2.5\n",
            "scrapebroker_events_queue_pending{queue=\"b110\"} 111\n",
            "scrapebroker_events_rejected_total{reason=\"pending\"} 1\n",
            "scrapebroker_events_acknowledgements_total{by=\"close\"} 1\n",
            "scrapebroker_events_refused_deliveries_total{by=\"lost\"} 0\n",
            "scrapebroker_events_folded_total{policy=\"sum\"} 3\n",
            "scrapebroker_events_received_total 0\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert_eq!(text.matches("scrapebroker_events_queue_pending{").count(), MAX_QUEUES);
        assert!(!text.contains("queue=\"b10\""), "those with the most pending events are shown");
    }
}
