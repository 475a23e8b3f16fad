//! Benchmark of the NATS route source at the size of a large platform. A real server distributes
//! 200,000 routes. Each is registered every 20 seconds (10,000 messages per second), while
//! instances are replaced. The benchmark prints the CPU time and memory of the source, the duration
//! of concurrent lookups, and the duration of scrapes through the complete program. It asserts only
//! that the table is complete.
//!
//! The publisher is a separate process, so that its CPU time is not counted.
//!
//! ```sh
//! cargo bench --bench nats
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say why and stop")]

mod program;
mod scraped;
mod server;

use allocator as _;
use exposition::testing::service_body;
use program::{Program, machine};
use scrapebroker::{
    discovery::{Discovery, Limits, Nats, NatsSettings, RouteTable, Settings},
    domain::{AppKey, Prefer},
    tls::ClientSettings,
};
use scraped::instance;
use std::{
    env, fs,
    hint::black_box,
    io::{BufRead, BufReader, BufWriter, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const ROUTES: usize = 200_000;
/// Messages per second. Each route is registered every 20 seconds.
const RATE: usize = 10_000;
const TICKS_PER_SECOND: usize = 100;
/// Instances that are replaced per second.
const REPLACED: usize = 20;
/// Duration of the measurement.
const STEADY: Duration = Duration::from_secs(40);
/// Number of instances of the scraped app, and of samples per instance.
const SCRAPED: (usize, usize) = (50, 2_000);
/// Number of scrapes; one per second.
const SCRAPES: usize = 20;
const LOOKUPS: usize = 20_000;
const BATCHES: usize = 15;

/// Argument of the publisher process. The address of the server follows it.
const PUBLISH_TO: &str = "publish-to";

fn main() {
    let mut arguments = env::args().skip_while(|argument| argument != PUBLISH_TO).skip(1);
    match arguments.next() {
        Some(server) => publish(&server),
        None => listen(),
    }
}

/// Kills the process when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("127.0.0.1:{port}");
    let programs = ["/usr/sbin/nats-server", "/usr/bin/nats-server"];
    let program = programs.into_iter().find(|path| Path::new(path).exists());
    let _server = Running(
        Command::new(program.unwrap_or("nats-server"))
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    while TcpStream::connect(&server).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    println!("machine              {}", machine());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, measure(server));
}

async fn measure(server: String) {
    let nats = Nats::new(NatsSettings {
        servers: vec![server.clone()],
        credentials: None,
        tls: ClientSettings::default(),
        announce: false,
    });
    let nats = nats.unwrap();
    let settings = Settings {
        stale_after: Duration::from_secs(120),
        keep: Duration::from_secs(3600),
        refresh_interval: Duration::from_secs(15),
        limits: Limits::default(),
    };
    let shutdown = CancellationToken::new();
    let discovery = Discovery::start(settings, vec![Box::new(nats)], &shutdown);
    let table = &discovery.table;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let (start, cpu) = (Instant::now(), cpu_millis());
    let publisher = Command::new(env::current_exe().unwrap()).args([PUBLISH_TO, &server]).spawn();
    let _publisher = Running(publisher.unwrap());
    // Each change of the growing table is published.
    while table.snapshot().size().0 < ROUTES {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", table.snapshot().size());
    }
    print_share("fill the table", start, cpu);
    println!("memory, now / peak   {:>6.0} MB / {:.0} MB", memory("VmRSS:"), memory("VmHWM:"));

    let (start, cpu) = (Instant::now(), cpu_millis());
    tokio::time::sleep(STEADY).await;
    print_share("steady", start, cpu);
    println!("memory, now / peak   {:>6.0} MB / {:.0} MB", memory("VmRSS:"), memory("VmHWM:"));
    let snapshot = table.snapshot();
    let source = snapshot.sources().next().expect("one source");
    let (apps, instances) = snapshot.size();
    println!(
        "table                {apps} apps, {instances} instances; {} messages lost, age {:.1} s",
        source.skipped,
        snapshot.age().unwrap_or_default().as_secs_f64()
    );
    assert_eq!((apps, source.failed), (ROUTES, 0));
    measure_lookups(table);
    shutdown.cancel();
    discovery.stopped().await;
    while_scraping(&server);
}

/// Measures CPU time and scrape durations of the complete program with the same server.
fn while_scraping(server: &str) {
    let (instances, samples) = SCRAPED;
    let addresses: Vec<_> =
        (0..instances).map(|i| instance(service_body(i as u64 + 1, samples))).collect();
    let messages: Vec<_> = addresses.iter().zip(0..).map(scraped_message).collect();
    let to = server.to_owned();
    thread::spawn(move || {
        let mut out = connect(&to);
        loop {
            messages.iter().for_each(|message| put(&mut out, "router.register", message));
            let _ = out.flush();
            thread::sleep(Duration::from_secs(10));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let servers = serde_json::json!([format!("nats://{server}")]).to_string();
    let settings = [("ROUTES__NATS__SERVERS", servers.as_str())];
    let program = Program::start(folder.path(), &settings, Duration::from_secs(60)).unwrap();
    // The table is complete after one round of messages.
    thread::sleep(Duration::from_secs(10));

    let (start, cpu) = (Instant::now(), program.cpu_s().unwrap());
    thread::sleep(STEADY / 2);
    let alone = (program.cpu_s().unwrap() - cpu) / start.elapsed().as_secs_f64();
    println!("the program, idle    {:>6.1} % of a core", alone * 100.0);

    let (start, cpu) = (Instant::now(), program.cpu_s().unwrap());
    let mut times: Vec<Duration> = (1..=SCRAPES)
        .map(|n| {
            let started = Instant::now();
            program.scrape(true).unwrap();
            let duration = started.elapsed();
            let due = start + Duration::from_secs(n as u64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            duration
        })
        .collect();
    let cpu = (program.cpu_s().unwrap() - cpu) / start.elapsed().as_secs_f64();
    times.sort();
    println!(
        "a scrape each second {:>6.1} % of a core; {instances} × {samples} samples in {} ms (at most {} ms), gzip; {} MB at most",
        cpu * 100.0,
        times.get(SCRAPES / 2).unwrap().as_millis(),
        times.last().unwrap().as_millis(),
        program.peak_kb().unwrap() * 1024 / 1_000_000,
    );
}

/// Computes the key of an app from its number.
type KeyOf = fn(usize) -> String;

fn measure_lookups(table: &RouteTable) {
    let cases: [(&str, Prefer, KeyOf); 3] = [
        ("by GUID", Prefer::Name, |n| guid(&name(n))),
        ("by name", Prefer::Name, |n| format!("org-{0}/space-{0}/{0}", name(n))),
        ("by route", Prefer::Route, |n| format!("{}.apps.test", name(n))),
    ];
    for (what, prefer, key) in cases {
        let keys: Vec<AppKey> = (0..LOOKUPS)
            .map(|n| AppKey::parse(&key(n.wrapping_mul(2_654_435_761) % ROUTES), prefer).unwrap())
            .collect();
        let mut batches: Vec<Duration> = (0..BATCHES)
            .map(|_| {
                let snapshot = table.snapshot();
                let start = Instant::now();
                for key in &keys {
                    assert!(!black_box(&snapshot.find(key)).is_empty(), "{}", key.as_str());
                }
                start.elapsed() / u32::try_from(LOOKUPS).unwrap()
            })
            .collect();
        batches.sort();
        println!("look-up {what:<12} {:>6} ns", batches.get(BATCHES / 2).unwrap().as_nanos());
    }
}

/// Registers all routes repeatedly, and replaces some instances.
fn publish(server: &str) {
    let mut out = connect(server);
    let mut generations = vec![0_u32; ROUTES];
    let mut next = 0;
    let mut replaced = 0;
    let start = Instant::now();
    for tick in 1_u32.. {
        for _ in 0..RATE / TICKS_PER_SECOND {
            send(&mut out, "router.register", next, generations[next]);
            next = (next + 1) % ROUTES;
        }
        if (tick as usize).is_multiple_of(TICKS_PER_SECOND / REPLACED) {
            send(&mut out, "router.unregister", replaced, generations[replaced]);
            generations[replaced] += 1;
            send(&mut out, "router.register", replaced, generations[replaced]);
            replaced = (replaced + 7919) % ROUTES;
        }
        if out.flush().is_err() {
            return;
        }
        let due = start + Duration::from_secs(1) / TICKS_PER_SECOND as u32 * tick;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Connects to the server as a publisher.
fn connect(server: &str) -> BufWriter<TcpStream> {
    let stream = TcpStream::connect(server).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut pongs = stream.try_clone().unwrap();
    let mut out = BufWriter::with_capacity(1 << 18, stream);
    write!(out, "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n").unwrap();
    thread::spawn(move || {
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if line.starts_with("PING") {
                let _ = pongs.write_all(b"PONG\r\n");
            }
            line.clear();
        }
    });
    out
}

/// Publishes a message in the format of route-emitter. Each app has different names and ids, which
/// is the worst case.
fn send(out: &mut impl Write, subject: &str, n: usize, generation: u32) {
    let app = name(n);
    let [app_id, org, space] = ["", "o", "s"].map(|part| guid(&format!("{app}{part}")));
    let instance = guid(&format!("{app}/{generation}"));
    let host = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
    let port = 61_000 + generation % 4000;
    let message = format!(
        concat!(
            r#"{{"host":"{}","port":{},"tls_port":{},"uris":["{}.apps.test"],"app":"{}","#,
            r#""private_instance_id":"{}","private_instance_index":"0","#,
            r#""server_cert_domain_san":"{}","isolation_segment":"","route_service_url":"","#,
            r#""endpoint_updated_at_ns":1700000000000000000,"availability_zone":"z1","#,
            r#""protocol":"http1","tags":{{"app_id":"{}","app_name":"{}","#,
            r#""component":"route-emitter","instance_id":"0","organization_id":"{}","#,
            r#""organization_name":"org-{}","process_id":"{}","process_instance_id":"{}","#,
            r#""process_type":"web","source_id":"{}","space_id":"{}","space_name":"space-{}"}}}}"#,
        ),
        host,
        port,
        port,
        app,
        app_id,
        instance,
        instance,
        app_id,
        app,
        org,
        app,
        app_id,
        instance,
        app_id,
        space,
        app,
    );
    put(out, subject, &message);
}

fn put(out: &mut impl Write, subject: &str, message: &str) {
    // The next flush reports a closed connection.
    let _ = write!(out, "PUB {subject} {}\r\n{message}\r\n", message.len());
}

/// The message of an instance of the scraped app.
fn scraped_message((address, index): (&SocketAddr, usize)) -> String {
    serde_json::json!({
        "host": address.ip(), "port": address.port(), "uris": ["bench.example.com"],
        "private_instance_id": format!("instance-{index}"),
        "tags": {
            "app_id": "bench-guid", "app_name": "bench", "instance_id": index.to_string(),
            "process_type": "web", "process_instance_id": format!("instance-{index}"),
            "organization_id": guid("organization"), "organization_name": "org-bench",
            "space_id": guid("space"), "space_name": "space-bench",
        },
    })
    .to_string()
}

fn name(n: usize) -> String {
    format!("filler-{n}")
}

/// Derives a string in the format of a GUID from the name.
fn guid(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_01b3_0000_0001_0000_01b3)
    });
    Uuid::from_u128(hash).to_string()
}

fn print_share(what: &str, start: Instant, cpu: f64) {
    let (wall, cpu) = (start.elapsed().as_secs_f64() * 1e3, cpu_millis() - cpu);
    println!(
        "{what:<20} {wall:>7.0} ms, {cpu:.0} ms of CPU, {:.1} % of a core",
        cpu / wall * 100.0
    );
}

/// User and system CPU time of this process, with the kernel's resolution of 10 ms.
fn cpu_millis() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// A value of `/proc/self/status`, in megabytes.
fn memory(what: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e6
}
