//! What was counted in a run.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::outcome::Violation;
use crate::record::{Conclusion, Record};

/// How many kinds of failures are told apart; the others are counted as one.
const FAILURES_MAX: usize = 64;

/// What became of a run with real processes: what `--json` prints.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) scenario: &'static str,
    pub(super) seed: u64,
    pub(super) ok: bool,
    pub(super) nodes: usize,
    pub(super) seconds: f64,
    /// How many processes were started.
    pub(super) processes: u64,
    /// How many connections the proxies have carried.
    pub(super) connections: u64,
    /// How many faults there were, by kind.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// For each peace, how long after its beginning all was well.
    pub(super) recoveries_seconds: Vec<f64>,
    pub(super) records: u64,
    /// Lives that were taken for over and went on as others.
    pub(super) renewed: u64,
    /// Messages that were accepted for sending, and those that actors took.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Publications that subscribers heard.
    pub(super) heard: u64,
    /// Questions, and what became of them. Those that are missing ended with who asked.
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) wrong: u64,
    pub(super) failed: BTreeMap<String, u64>,
    /// Restarts by supervisors.
    pub(super) restarted: u64,
    pub(super) violations: Vec<Violation>,
}

impl Tally {
    pub(super) fn count(&mut self, record: &Record) {
        self.records += 1;
        match record {
            Record::Renewed { .. } => self.renewed += 1,
            Record::Sent { .. } => self.sent += 1,
            Record::Received { .. } => self.received += 1,
            Record::Heard { .. } => self.heard += 1,
            Record::Asked { .. } => self.asked += 1,
            Record::Restarted { .. } => self.restarted += 1,
            Record::Concluded { outcome: Conclusion::Answered, .. } => self.answered += 1,
            Record::Concluded { outcome: Conclusion::Wrong(_), .. } => self.wrong += 1,
            Record::Concluded { outcome: Conclusion::Failed(why), .. } => {
                let why = without_numbers(why);
                let is_known = self.failed.contains_key(&why) || self.failed.len() < FAILURES_MAX;
                let why = if is_known { why } else { "others".to_owned() };
                *self.failed.entry(why).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// What is the same of failures that differ in names and times only.
fn without_numbers(why: &str) -> String {
    let word = |word: &str| match word.find(|letter: char| letter.is_ascii_digit()) {
        Some(_) if word.ends_with(';') => "…;".to_owned(),
        Some(_) => "…".to_owned(),
        None => word.to_owned(),
    };
    why.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, seconds, processes, connections, records, .. } = self;
        let how = if self.ok { "ok" } else { "FAIL" };
        writeln!(f, "chaos: {how} seed={seed}, {nodes} nodes for {seconds:.0} s")?;
        let faults: u64 = self.faults.values().sum();
        let kinds: Vec<_> =
            self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "{faults} faults: {}", kinds.join(", "))?;
        writeln!(
            f,
            "{processes} processes, {connections} connections, {} lives renewed, {} restarts by \
             supervisors, {records} records",
            self.renewed, self.restarted
        )?;
        let Self { sent, received, heard, .. } = self;
        writeln!(f, "{sent} messages sent, {received} received; {heard} publications heard")?;
        let Self { asked, answered, wrong, .. } = self;
        let failed: u64 = self.failed.values().sum();
        let open = asked.saturating_sub(answered + wrong + failed);
        writeln!(
            f,
            "{asked} questions: {answered} answered, {wrong} answered wrongly, {failed} failed, \
             {open} ended with who asked"
        )?;
        for (why, count) in &self.failed {
            writeln!(f, "  {count:>6} {why}")?;
        }
        let recoveries: Vec<_> =
            self.recoveries_seconds.iter().map(|seconds| format!("{seconds:.1}")).collect();
        let slowest = self.recoveries_seconds.iter().copied().fold(0.0, f64::max);
        write!(
            f,
            "all was well {} times, after {} s; {slowest:.1} s at most",
            recoveries.len(),
            recoveries.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_in_names_and_times_are_one_and_their_kinds_are_bounded() {
        let mut tally = Tally::default();
        let mut fail = |why: String| {
            let outcome = Conclusion::Failed(why);
            tally.count(&Record::Concluded { question: String::new(), outcome });
        };
        fail("no answer within 1.5s; who knows".to_owned());
        fail("no answer within 20ms; who knows".to_owned());
        (0..2 * FAILURES_MAX).for_each(|times| fail("x".repeat(times)));
        assert_eq!(tally.failed["no answer within …; who knows"], 2);
        assert_eq!(tally.failed.len(), FAILURES_MAX + 1);
        assert_eq!(tally.failed.values().sum::<u64>(), 2 + 2 * FAILURES_MAX as u64);
    }
}
