//! All that happened in a run, as a number or as lines.

use std::fmt::{self, Write};
use std::time::Duration;

/// Takes note of everything that happens, in order. Two runs are the same where their hashes are.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Fnv,
    events: u64,
    lines: Option<Vec<String>>,
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo), of text as it is written.
#[derive(Debug)]
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

/// What marks the lines that tell what arrives: the connection's number and the end, and what it is.
const ARRIVES: &str = "<-";

impl Trace {
    pub(crate) fn new(keep_lines: bool) -> Self {
        let lines = keep_lines.then(Vec::new);
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), events: 0, lines }
    }

    pub(crate) fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.events += 1;
        writeln!(self.hash, "{} {what}", at.as_micros()).expect("hashing does not fail");
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>11.6}s {what}", at.as_secs_f64()));
        }
    }

    /// Something arrives at a machine. Such lines are many, and told only where all are.
    pub(crate) fn arrives(&mut self, at: Duration, machine: usize, what: fmt::Arguments<'_>) {
        self.note(at, format_args!("m{machine} {ARRIVES} {what}"));
    }

    /// Whether a line tells of an arrival.
    pub(crate) fn is_of_network(line: &str) -> bool {
        line.split_whitespace().nth(2) == Some(ARRIVES)
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
