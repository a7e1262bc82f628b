//! What the demo says in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use console::style;
use serde::Serialize;
use umbel_protocol::NodeName;

use crate::demo::tally::Tally;

/// The words that the table shows.
const TOP: usize = 10;

/// What `--json` prints, and what the exit status follows from.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) files: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) distinct: u64,
    pub(crate) correct: bool,
    pub(crate) nodes: u16,
    pub(crate) killed: Option<String>,
    pub(crate) detected_in_ms: Option<f64>,
    pub(crate) recovered_in_ms: Option<f64>,
    pub(crate) batches_resent: u64,
    pub(crate) seconds: f64,
}

/// A duration in milliseconds, to the microsecond.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A duration in seconds, to the millisecond.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

/// The most frequent words, and what each node has done.
pub(crate) fn table(
    tally: &Tally,
    by_node: &BTreeMap<NodeName, (u64, u64)>,
    killed: Option<&NodeName>,
) -> Vec<String> {
    let mut lines = vec![String::new()];
    let top = tally.top(TOP);
    let most = top.first().map_or(1, |(_, count)| *count).max(1);
    for (word, count) in top {
        let bar = "▇".repeat(usize::try_from(count * 30 / most).unwrap_or(30).max(1));
        let word: String = word.chars().take(20).collect();
        lines.push(format!("  {word:>20} {count:>12}  {}", style(bar).green()));
    }
    lines.push(String::new());
    for (node, (batches, words)) in by_node {
        let fate = if killed == Some(node) { "  (killed)" } else { "" };
        lines.push(format!(
            "  {:>20} {words:>12}  words of {batches} batches{}",
            node.as_str(),
            style(fate).red()
        ));
    }
    lines.push(String::new());
    lines
}

/// `1 file`, `2 files`.
pub(crate) fn counted(number: u64, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}
