//! Benchmark of service discovery with 20,000 targets, through the complete program and a socket.
//! It prints the duration of requests that render the list, and of requests that are served from
//! the cache. It asserts nothing, because the results depend on the machine.
//!
//! ```sh
//! cargo bench --bench sd
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say why and stop")]

use futures_util::stream;
use scrapebroker::{app::Application, config::Config};
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const PASSWORD: &str = "password of the benchmark";
const APPS: usize = 2_000;
const INSTANCES: usize = 10;
/// Requests of each kind. Both kinds together remain within the rate limit.
const REQUESTS: usize = 4;

fn main() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let routes = folder.path().join("routes.json");
    write_routes(&routes);
    let environment = [
        ("LISTEN", "127.0.0.1:0".to_owned()),
        ("DATABASE_URL", format!("sqlite://{}/bench.db", folder.path().display())),
        ("BROKER__USERNAME", "bench".to_owned()),
        ("BROKER__PASSWORD", PASSWORD.to_owned()),
        ("ROUTES__FILE", routes.display().to_string()),
    ];
    let environment = environment.map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value));
    let config = Config::load(None, environment).unwrap();
    actix_web::rt::System::new().block_on(async {
        let application = Application::build(config).await.unwrap();
        let url = format!("http://{}", application.address());
        actix_web::rt::spawn(application.run_until(stream::pending()));
        measure(&url).await;
    });
}

async fn measure(url: &str) {
    let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
    while client.get(format!("{url}/-/ready")).send().await.unwrap().status() != 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let request_list = async |port: usize| {
        let started = Instant::now();
        // Each port is a different list.
        let request = client.get(format!("{url}/sd?port={port}")).basic_auth("bench", PASSWORD);
        let mut answer = request.send().await.unwrap();
        let body = answer.body().limit(1 << 30).await.unwrap();
        assert_eq!(answer.status(), 200);
        (started.elapsed(), body.len())
    };
    for (what, port) in [("made", None), ("from before", Some(1))] {
        let mut times = Vec::new();
        let mut bytes = 0;
        for request in 1..=REQUESTS {
            let (time, length) = request_list(port.unwrap_or(request)).await;
            times.push(time);
            bytes = length;
        }
        times.sort();
        let millis = |time: Option<&Duration>| time.unwrap().as_secs_f64() * 1e3;
        println!(
            "{what:<12} {:>7.1} ms ({:.1} to {:.1}), {:.1} MB, {} targets",
            millis(times.get(REQUESTS / 2)),
            millis(times.first()),
            millis(times.last()),
            bytes as f64 / 1e6,
            APPS * INSTANCES,
        );
    }
}

fn write_routes(path: &Path) {
    let guid = |kind: usize, number: usize| format!("{kind:08x}-0000-4000-8000-{number:012x}");
    let route = |app: usize| {
        let endpoint = |index: usize| {
            let port = 61_000 + index;
            json!({
                "address": format!("10.{}.{}.1:{port}", app >> 8, app & 255),
                "tags": {
                    "app_id": guid(1, app), "app_name": format!("application-{app}"),
                    "process_type": "web", "instance_id": index.to_string(),
                    "process_instance_id": guid(2, app * INSTANCES + index),
                    "organization_id": guid(3, app / 100),
                    "organization_name": format!("organization-{}", app / 100),
                    "space_id": guid(4, app / 10), "space_name": format!("space-{}", app / 10),
                },
            })
        };
        let endpoints: Vec<_> = (0..INSTANCES).map(endpoint).collect();
        (format!("application-{app}.apps.example.com"), json!(endpoints))
    };
    let table = serde_json::Value::Object((0..APPS).map(route).collect());
    std::fs::write(path, table.to_string()).unwrap();
}
