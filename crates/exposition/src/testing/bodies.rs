//! Generated bodies, partly with errors, each made from a seed.

/// A reproducible random number generator (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// A line of a body.
#[derive(Clone, Debug)]
pub enum Line {
    Metadata(String),
    Sample(Sample),
}

/// A sample before it is written.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: String,
    pub timestamp_ms: Option<u64>,
    pub has_exemplar: bool,
}

/// A few names, so that they often occur together.
const NAMES: &[&str] = &[
    "x",
    "x_total",
    "x_created",
    "x_sum",
    "y",
    "y_count",
    "y_bucket",
    "z_seconds",
    "i",
    "i_info",
    "a_total",
    "a.b",
    "a.b_total",
];
const VALUES: &[&str] = &["1", "0", "2", "3", "-1", "NaN", "1.5", "+Inf", "1e3", "5"];

/// Generates the lines of one family, mostly valid ones.
pub struct Block<'a> {
    random: &'a mut Random,
    is_openmetrics: bool,
    /// Whether the samples are complete and in the required order.
    is_valid: bool,
    samples: Vec<Sample>,
}

/// The lines of one family.
pub fn block(seed: u64, is_openmetrics: bool) -> Vec<Line> {
    let random = &mut Random::new(seed);
    let is_valid = random.percent(60);
    Block { random, is_openmetrics, is_valid, samples: Vec::new() }.lines()
}

/// All lines as text. OpenMetrics ends with `# EOF`.
pub fn text(lines: &[Line], is_openmetrics: bool) -> String {
    let mut text = String::new();
    for line in lines {
        match line {
            Line::Metadata(line) => text.push_str(line),
            Line::Sample(sample) => sample.write(is_openmetrics, &mut text),
        }
        text.push('\n');
    }
    if is_openmetrics {
        text.push_str("# EOF\n");
    }
    text
}

