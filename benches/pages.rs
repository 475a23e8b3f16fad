//! Benchmark of the pages with 20,000 apps of three instances each, through the complete program and
//! a socket. All apps are scraped once first, so that the pages show results. It prints the durations
//! of requests and asserts nothing, because they depend on the machine.
//!
//! ```sh
//! cargo bench --bench pages
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say why and stop")]

use futures_util::{StreamExt, stream};
use scrapebroker::{app::Application, config::Config};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

const PASSWORD: &str = "password of the benchmark";
const APPS: usize = 20_000;
const INSTANCES: usize = 3;
/// Requests of each page.
const REQUESTS: usize = 100;
/// Apps that are scraped at the same time.
const SCRAPES: usize = 16;

fn main() {
    let port = serve_instances();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let routes = folder.path().join("routes.json");
    write_routes(&routes, port);
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
        let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
        while client.get(format!("{url}/-/ready")).send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        scrape_all(&client, &url).await;
        for path in [
            "/",
            "/apps",
            "/apps?page=200",
            "/apps?q=application-19",
            "/apps?q=organization-7+example",
            "/apps?state=failing",
            "/apps?sort=samples",
            "/apps?sort=error&order=desc&page=100",
            "/apps/00000001-0000-4000-8000-000000000007",
        ] {
            measure(&client, &url, path).await;
        }
    });
}

async fn scrape_all(client: &awc::Client, url: &str) {
    let started = Instant::now();
    let scrape = async |app| {
        let request = client.get(format!("{url}/v1/apps/{}/metrics", guid(1, app)));
        let mut answer = request.send().await.unwrap();
        answer.body().await.unwrap();
    };
    stream::iter(0..APPS).for_each_concurrent(SCRAPES, scrape).await;
    println!("{APPS} apps scraped in {:.1} s", started.elapsed().as_secs_f64());
}

async fn measure(client: &awc::Client, url: &str, path: &str) {
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..REQUESTS {
        let started = Instant::now();
        let request = client.get(format!("{url}{path}")).basic_auth("bench", PASSWORD);
        let mut answer = request.insert_header(("Accept", "text/html")).send().await.unwrap();
        bytes = answer.body().limit(1 << 30).await.unwrap().len();
        assert_eq!(answer.status(), 200, "{path}");
        times.push(started.elapsed());
    }
    times.sort();
    let millis = |time: Option<&Duration>| time.unwrap().as_secs_f64() * 1e3;
    println!(
        "{path:<45} median {:>6.1} ms, p99 {:>6.1} ms, {:>4} KB",
        millis(times.get(REQUESTS / 2)),
        millis(times.get(REQUESTS * 99 / 100)),
        bytes / 1000,
    );
}

/// Serves all instances on one port of all loopback addresses. Every seventh address fails.
fn serve_instances() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client may disconnect at any time.
            let _ = stream.and_then(answer);
        }
    });
    port
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let _ = stream.read(&mut head)?;
    let SocketAddr::V4(address) = stream.local_addr()? else { return Ok(()) };
    let last = address.ip().octets()[3];
    let (status, body) = match last % 7 {
        0 => ("500 Internal Server Error", String::new()),
        _ => ("200 OK", (0..last % 16).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn guid(kind: usize, number: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

fn write_routes(path: &Path, port: u16) {
    let route = |app: usize| {
        let endpoint = |index: usize| {
            let number = app * INSTANCES + index;
            json!({
                "address": format!("127.{}.{}.{}:{port}", 1 + number / 62_500, number / 250 % 250, 1 + number % 250),
                "tags": {
                    "app_id": guid(1, app), "app_name": format!("application-{app}"),
                    "process_type": "web", "instance_id": index.to_string(),
                    "process_instance_id": guid(2, number),
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
