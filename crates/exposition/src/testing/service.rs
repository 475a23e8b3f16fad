//! Bodies like those of Go and JVM services: histograms, counters, gauges whose labels collide or
//! have escapes, and summaries.

use std::fmt::Write;

/// A body of at least `samples` samples. `seed` determines the values.
pub fn service_body(seed: u64, samples: usize) -> String {
    let mut body = Body { text: String::new(), samples: 0, state: seed };
    for name in ["go_goroutines", "process_open_fds", "process_resident_memory_bytes"] {
        body.family(name, "gauge", "What the process uses of it at the moment.");
        body.sample(name, "");
    }
    let mut k = 0;
    while body.samples < samples {
        match k % 4 {
            0 => body.histogram(&format!("http_server_requests_{k}_seconds")),
            1 => body.counter(&format!("app_events_{k}_total")),
            2 => body.gauge(&format!("hikaricp_connections_{k}_active")),
            _ => body.summary(&format!("rpc_latency_{k}_seconds")),
        }
        k += 1;
    }
    body.text
}

struct Body {
    text: String,
    samples: usize,
    state: u64,
}

impl Body {
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.state >> 33
    }

    fn family(&mut self, name: &str, metric_type: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {metric_type}\n"));
    }

    fn sample(&mut self, name: &str, labels: &str) {
        let value = self.random();
        let value = format!("{}.{:03}", value % 1_000_000, value % 997);
        self.sample_of(name, labels, &value);
    }

    fn sample_of(&mut self, name: &str, labels: &str, value: &str) {
        self.samples += 1;
        self.write(format_args!("{name}{labels} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text
            .write_fmt(text)
            .unwrap_or_else(|_| unreachable!("writing to a String does not fail"));
    }

    fn histogram(&mut self, name: &str) {
        self.family(
            name,
            "histogram",
            "Duration of HTTP server request handling, by uri and status.",
        );
        let bounds =
            ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
        for i in 0..6 {
            let labels = format!(
                r#"method="GET",outcome="SUCCESS",status="200",uri="/api/v1/resource{i}/{{id}}""#
            );
            let mut count = 0;
            for bound in bounds {
                count += self.random() % 1000;
                let labels = format!(r#"{{{labels},le="{bound}"}}"#);
                self.sample_of(&format!("{name}_bucket"), &labels, &count.to_string());
            }
            self.sample(&format!("{name}_sum"), &format!("{{{labels}}}"));
            self.sample_of(&format!("{name}_count"), &format!("{{{labels}}}"), &count.to_string());
        }
    }

    fn counter(&mut self, name: &str) {
        self.family(name, "counter", "Total number of application events handled since start.");
        for i in 0..25 {
            let labels = format!(
                r#"{{queue="orders-{i}",result="ok",worker="w-{i}",tenant="tenant-0{i}"}}"#
            );
            self.sample(name, &labels);
        }
    }

    fn gauge(&mut self, name: &str) {
        self.family(
            name,
            "gauge",
            r"Active connections, in the pool \\ of the data source\nsecond line.",
        );
        for i in 0..15 {
            let clash = if i % 5 == 0 {
                format!(r#",instance="10.0.{i}.7:9100",index="{i}""#)
            } else {
                String::new()
            };
            let labels = format!(
                r#"{{pool="HikariPool-{i}",db="jdbc:postgresql://db-{i}.internal/app?x=\"y\""{clash}}}"#
            );
            self.sample(name, &labels);
        }
    }

    fn summary(&mut self, name: &str) {
        self.family(name, "summary", "RPC latency quantiles.");
        for i in 0..4 {
            let labels = format!(r#"service="svc-{i}",method="Call{i}""#);
            for quantile in ["0.5", "0.9", "0.99"] {
                self.sample(name, &format!(r#"{{{labels},quantile="{quantile}"}}"#));
            }
            self.sample(&format!("{name}_sum"), &format!("{{{labels}}}"));
            let count = (self.random() % 1_000_000).to_string();
            self.sample_of(&format!("{name}_count"), &format!("{{{labels}}}"), &count);
        }
    }
}
