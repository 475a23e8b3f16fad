//! What a scrape costs the whole program: 50 instances with 2,000 samples
//! each, over real sockets.
//!
//! `cargo bench --bench scrape`; starts the release build of the program,
//! scrapes it over and over, and reads its CPU time and memory from /proc. The
//! instances run in this process and are not counted.

mod bodies;

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const INSTANCES: usize = 50;
const SAMPLES: usize = 2_000;
const ROUNDS: usize = 7;
/// Scrapes a round: CPU time is counted in hundredths of a second.
const SCRAPES: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let addresses: Vec<_> =
        (0..INSTANCES).map(|i| instance(bodies::body(i as u64 + 1, SAMPLES))).collect();
    let folder = tempfile::tempdir()?;
    let routes = folder.path().join("routes.json");
    fs::write(&routes, table(&addresses))?;
    let mut program = Program::start(folder.path(), &routes)?;
    println!(
        "{INSTANCES} instances × {SAMPLES} samples, {SCRAPES} scrapes a round, medians of {ROUNDS} rounds"
    );
    println!("machine: {}", machine());
    program.scrape(false)?;
    let (mut plain, mut gzip) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(program.round(false)?);
        gzip.push(program.round(true)?);
    }
    report("plain", plain);
    report("gzip", gzip);
    println!("peak resident memory: {} MB", program.peak_kb()? / 1024);
    Ok(())
}

/// One round's figures, each for one scrape.
struct Figures {
    cpu_s: f64,
    wall_s: f64,
    bytes: usize,
}

fn report(what: &str, rounds: Vec<Figures>) {
    let spread = |figure: fn(&Figures) -> f64| {
        let mut all: Vec<_> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or_default() * 1e3;
        format!("{:6.1} ms ({:.1} to {:.1})", at(all.len() / 2), at(0), at(all.len() - 1))
    };
    let bytes = rounds.first().map_or(0, |round| round.bytes);
    println!(
        "{what:5}: CPU {}, wall {}, {bytes} bytes a scrape",
        spread(|f| f.cpu_s),
        spread(|f| f.wall_s)
    );
}

struct Program {
    child: Child,
    address: SocketAddr,
    ticks_per_second: f64,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(folder: &std::path::Path, routes: &std::path::Path) -> Result<Self, Box<dyn Error>> {
        let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/broker-catalog.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_scrapebroker"))
            .arg("serve")
            .current_dir(folder)
            .env("SCRAPEBROKER__LISTEN", "127.0.0.1:0")
            .env("SCRAPEBROKER__BROKER__CATALOG", catalog)
            .env("SCRAPEBROKER__ROUTES__FILE", routes)
            .env("SCRAPEBROKER__LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let address = loop {
            let line = lines.next().ok_or("the program ended")??;
            if let Some(rest) = line.split("\"address\":\"").nth(1) {
                break rest.split('"').next().unwrap_or_default().parse()?;
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let ticks = procfs::ticks_per_second() as f64;
        let program = Self { child, address, ticks_per_second: ticks };
        // The file is read soon after the start.
        let started = Instant::now();
        while program.get("/-/ready", "")?.0 != 200 {
            if started.elapsed() > Duration::from_secs(10) {
                return Err("the program did not become ready".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(program)
    }

    fn round(&self, gzip: bool) -> Result<Figures, Box<dyn Error>> {
        let (cpu, wall) = (self.cpu_s()?, Instant::now());
        let mut bytes = 0;
        for _ in 0..SCRAPES {
            bytes = self.scrape(gzip)?;
        }
        let each = SCRAPES as f64;
        Ok(Figures {
            cpu_s: (self.cpu_s()? - cpu) / each,
            wall_s: wall.elapsed().as_secs_f64() / each,
            bytes,
        })
    }

    fn scrape(&self, gzip: bool) -> Result<usize, Box<dyn Error>> {
        let header = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let (status, bytes) = self.get("/v1/apps/bench-guid/metrics", header)?;
        if status == 200 { Ok(bytes) } else { Err(format!("status {status}").into()) }
    }

    fn get(&self, path: &str, headers: &str) -> Result<(u16, usize), Box<dyn Error>> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n{headers}\r\n")?;
        let mut answer = vec![0; 1 << 20];
        let mut bytes = stream.read(&mut answer)?;
        let status = std::str::from_utf8(answer.get(9..12).unwrap_or_default())?.parse()?;
        loop {
            match stream.read(&mut answer)? {
                0 => return Ok((status, bytes)),
                more => bytes += more,
            }
        }
    }

    fn cpu_s(&self) -> Result<f64, Box<dyn Error>> {
        let stat = procfs::process::Process::new(self.child.id() as i32)?.stat()?;
        Ok((stat.utime + stat.stime) as f64 / self.ticks_per_second)
    }

    fn peak_kb(&mut self) -> Result<u64, Box<dyn Error>> {
        let status = procfs::process::Process::new(self.child.id() as i32)?.status()?;
        Ok(status.vmhwm.unwrap_or_default())
    }
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(" unknown");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores,{}", model.trim_start_matches(['\t', ' ', ':']))
}

/// An instance on a port of its own that answers every request with `body`.
fn instance(body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = [head.into_bytes(), body.into_bytes()].concat();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve(stream, &answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        request.extend_from_slice(&piece[..n]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

fn table(addresses: &[SocketAddr]) -> String {
    let endpoints: Vec<_> = addresses
        .iter()
        .enumerate()
        .map(|(index, address)| {
            serde_json::json!({
                "address": address.to_string(), "tls": false, "ttl": 120,
                "tags": {
                    "app_id": "bench-guid", "app_name": "bench", "instance_id": index.to_string(),
                    "process_type": "web", "process_instance_id": format!("instance-{index}"),
                    "organization_id": "9f6e1f11-2a5c-5021-ae8f-19597ea2d722",
                    "organization_name": "org-bench",
                    "space_id": "4ba40828-416b-53b1-abc0-89637f5e22e2", "space_name": "space-bench",
                },
            })
        })
        .collect();
    serde_json::json!({ "bench.example.com": endpoints }).to_string()
}
