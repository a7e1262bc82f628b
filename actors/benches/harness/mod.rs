//! What the benchmarks of all crates share: options, rounds, clocks, and how results are told.
//!
//! A benchmark is a list of [`Case`]s. Those with the same name and parameters are peers: they run
//! in turn, round after round, so that whatever else the machine does hits all of them alike.

mod options;

use std::fmt;
use std::process::{Command, Stdio, exit};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use options::ALONE;
pub(crate) use options::Options;

/// The longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(100);

/// One thing to measure, in one way.
pub(crate) struct Case {
    bench: &'static str,
    peer: &'static str,
    params: Map<String, Value>,
    /// What is peculiar to this peer.
    variant: Map<String, Value>,
    /// Under what conditions it is measured: told with its parameters, but no part of its name.
    conditions: Map<String, Value>,
    ops: u64,
    apart: bool,
    run: Box<dyn FnMut(u64) -> Sample>,
}

impl Case {
    /// A case that `run` measures, doing the number of operations (`ops` in a full run) that it is
    /// given. `params` is a JSON object.
    pub(crate) fn new(
        bench: &'static str,
        peer: &'static str,
        params: Value,
        ops: u64,
        run: impl FnMut(u64) -> Sample + 'static,
    ) -> Self {
        Self {
            bench,
            peer,
            params: object(params),
            variant: Map::new(),
            conditions: Map::new(),
            ops,
            apart: false,
            run: Box::new(run),
        }
    }

    /// Gives each round a process of its own, so that none finds the heap that another has left:
    /// where much memory is taken, that alone can make a round twice as fast.
    #[allow(dead_code, reason = "only some benchmarks take much memory")]
    pub(crate) fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Parameters (a JSON object) that tell this case from another one of the same peer. It is
    /// compared with all that have the same parameters but for these.
    #[allow(dead_code, reason = "only some benchmarks have variants")]
    pub(crate) fn variant(mut self, params: Value) -> Self {
        self.variant = object(params);
        self
    }

    /// Under what conditions (a JSON object) it is measured.
    #[allow(dead_code, reason = "only some benchmarks have conditions")]
    pub(crate) fn under(mut self, conditions: Value) -> Self {
        self.conditions = object(conditions);
        self
    }

    fn subject(&self) -> String {
        listed(self.bench, &self.params)
    }

    fn who(&self) -> String {
        listed(self.peer, &self.variant)
    }

    fn line(&self) -> String {
        format!("{} {}", self.subject(), self.who())
    }

    fn round(&mut self, ops: u64) -> Sample {
        if !self.apart {
            return (self.run)(ops);
        }
        let program = std::env::current_exe().expect("the benchmark has a path");
        let mut command = Command::new(program);
        command.args([ALONE, &self.line(), &ops.to_string()]).stderr(Stdio::inherit());
        let output = command.output().expect("the benchmark can be run once more");
        assert!(output.status.success(), "a round ended with {}", output.status);
        let told = serde_json::from_slice(&output.stdout).expect("a round tells its sample only");
        Sample::from_told(told)
    }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("params are an object: {value}") };
    members
}

fn listed(name: &str, params: &Map<String, Value>) -> String {
    let mut text = name.to_owned();
    for (name, value) in params {
        text += &format!(" {name}={}", value.to_string().trim_matches('"'));
    }
    text
}

/// What one round of a case took.
#[derive(Debug)]
pub(crate) struct Sample {
    ops: u64,
    elapsed: Duration,
    /// CPU time of all that worked on it; `None` where the system does not tell.
    cpu: Option<Duration>,
    latencies: Latencies,
}

/// A sample on its way from one process to another.
#[derive(Serialize, Deserialize)]
struct Told {
    ops: u64,
    elapsed: Duration,
    cpu: Option<Duration>,
    /// Each with how often it came.
    latencies: Vec<(u64, u64)>,
}

impl Sample {
    fn told(&self) -> Told {
        let latencies = self.latencies.0.iter_recorded();
        let latencies =
            latencies.map(|value| (value.value_iterated_to(), value.count_at_value())).collect();
        Told { ops: self.ops, elapsed: self.elapsed, cpu: self.cpu, latencies }
    }

