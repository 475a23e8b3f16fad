//! Runs the complete program.

use procfs::process::{self, Process};
use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The program. It is killed when dropped.
pub(crate) struct Program {
    child: Child,
    /// The log record with the addresses of its listeners.
    listening: String,
    ticks_per_second: f64,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts the program with these settings, and waits until it is ready.
    pub(crate) fn start(
        folder: &Path,
        settings: &[(&str, &str)],
        patience: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/broker-catalog.json");
        let settings = settings.iter().map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value));
        let mut child = Command::new(env!("CARGO_BIN_EXE_scrapebroker"))
            .arg("serve")
            .current_dir(folder)
            .env("SCRAPEBROKER__LISTEN", "127.0.0.1:0")
            .env("SCRAPEBROKER__BROKER__CATALOG", catalog)
            .envs(settings)
            .env("SCRAPEBROKER__LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let listening = loop {
            let line = lines.next().ok_or("the program ended")??;
            if line.contains("\"address\":") {
                break line;
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let ticks = procfs::ticks_per_second() as f64;
        let program = Self { child, listening, ticks_per_second: ticks };
        let started = Instant::now();
        while program.get("/-/ready", "")?.0 != 200 {
            if started.elapsed() > patience {
                return Err("the program did not become ready".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(program)
    }

    /// The address of a listener: `address` or `query_address`.
    pub(crate) fn address(&self, listener: &str) -> Result<SocketAddr, Box<dyn Error>> {
        let (_, rest) =
            self.listening.split_once(&format!("\"{listener}\":\"")).ok_or("no such listener")?;
        Ok(rest.split('"').next().unwrap_or_default().parse()?)
    }

    /// Returns the status and the length of the response, with its head.
    pub(crate) fn get(&self, path: &str, headers: &str) -> Result<(u16, usize), Box<dyn Error>> {
        let mut stream = TcpStream::connect(self.address("address")?)?;
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

    /// CPU time since the start of the program.
    pub(crate) fn cpu_s(&self) -> Result<f64, Box<dyn Error>> {
        let stat = Process::new(self.child.id() as i32)?.stat()?;
        Ok((stat.utime + stat.stime) as f64 / self.ticks_per_second)
    }

    /// `/proc/{pid}/status`, with its memory.
    pub(crate) fn status(&self) -> Result<process::Status, Box<dyn Error>> {
        Ok(Process::new(self.child.id() as i32)?.status()?)
    }
}

/// Number of cores and model of the processor.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(" unknown");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, {}", model.trim_start_matches(['\t', ' ', ':']))
}
