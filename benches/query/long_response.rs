//! A response that is too long for memory: the time until it starts, and the memory of the program
//! while it is transferred.

use crate::{
    client::{Connection, ResponseHead},
    figures::{millis, spread},
    pool::PoolProgram,
    replica,
};
use std::{
    error::Error,
    io::{self, BufRead, Read, Write},
    net::SocketAddr,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

const LENGTH: usize = 300_000_000;
const QUERY: &str = "/api/v1/query?query=long";
const ROUNDS: usize = 5;
/// Bytes per second that the slow client reads.
const SLOW: usize = 10_000_000;
const SLOW_FOR: Duration = Duration::from_secs(4);
const BLOCK: usize = 1 << 16;
/// How often the memory of the program is read.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) fn measure() -> Result<(), Box<dyn Error>> {
    let replica = start_replica();
    let pool = PoolProgram::start(&[replica])?;
    let (mut direct, mut proxied) = (Vec::new(), Vec::new());
    let memory = MemoryPeak::while_running(&pool, || {
        for _ in 0..ROUNDS {
            direct.extend(reported(transfer(replica)));
            proxied.extend(reported(transfer(pool.address)));
        }
    })?;
    let slow = MemoryPeak::while_running(&pool, || {
        reported(read_slowly(pool.address));
    })?;
    println!(
        "response of {} MB, medians of {ROUNDS} rounds (lowest to highest)",
        LENGTH / 1_000_000
    );
    let column = |transfers: &[Transfer], time: fn(&Transfer) -> Duration| {
        spread(transfers.iter().map(|it| millis(time(it))))
    };
    for (name, transfers) in [("direct", &direct), ("pool", &proxied)] {
        let (first, whole) = (column(transfers, |it| it.first), column(transfers, |it| it.whole));
        println!("  {name:<8} first byte after {first} ms, last byte after {whole} ms");
    }
    memory.print("clients at full speed");
    slow.print("a client that reads 10 MB/s");
    Ok(())
}

/// Prints an error.
fn reported<T>(result: Result<T, Box<dyn Error>>) -> Option<T> {
    result.inspect_err(|error| println!("ERROR: long response: {error}")).ok()
}

/// Times until the first and the last byte of the body.
struct Transfer {
    first: Duration,
    whole: Duration,
}

fn transfer(address: SocketAddr) -> Result<Transfer, Box<dyn Error>> {
    let mut connection = Connection::open(address)?;
    let start = Instant::now();
    let head = request(&mut connection)?;
    connection.raw_body().fill_buf()?;
    let first = start.elapsed();
    let length = connection.copy_body(&head, &mut io::sink())?;
    let whole = start.elapsed();
    if length >= LENGTH as u64 {
        Ok(Transfer { first, whole })
    } else {
        Err(format!("only {length} bytes").into())
    }
}

/// Disconnects in the middle of the response.
fn read_slowly(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut connection = Connection::open(address)?;
    request(&mut connection)?;
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    let start = Instant::now();
    while start.elapsed() < SLOW_FOR {
        connection.raw_body().read_exact(&mut block)?;
        length += block.len();
        let due = start + Duration::from_secs_f64(length as f64 / SLOW as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn request(connection: &mut Connection) -> Result<ResponseHead, Box<dyn Error>> {
    let head = connection.send(QUERY, "")?;
    match head.status {
        200 => Ok(head),
        status => Err(format!("status {status}").into()),
    }
}

/// Resident memory of the program, megabytes.
struct MemoryPeak {
    before: f64,
    highest: f64,
}

impl MemoryPeak {
    fn while_running(pool: &PoolProgram, run: impl FnOnce()) -> Result<Self, Box<dyn Error>> {
        let before = pool.resident_megabytes()?;
        let (running, ended) = mpsc::channel::<()>();
        let highest = thread::scope(|scope| {
            let sampler = scope.spawn(move || {
                let mut highest = before;
                while ended.recv_timeout(SAMPLE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    highest = pool.resident_megabytes().map_or(highest, |now| highest.max(now));
                }
                highest
            });
            run();
            drop(running);
            sampler.join().map_err(|_| "the sampler panicked")
        })?;
        Ok(Self { before, highest })
    }

    fn print(&self, what: &str) {
        let Self { before, highest } = self;
        let growth = highest - before;
        println!("  resident memory, {what}: {before:.1} MB before, at most {growth:.1} MB more");
    }
}

/// A replica that streams a long response as one chunk, as Prometheus does.
fn start_replica() -> SocketAddr {
    let oldest = replica::now() - 3600.0;
    let metrics = format!(
        "prometheus_build_info{{version=\"2.42.0\"}} 1\n\
         prometheus_tsdb_lowest_timestamp_seconds {oldest}\n\
         prometheus_tsdb_head_samples_appended_total{{type=\"float\"}} 1000\n\
         prometheus_target_interval_length_seconds{{interval=\"15s\",quantile=\"0.5\"}} 15\n"
    );
    replica::start(metrics, |target, out| match target {
        QUERY => write_long_response(out),
        _ => replica::respond_without_samples(target, out),
    })
}

fn write_long_response(out: &mut dyn Write) -> io::Result<()> {
    const START: &str =
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":["#;
    const SAMPLE: &str = r#"[1700000000,"1234.5"],"#;
    const END: &str = r#"[1700000000,"0"]]}]}}"#;
    let block = SAMPLE.repeat(BLOCK / SAMPLE.len());
    let blocks = LENGTH.div_ceil(block.len());
    let length = START.len() + blocks * block.len() + END.len();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{START}"
    )?;
    for _ in 0..blocks {
        out.write_all(block.as_bytes())?;
    }
    write!(out, "{END}\r\n0\r\n\r\n")
}