    fn from_told(Told { ops, elapsed, cpu, latencies: told }: Told) -> Self {
        let mut latencies = Latencies::new();
        for (value, times) in told {
            latencies.0.saturating_record_n(value, times);
        }
        Self { ops, elapsed, cpu, latencies }
    }

    /// Adds the CPU time of another process that had its part in it.
    #[allow(dead_code, reason = "only some benchmarks have several processes")]
    pub(crate) fn add_cpu(&mut self, other: Option<Duration>) {
        self.cpu = self.cpu.zip(other).map(|(own, other)| own + other);
    }

    fn per_s(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }

    fn cpu_ns(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_nanos() as f64 / self.ops as f64)
    }
}

/// Measures from its start to its stop.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    since: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { cpu: cpu_time(), since: Instant::now() }
    }

    /// The reading, for later: what follows, like cleaning up, does not count.
    pub(crate) fn stop(self) -> Reading {
        let elapsed = self.since.elapsed();
        let cpu = cpu_time().zip(self.cpu).map(|(now, then)| now.saturating_sub(then));
        Reading { elapsed, cpu }
    }
}

/// What a stopwatch showed.
#[derive(Debug)]
pub(crate) struct Reading {
    elapsed: Duration,
    cpu: Option<Duration>,
}

impl Reading {
    pub(crate) fn sample(self, ops: u64, latencies: Latencies) -> Sample {
        Sample { ops, elapsed: self.elapsed, cpu: self.cpu, latencies }
    }
}

/// The CPU time that this process has used, in all its threads.
pub(crate) fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()
    }
    #[cfg(not(unix))]
    None
}

/// How long operations took, each from its beginning to its end.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let max = LATENCY_MAX.as_nanos() as u64;
        Self(Histogram::new_with_bounds(1, max, 2).expect("these bounds are valid"))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(took.as_nanos() as u64);
    }

    pub(crate) fn add(&mut self, others: &Self) {
        self.0.add(&others.0).expect("both have the same bounds");
    }

    /// Those of so many tasks side by side, each of which tells its own.
    #[allow(dead_code, reason = "only some benchmarks have callers")]
    pub(crate) async fn of_tasks<F>(tasks: u64, task: impl Fn() -> F) -> Self
    where
        F: Future<Output = Self> + Send + 'static,
    {
        let tasks: Vec<_> = (0..tasks).map(|_| tokio::spawn(task())).collect();
        let mut all = Self::new();
        for task in tasks {
            all.add(&task.await.expect("no caller panics"));
        }
        all
    }

    fn micros(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }
}

/// What is told of a case: its median round, by rate.
struct Finding {
    subject: String,
    who: String,
    bench: &'static str,
    peer: &'static str,
    params: Map<String, Value>,
    sample: Sample,
    /// Umbel's rate by this one's: the median of the ratios of the rounds.
    ratio: Option<f64>,
}

/// One line of `--json`, its fields in this order.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'a str,
    peer: &'a str,
    params: &'a Map<String, Value>,
    ops: u64,
    per_s: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    cpu_ns: Option<f64>,
    ratio: Option<f64>,
}

impl Finding {
    fn json(&self) -> String {
        let sample = &self.sample;
        let line = Line {
            bench: self.bench,
            peer: self.peer,
            params: &self.params,
            ops: sample.ops,
            per_s: sample.per_s().round(),
            p50_us: sample.latencies.micros(0.5),
            p99_us: sample.latencies.micros(0.99),
            cpu_ns: sample.cpu_ns().map(f64::round),
            ratio: self.ratio.map(|ratio| (ratio * 100.0).round() / 100.0),
        };
        serde_json::to_string(&line).expect("a line has nothing that JSON has not")
    }
}

