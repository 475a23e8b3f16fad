//! Benchmark of the route table at the size of a large platform: 200,000 routes, 140 MB of JSON. It
//! prints the CPU time of loading, and the duration of lookups. It asserts nothing, because the
//! results depend on the machine.
//!
//! ```sh
//! cargo bench --bench routes
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say why and stop")]

use scrapebroker::{
    discovery::{Discovery, Limits, RouteFile, RouteTable, Settings, Snapshot, parse},
    domain::{AppKey, Prefer},
};
use std::{
    fs::{self, File},
    hint::black_box,
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const ROUTES: u32 = 200_000;
/// One of this many apps has a context path, and one has a wildcard route.
const SPECIAL_ROUTE_INTERVAL: u32 = 100;
const LOADS: usize = 5;
const BATCHES: usize = 31;
const LOOKUPS: u32 = 20_000;

fn main() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join("routes-bench.json");
    write_document(&path, 0);
    println!("document            {:>9.1} MB, {ROUTES} routes", megabytes(&path));

    // Runs first, because peak memory is measured for the whole process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, measure_discovery(&path));

    let body = fs::read(&path).unwrap();
    let (mut reading, mut arranging) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        let start = Instant::now();
        let document = parse(&body).unwrap();
        reading.push(start.elapsed());
        let start = Instant::now();
        black_box(Snapshot::from(&document));
        arranging.push(start.elapsed());
    }
    println!("read the document   {:>9.0} ms", millis(median(&mut reading)));
    println!("arrange the index   {:>9.0} ms", millis(median(&mut arranging)));

    let snapshot = Snapshot::from(&parse(&body).unwrap());
    drop(body);
    fs::remove_file(&path).unwrap();
    measure_lookups(&snapshot);
}

/// Loads the file like the program. Then loads a changed file, while a reader keeps the first
/// table.
async fn measure_discovery(path: &Path) {
    let settings = Settings {
        stale_after: Duration::from_secs(120),
        keep: Duration::from_secs(3600),
        refresh_interval: Duration::from_secs(15),
        limits: Limits::default(),
    };
    let shutdown = CancellationToken::new();
    let start = (Instant::now(), cpu_millis());
    let discovery =
        Discovery::start(settings, vec![Box::new(RouteFile { path: path.to_owned() })], &shutdown);
    let first_table = loaded(&discovery.table, 0).await;
    print_load("load, file to table", start);
    println!("memory, peak so far {:>9.0} MB", peak_memory());

    write_document(path, 1);
    let start = (Instant::now(), cpu_millis());
    discovery.reload.file().unwrap().1.await.unwrap();
    let reloaded = loaded(&discovery.table, 1).await;
    print_load("load a changed one", start);
    println!("memory, peak so far {:>9.0} MB", peak_memory());
    drop((first_table, reloaded));
    shutdown.cancel();
    discovery.stopped().await;
}

async fn loaded(table: &RouteTable, generation: u32) -> std::sync::Arc<Snapshot> {
    let app = guid(&format!("generation-{generation}"));
    loop {
        let snapshot = table.snapshot();
        if snapshot.contains_app(&app) {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Computes the key of an app from its number.
type KeyOf = fn(u32) -> String;

fn measure_lookups(snapshot: &Snapshot) {
    let cases: [(&str, Prefer, KeyOf); 6] = [
        ("by GUID", Prefer::Name, |n| guid(&name(n))),
        ("by name", Prefer::Name, |n| format!("org-{0}/space-{0}/{0}", name(n))),
        ("by route", Prefer::Route, |n| format!("{}.apps.test", name(n))),
        ("by pasted URL", Prefer::Route, |n| format!("https://{}.Apps.test:443/x", name(n))),
        ("by context path", Prefer::Route, |n| {
            format!(
                "{}.apps.test/api/v1/users",
                name(n / SPECIAL_ROUTE_INTERVAL * SPECIAL_ROUTE_INTERVAL)
            )
        }),
        ("by wildcard", Prefer::Route, |n| {
            format!("a.b.{}.wild.test/x", name(n / SPECIAL_ROUTE_INTERVAL * SPECIAL_ROUTE_INTERVAL))
        }),
    ];
    for (what, prefer, key) in cases {
        // The keys are spread over the table, so that lookups miss the CPU caches.
        let keys: Vec<AppKey> = (0..LOOKUPS)
            .map(|n| AppKey::parse(&key(n.wrapping_mul(2_654_435_761) % ROUTES), prefer).unwrap())
            .collect();
        let mut batches: Vec<Duration> = (0..BATCHES)
            .map(|_| {
                let start = Instant::now();
                for key in &keys {
                    let found = snapshot.find(key);
                    assert!(!black_box(&found).is_empty(), "{}", key.as_str());
                }
                start.elapsed() / LOOKUPS
            })
            .collect();
        println!("look-up {what:<15} {:>6} ns", median(&mut batches).as_nanos());
    }
}

/// Writes a document in the format of gorouter's `GET /routes`. Each app has different names and
/// ids, which is the worst case.
fn write_document(path: &Path, generation: u32) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    write!(out, "{{").unwrap();
    let mut route = |route: &str, app: &str, n: u32| {
        let [app_id, instance, org, space] =
            ["", "/0", "o", "s"].map(|part| guid(&format!("{app}{part}")));
        let comma = if n == 0 { "" } else { "," };
        let (a, b, c) = (n >> 16 & 255, n >> 8 & 255, n & 255);
        write!(
            out,
            concat!(
                r#"{}"{}":[{{"address":"127.{}.{}.{}:{}","availability_zone":"z1","#,
                r#""protocol":"http1","tls":false,"ttl":120,"tags":{{"app_id":"{}","#,
                r#""app_name":"{}","component":"route-emitter","instance_id":"0","#,
                r#""organization_id":"{}","organization_name":"org-{}","process_id":"{}","#,
                r#""process_instance_id":"{}","process_type":"web","source_id":"{}","#,
                r#""space_id":"{}","space_name":"space-{}"}},"private_instance_id":"{}"}}]"#,
            ),
            comma,
            route,
            a,
            b,
            c,
            61000 + n % 500,
            app_id,
            app,
            org,
            app,
            app_id,
            instance,
            app_id,
            space,
            app,
            instance
        )
        .unwrap();
    };
    for n in 0..ROUTES {
        let app = name(n);
        route(&format!("{app}.apps.test"), &app, n);
        if n % SPECIAL_ROUTE_INTERVAL == 0 {
            route(&format!("{app}.apps.test/api"), &app, n.max(1));
            route(&format!("*.{app}.wild.test"), &app, n.max(1));
        }
    }
    let marker = format!("generation-{generation}");
    route(&format!("{marker}.apps.test"), &marker, ROUTES);
    writeln!(out, "}}").unwrap();
    out.flush().unwrap();
}

fn name(n: u32) -> String {
    format!("filler-{n}")
}

/// Derives a string in the format of a GUID from the name.
fn guid(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_01b3_0000_0001_0000_01b3)
    });
    Uuid::from_u128(hash).to_string()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Prints CPU time as well, because other processes affect wall time.
fn print_load(what: &str, (start, cpu): (Instant, f64)) {
    let (wall, cpu) = (millis(start.elapsed()), cpu_millis() - cpu);
    println!("{what:<19} {wall:>9.0} ms, {cpu:.0} ms of CPU");
}

/// User and system CPU time of this process, with the kernel's resolution of 10 ms.
fn cpu_millis() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

fn megabytes(path: &Path) -> f64 {
    fs::metadata(path).unwrap().len() as f64 / 1e6
}

/// `VmHWM` of this process, in megabytes.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e6
}
