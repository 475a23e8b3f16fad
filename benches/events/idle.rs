//! CPU time of queues that get no events.

use crate::{client::Connection, program::Program, start};
use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

const QUEUES: usize = 100;
const DURATION: Duration = Duration::from_secs(30);
/// The interval in which each queue is scraped.
const INTERVAL: Duration = Duration::from_secs(15);

const BROKER: [(&str, &str); 2] =
    [("BROKER__USERNAME", "bench"), ("BROKER__PASSWORD", "a password for benchmarks")];
/// `bench:a password for benchmarks`
const LOGIN: &str = "Authorization: Basic YmVuY2g6YSBwYXNzd29yZCBmb3IgYmVuY2htYXJrcw==\r\n\
                     X-Broker-API-Version: 2.15\r\nContent-Type: application/json\r\n";
const IDS: &str = "\"service_id\": \"6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a03\", \
                   \"plan_id\": \"6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a31\"";

pub(crate) fn measure() -> Result<(), Box<dyn Error>> {
    let (program, _folder) = start(&BROKER)?;
    let mut connection = Connection::open(program.address("address")?)?;
    let instance = format!("{{{IDS}, \"organization_guid\": \"o\", \"space_guid\": \"s\"}}");
    connection.send("PUT", "/broker/v2/service_instances/i", LOGIN, &instance)?;
    let mut tokens = Vec::new();
    for queue in 0..QUEUES {
        let path = format!("/broker/v2/service_instances/i/service_bindings/b{queue}");
        let bound = connection.send("PUT", &path, LOGIN, &format!("{{{IDS}}}"))?;
        let token = bound.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
        tokens.push(token.ok_or("a binding has no token")?.to_owned());
    }
    println!("{QUEUES} queues without events, SQLite");
    let share = cpu_share(&program, || {
        thread::sleep(DURATION);
        Ok(())
    })?;
    println!("  {:.2} % of a core over {} s", share * 100.0, DURATION.as_secs());
    let share = cpu_share(&program, || scrape_all(&mut connection, &tokens))?;
    println!(
        "  {:.2} % of a core while each is scraped every {} s",
        share * 100.0,
        INTERVAL.as_secs()
    );
    Ok(())
}

fn cpu_share(
    program: &Program,
    work: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let (begun, cpu) = (Instant::now(), program.cpu_s()?);
    work()?;
    Ok((program.cpu_s()? - cpu) / begun.elapsed().as_secs_f64())
}

fn scrape_all(connection: &mut Connection, tokens: &[String]) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    while begun.elapsed() < DURATION {
        for token in tokens {
            let headers = format!("Authorization: Bearer {token}\r\n");
            connection.send("GET", "/v1/events/metrics", &headers, "")?;
            thread::sleep(INTERVAL / u32::try_from(QUEUES)?);
        }
    }
    Ok(())
}
