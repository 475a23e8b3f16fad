//! Inspects what an app exposes: a scrape whose bodies are reported instead of sent.

use super::{
    FailedInstance, FailureReason, NegotiatedFormats, Reservation, ScrapeError, ScrapeFailure,
    ScrapeRequest, answer, outcome::ScrapedTarget, plan::TargetKind,
};
use exposition::{Format, InspectLimits, Inspection, LostType, Merge, Stats};
use tokio::{sync::Semaphore, time::timeout_at};

/// Limits the memory of reports, which is not part of the memory budget. With the default
/// [`InspectLimits`] one report has at most about 80 MB.
static INSPECTIONS: Semaphore = Semaphore::const_new(2);

/// Maximum number of lost types in a report.
const MAX_LOST_TYPES: usize = 1000;

/// What the instances of an app expose.
#[derive(Debug)]
pub struct Inspected {
    pub report: Inspection,
    /// The instances that returned metrics, in the order of the bodies in `report`.
    pub instances: Vec<InspectedInstance>,
    pub failures: Vec<FailedInstance>,
    /// The format of the merge.
    pub format: Format,
    /// The changes that a merge of the bodies makes.
    pub stats: Stats,
    /// The families that the merge writes without their type, each with the position of the body
    /// that declares it. At most 1000.
    pub lost_types: Vec<LostType>,
}

#[derive(Debug)]
pub struct InspectedInstance {
    /// As in `web/0 at 10.0.0.1:61001`.
    pub name: String,
    pub samples: usize,
    /// Size of its body after decompression.
    pub bytes: u64,
    pub format: Format,
}

/// Reports families and labels of scraped targets.
///
/// # Errors
///
/// Other inspections run until the deadline.
pub(super) async fn inspect(
    targets: Vec<ScrapedTarget>,
    memory: Reservation,
    request: &ScrapeRequest,
) -> Result<Inspected, ScrapeError> {
    let negotiated = request.negotiated.clone();
    // Bodies in memory must not wait forever.
    let permit = timeout_at(request.deadline, INSPECTIONS.acquire()).await;
    let permit = permit.ok().and_then(Result::ok).ok_or(ScrapeError::NotInspected)?;
    let inspected = tokio::task::spawn_blocking(move || {
        let inspected = inspect_bodies(targets, negotiated);
        // The bodies are dropped. Memory and permit are released even if the client has
        // disconnected meanwhile.
        drop((memory, permit));
        inspected
    });
    inspected.await.map_err(|_| ScrapeError::NotInspected)
}

/// Reports the merge that a scrape with these formats returns once the formats of the instances are
/// known.
fn inspect_bodies(targets: Vec<ScrapedTarget>, negotiated: NegotiatedFormats) -> Inspected {
    let indexed_for = negotiated.target();
    let known = targets.iter().filter_map(|one| Some(one.outcome.result.as_ref().ok()?.format()));
    let output = negotiated.choose(&known.collect::<Vec<_>>()).target();
    let (mut instances, mut bodies, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for ScrapedTarget { target, outcome } in targets {
        let TargetKind::Instance(endpoint) = &target.kind else { continue };
        let name = answer::instance_name(endpoint);
        let reindexed = outcome.result.and_then(|body| {
            if output == indexed_for {
                return Ok(body);
            }
            let refused = |error: exposition::Error| {
                ScrapeFailure::new(FailureReason::NotExposition, error.to_string())
            };
            body.reindexed(output).map_err(refused)
        });
        match reindexed {
            Ok(body) => {
                let (samples, bytes) = (body.samples(), outcome.bytes);
                instances.push(InspectedInstance { name, samples, bytes, format: body.format() });
                bodies.push(body);
            }
            Err(failure) => failures.push(FailedInstance { name, failure }),
        }
    }
    let report = exposition::inspect(&bodies, output, &InspectLimits::default());
    let merge = Merge::new(output, bodies);
    let (stats, lost_types) = (merge.stats(), merge.lost_types(MAX_LOST_TYPES));
    Inspected { report, instances, failures, format: output.format(), stats, lost_types }
}