impl Block<'_> {
    fn lines(mut self) -> Vec<Line> {
        let name = self.random.pick(NAMES);
        let metric_type = match self.random.below(8) {
            0 | 1 => "counter",
            2 => "gauge",
            3 => "histogram",
            4 => "summary",
            other if self.is_openmetrics => ["info", "stateset", "gaugehistogram"][other - 5],
            _ => self.random.pick(&["untyped", "histogram", "counter"]),
        };
        let mut lines = self.metadata(name, metric_type);
        match metric_type {
            "histogram" => self.histogram(name, ""),
            "gaugehistogram" => self.histogram(name, "g"),
            "summary" => self.summary(name),
            "counter" => self.counter(name),
            "info" => {
                let value = self.random.pick(&["1", "1", "1", "2"]);
                self.sample(&format!("{name}_info"), None, value);
            }
            "stateset" => {
                for state in ["u", "v"] {
                    let value = self.random.pick(&["0", "0", "1"]);
                    self.samples.push(Sample {
                        labels: vec![(name.to_owned(), state.to_owned())],
                        ..Sample::new(name, value)
                    });
                }
            }
            _ => {
                for _ in 0..=self.random.below(3) {
                    self.any(name);
                }
            }
        }
        if self.random.percent(20) {
            self.random.shuffle(&mut self.samples);
        }
        let at = if self.random.percent(10) { 0 } else { lines.len() };
        lines.splice(at..at, self.samples.into_iter().map(Line::Sample));
        lines
    }

    fn metadata(&mut self, name: &str, metric_type: &str) -> Vec<Line> {
        let name = if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() };
        let mut lines = Vec::new();
        if self.random.percent(50) {
            lines.push(format!("# HELP {name} h \"q\" \\\\ \\n"));
        }
        if self.random.percent(80) {
            lines.push(format!("# TYPE {name} {metric_type}"));
        }
        if self.is_openmetrics && self.random.percent(30) {
            lines.push(format!("# UNIT {name} seconds"));
        }
        lines.into_iter().map(Line::Metadata).collect()
    }

    fn any(&mut self, name: &str) {
        let value = self.random.pick(VALUES);
        self.sample(name, None, value);
    }

    fn sample(&mut self, name: &str, more: Option<(&str, &str)>, value: &str) {
        let labels = self.labels();
        self.sample_of(name, &labels, more, value);
    }

    fn sample_of(
        &mut self,
        name: &str,
        labels: &[(String, String)],
        more: Option<(&str, &str)>,
        value: &str,
    ) {
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let timestamps = [1500, 1250, 1125, 1001];
        let timestamp_ms =
            self.random.percent(10).then(|| timestamps[self.random.below(timestamps.len())]);
        let has_exemplar = self.is_openmetrics && self.random.percent(10);
        let labels = labels.iter().cloned().chain(more).collect();
        self.samples.push(Sample {
            labels,
            timestamp_ms,
            has_exemplar,
            ..Sample::new(name, value)
        });
    }

    fn labels(&mut self) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        for name in ["a", "b", "index", "l.m"] {
            if self.random.percent(25) {
                labels.push((name.to_owned(), self.random.pick(&["1", "2", "q"]).to_owned()));
            }
        }
        self.random.shuffle(&mut labels);
        labels
    }

    fn histogram(&mut self, name: &str, gauge: &str) {
        for _ in 0..=self.random.below(2) {
            let labels = self.labels();
            let mut bounds = ["1", "2.5", "+Inf"];
            if !self.is_valid {
                let mut bounds_with_errors = ["1", "2", "1.0", "0.5", "+Inf", "x"];
                self.random.shuffle(&mut bounds_with_errors);
                bounds.copy_from_slice(&bounds_with_errors[..3]);
            }
            let mut count = 0;
            for bound in bounds {
                count += self.random.below(3);
                let value = self.value(&count.to_string());
                self.sample_of(&format!("{name}_bucket"), &labels, Some(("le", bound)), &value);
            }
            for (part, good) in [("sum", "3".to_owned()), ("count", count.to_string())] {
                if self.is_valid || self.random.percent(70) {
                    let value = self.value(&good);
                    self.sample_of(&format!("{name}_{gauge}{part}"), &labels, None, &value);
                }
            }
            if self.random.percent(20) {
                self.sample_of(&format!("{name}_created"), &labels, None, "5");
            }
        }
    }

    fn summary(&mut self, name: &str) {
        for _ in 0..=self.random.below(2) {
            let labels = self.labels();
            let mut quantiles = ["0.5", ".9", "1", "2"];
            self.random.shuffle(&mut quantiles[..if self.is_valid { 3 } else { 4 }]);
            for quantile in &quantiles[..2] {
                let value = self.value("1");
                self.sample_of(name, &labels, Some(("quantile", quantile)), &value);
            }
            for part in ["_sum", "_count"] {
                let value = self.value("2");
                self.sample_of(&format!("{name}{part}"), &labels, None, &value);
            }
        }
    }

    fn counter(&mut self, name: &str) {
        let stem = match name.strip_suffix("_total") {
            Some(stem) if !self.is_openmetrics => stem,
            _ => name,
        };
        for _ in 0..=self.random.below(3) {
            let labels = self.labels();
            let value = self.value("7");
            self.sample_of(&format!("{stem}_total"), &labels, None, &value);
            if self.random.percent(40) {
                self.sample_of(&format!("{stem}_created"), &labels, None, "5");
            }
        }
        if !self.is_openmetrics && self.random.percent(50) {
            self.any(name);
        }
    }

    fn value(&mut self, good: &str) -> String {
        if self.is_valid { good.to_owned() } else { self.random.pick(VALUES).to_owned() }
    }
}

impl Sample {
    fn new(name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        Self { name, labels: Vec::new(), value, timestamp_ms: None, has_exemplar: false }
    }

    fn write(&self, is_openmetrics: bool, text: &mut String) {
        let quoted = |name: &str| match name.contains('.') {
            true => format!("\"{name}\""),
            false => name.to_owned(),
        };
        let mut inner: Vec<_> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{}=\"{value}\"", quoted(name)))
            .collect();
        if self.name.contains('.') {
            inner.insert(0, quoted(&self.name));
        } else {
            text.push_str(&self.name);
        }
        if !inner.is_empty() {
            text.push_str(&format!("{{{}}}", inner.join(",")));
        }
        text.push_str(&format!(" {}", self.value));
        match self.timestamp_ms {
            Some(timestamp_ms) if is_openmetrics => {
                text.push_str(&format!(" {}", timestamp_ms as f64 / 1000.0));
            }
            Some(timestamp_ms) => text.push_str(&format!(" {timestamp_ms}")),
            None => {}
        }
        if self.has_exemplar {
            text.push_str(" # {t=\"1\"} 0.5");
        }
    }
}
