//! Runs the complete program, and the instances that it scrapes, over real sockets.

use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The program. It is killed when dropped.
pub(crate) struct Program {
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
        let address = loop {
            let line = lines.next().ok_or("the program ended")??;
            if let Some(rest) = line.split("\"address\":\"").nth(1) {
                break rest.split('"').next().unwrap_or_default().parse()?;
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let ticks = procfs::ticks_per_second() as f64;
        let program = Self { child, address, ticks_per_second: ticks };
        let started = Instant::now();
        while program.get("/-/ready", "")?.0 != 200 {
            if started.elapsed() > patience {
                return Err("the program did not become ready".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(program)
    }

    /// Scrapes the app `bench-guid`. Returns the length of the response.
    pub(crate) fn scrape(&self, gzip: bool) -> Result<usize, Box<dyn Error>> {
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

    /// CPU time since the start of the program.
    pub(crate) fn cpu_s(&self) -> Result<f64, Box<dyn Error>> {
        let stat = procfs::process::Process::new(self.child.id() as i32)?.stat()?;
        Ok((stat.utime + stat.stime) as f64 / self.ticks_per_second)
    }

    /// Peak memory.
    pub(crate) fn peak_kb(&self) -> Result<u64, Box<dyn Error>> {
        let status = procfs::process::Process::new(self.child.id() as i32)?.status()?;
        Ok(status.vmhwm.unwrap_or_default())
    }
}

/// Starts an instance on a free port. It responds to all requests with `body`.
pub(crate) fn instance(body: String) -> SocketAddr {
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
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        request.extend_from_slice(&chunk[..n]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}