/// Runs the cases that the options choose and tells what came out on the standard output.
pub(crate) fn run(options: &Options, mut cases: Vec<Case>) {
    if let Some((line, ops)) = &options.alone {
        let case = cases.iter_mut().find(|case| case.line() == *line);
        let sample = (case.expect("the same benchmark asked for it").run)(*ops);
        println!("{}", serde_json::to_string(&sample.told()).expect("a sample is plain data"));
        return;
    }
    let mut subjects: Vec<(String, Vec<Case>)> = Vec::new();
    for case in cases {
        let subject = case.subject();
        if options.only.as_ref().is_some_and(|only| !case.line().contains(only)) {
            continue;
        }
        // Beside its peers, in the order in which the subjects came up.
        match subjects.iter_mut().find(|(known, _)| *known == subject) {
            Some((_, peers)) => peers.push(case),
            None => subjects.push((subject, vec![case])),
        }
    }
    if subjects.is_empty() {
        eprintln!("error: no case matches --only {:?}", options.only.as_deref().unwrap_or(""));
        exit(2);
    }
    let mut findings = Vec::new();
    for (subject, peers) in subjects {
        eprintln!("{subject} ...");
        for finding in compare(options, &subject, peers) {
            if options.json {
                println!("{}", finding.json());
            }
            findings.push(finding);
        }
    }
    if !options.json {
        print!("{}", Table(&findings));
    }
}

fn compare(options: &Options, subject: &str, mut peers: Vec<Case>) -> Vec<Finding> {
    let mut rounds: Vec<Vec<Sample>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds() {
        for turn in 0..peers.len() {
            // Each round begins with another one: none always runs in the wake of the same peer.
            let chosen = (round + turn) % peers.len();
            let case = &mut peers[chosen];
            let ops = options.ops(case.ops);
            rounds[chosen].push(case.round(ops));
        }
    }
    let rates = |samples: &Vec<Sample>| samples.iter().map(Sample::per_s).collect::<Vec<_>>();
    // The one without a variant, where there is one.
    let is_own = |case: &Case| case.peer == "umbel";
    let own = peers.iter().position(|case| is_own(case) && case.variant.is_empty());
    let own = own.or_else(|| peers.iter().rposition(is_own)).map(|own| rates(&rounds[own]));
    let told = peers.into_iter().zip(rounds).map(|(case, mut samples)| {
        let ratio = own.as_ref().map(|own| {
            let ratios = own.iter().zip(rates(&samples)).map(|(own, other)| own / other);
            let mut ratios: Vec<_> = ratios.collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        });
        samples.sort_by(|a, b| a.per_s().total_cmp(&b.per_s()));
        Finding {
            subject: subject.to_owned(),
            who: case.who(),
            bench: case.bench,
            peer: case.peer,
            params: case.params.into_iter().chain(case.variant).chain(case.conditions).collect(),
            sample: samples.swap_remove(samples.len() / 2),
            ratio,
        }
    });
    told.collect()
}

/// For people. `umbel/peer` is umbel's rate by the peer's, the median of the rounds' ratios: on a
/// busy machine, a ratio within a round is worth more than a rate.
struct Table<'a>(&'a [Finding]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.subject.len()).max().unwrap_or(0).max(5);
        let column = self.0.iter().map(|finding| finding.who.len()).max().unwrap_or(0).max(4);
        writeln!(
            f,
            "{:width$}  {:column$} {:>12} {:>10} {:>10} {:>10} {:>8}",
            "bench", "peer", "per second", "umbel/peer", "p50 µs", "p99 µs", "cpu ns"
        )?;
        let mut last = None;
        for finding in self.0 {
            let sample = &finding.sample;
            let subject = finding.subject.as_str();
            if last.is_some_and(|last| last != subject) {
                writeln!(f)?;
            }
            last = Some(subject);
            writeln!(
                f,
                "{subject:width$}  {:column$} {:>12.0} {:>10} {:>10} {:>10} {:>8}",
                finding.who,
                sample.per_s(),
                Figure(finding.ratio, 2),
                Figure(sample.latencies.micros(0.5), 2),
                Figure(sample.latencies.micros(0.99), 2),
                Figure(sample.cpu_ns(), 0),
            )?;
        }
        Ok(())
    }
}

/// A number with so many decimals, or a dash where there is none.
struct Figure(Option<f64>, usize);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => f.pad(&format!("{number:.*}", self.1)),
            None => f.pad("-"),
        }
    }
}
