//! The other process: how it is started, what it says, and what its actor counts.
//!
//! It prints its address, then answers each line on its standard input (`cpu`, `took`) with one on
//! its standard output, and ends with its input.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Payload, Peer, harness, runtime};

/// The hidden argument that makes the benchmark a server: `FLAG peer files`.
pub(crate) const FLAG: &str = "--serve";

/// Nanoseconds since the machine's start, the same in all processes; 0 where none can be had.
pub(crate) fn now_ns() -> u64 {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic));
        now.map_or(0, |now| now.as_nanos() as u64)
    }
    #[cfg(not(unix))]
    0
}

/// How many tells an actor has taken, and how long those were under way that said when they were
/// sent.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    counted: u64,
    took: Arc<Mutex<Vec<u64>>>,
}

impl Tally {
    pub(crate) fn count(&mut self, payload: &Payload) {
        self.counted += 1;
        let sent = payload.0.first_chunk().map_or(0, |sent| u64::from_le_bytes(*sent));
        if sent > 0 {
            self.took.lock().expect("no one panics").push(now_ns().saturating_sub(sent));
        }
    }

    pub(crate) fn counted(&self) -> u64 {
        self.counted
    }
}

/// The server's process.
pub(crate) fn run<P: Peer>(files: &Path) {
    let tally = Tally::default();
    let took = tally.took.clone();
    let runtime = runtime();
    println!("{}", runtime.block_on(P::serve(files, tally)));
    for line in std::io::stdin().lines() {
        match line.as_deref() {
            Ok("cpu") => println!("{}", harness::cpu_time().map_or(0, |cpu| cpu.as_nanos())),
            Ok("took") => {
                let took = std::mem::take(&mut *took.lock().expect("no one panics"));
                println!("{}", serde_json::to_string(&took).expect("numbers are JSON"));
            }
            _ => break,
        }
    }
    // What runs is to end with its peer, not in order.
    runtime.shutdown_background();
}

/// A server's process, as the client sees it. Ends with this.
pub(crate) struct Server {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    pub(crate) fn start(peer: &str, files: &Path) -> Self {
        let program = std::env::current_exe().expect("the benchmark has a path");
        let mut process = Command::new(program)
            .args([FLAG, peer])
            .arg(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the benchmark can be run once more");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut server = Self { process, input, output, address: String::new() };
        server.address = server.line();
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it speaks");
        assert!(line.ends_with('\n'), "the server ended early");
        line.truncate(line.len() - 1);
        line
    }

    fn asked(&mut self, what: &str) -> String {
        let input = self.input.as_mut().expect("it is open until the end");
        writeln!(input, "{what}").expect("it listens");
        self.line()
    }

    /// The CPU time that it has used, in all its threads.
    pub(crate) fn cpu(&mut self) -> Option<Duration> {
        let nanos = self.asked("cpu").parse().expect("a number");
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// How long tells were under way.
    pub(crate) fn took(&mut self) -> impl Iterator<Item = Duration> + use<> {
        let took = self.asked("took");
        let took: Vec<u64> = serde_json::from_str(&took).expect("a list of numbers");
        took.into_iter().map(Duration::from_nanos)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
