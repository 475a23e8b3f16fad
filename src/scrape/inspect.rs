//! Inspects what an app exposes: a scrape whose bodies are reported instead of sent.

use super::{
    FailedInstance, Reservation, ScrapeError, ScrapeRequest, answer, outcome::ScrapedTarget,
    plan::TargetKind,
};
use exposition::{Format, InspectLimits, Inspection, Merge, OutputFormat, Stats};
use tokio::{sync::Semaphore, time::timeout_at};

/// Limits the memory of reports, which is not part of the memory budget. With the default
/// [`InspectLimits`] one report has at most about 50 MB.
static INSPECTIONS: Semaphore = Semaphore::const_new(2);

/// What the instances of an app expose.
#[derive(Debug)]
pub struct Inspected {
    pub report: Inspection,
    /// The instances that returned metrics, in the order of the bodies in `report`.
    pub instances: Vec<InspectedInstance>,
    pub failures: Vec<FailedInstance>,
    /// The changes that a merge of the bodies makes.
    pub stats: Stats,
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
    let output = request.negotiated.target();
    // Bodies in memory must not wait forever.
    let permit = timeout_at(request.deadline, INSPECTIONS.acquire()).await;
    let permit = permit.ok().and_then(Result::ok).ok_or(ScrapeError::NotInspected)?;
    let inspected = tokio::task::spawn_blocking(move || {
        let inspected = inspect_bodies(targets, output);
        // The bodies are dropped. Memory and permit are released even if the client has
        // disconnected meanwhile.
        drop((memory, permit));
        inspected
    });
    inspected.await.map_err(|_| ScrapeError::NotInspected)
}

fn inspect_bodies(targets: Vec<ScrapedTarget>, output: OutputFormat) -> Inspected {
    let (mut instances, mut bodies, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for ScrapedTarget { target, outcome } in targets {
        let TargetKind::Instance(endpoint) = &target.kind else { continue };
        let name = answer::instance_name(endpoint);
        match outcome.result {
            Ok(body) => {
                let (samples, bytes) = (body.samples(), outcome.bytes);
                instances.push(InspectedInstance { name, samples, bytes, format: body.format() });
                bodies.push(body);
            }
            Err(failure) => failures.push(FailedInstance { name, failure }),
        }
    }
    let report = exposition::inspect(&bodies, output, &InspectLimits::default());
    let stats = Merge::new(output, bodies).stats();
    Inspected { report, instances, failures, stats }
}
