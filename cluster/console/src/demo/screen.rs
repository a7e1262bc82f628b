//! What one sees of the demo while it runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use umbel_protocol::NodeName;

use crate::demo::counter::Progress;

/// Lines of what happened, with the time at which it did, on standard output; and bars on standard
/// error while that is a terminal.
pub(crate) struct Screen {
    quiet: bool,
    bars: MultiProgress,
    total: ProgressBar,
    nodes: BTreeMap<String, NodeLine>,
}

struct NodeLine {
    bar: ProgressBar,
    /// By counter: batches and words.
    counted: BTreeMap<String, (u64, u64)>,
}

impl Screen {
    /// `quiet` leaves standard output alone.
    pub(crate) fn new(quiet: bool) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let total = bars.add(ProgressBar::no_length());
        total.set_style(styled("{prefix:>10} {bar:36.green} {percent:>3}%  {bytes}/{total_bytes}"));
        Self { quiet, bars, total, nodes: BTreeMap::new() }
    }

    /// Says what happened, and when.
    pub(crate) fn say(&self, at: Duration, what: &str) -> io::Result<()> {
        let at = format!("{:>8.3} s", at.as_secs_f64());
        self.line(&format!("{}  {what}", style(at).dim()))
    }

    /// One line.
    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        self.bars.suspend(|| writeln!(io::stdout(), "{line}"))
    }

    /// Begins a new bar of so many bytes.
    pub(crate) fn begin(&self, what: &'static str, bytes: u64) {
        self.total.set_prefix(what);
        self.total.set_length(bytes);
        self.total.set_position(0);
    }

    /// So many bytes of the bar are done.
    pub(crate) fn done(&self, bytes: u64) {
        self.total.set_position(bytes);
    }

    /// Shows what came over the topic.
    pub(crate) fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Merged { bytes } => self.total.set_position(bytes),
            Progress::Counted { node, counter, batches, words } => {
                let line = self.nodes.entry(node).or_insert_with_key(|node| {
                    let bar = self.bars.add(ProgressBar::no_length());
                    bar.set_style(styled("{prefix:>10} {wide_msg}"));
                    bar.set_prefix(node.clone());
                    NodeLine { bar, counted: BTreeMap::new() }
                });
                line.counted.insert(counter, (batches, words));
                let sum = |of: fn(&(u64, u64)) -> u64| line.counted.values().map(of).sum::<u64>();
                let (batches, words) = (sum(|counted| counted.0), sum(|counted| counted.1));
                line.bar.set_message(format!("{batches} batches, {words} words"));
            }
        }
    }

    /// A node is no more.
    pub(crate) fn gone(&mut self, node: &NodeName) {
        if let Some(line) = self.nodes.remove(node.as_str()) {
            line.bar.finish_and_clear();
            self.bars.remove(&line.bar);
        }
    }

    /// Takes the bars away.
    pub(crate) fn clear(&mut self) {
        for line in std::mem::take(&mut self.nodes).into_values() {
            line.bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants of this file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_have_templates_that_can_be_read() {
        let mut screen = Screen::new(true);
        screen.begin("counted", 3);
        let counted = |batches| Progress::Counted {
            node: "node-1".to_owned(),
            counter: "counter-1".to_owned(),
            batches,
            words: 7,
        };
        screen.progress(counted(1));
        screen.progress(counted(2));
        assert_eq!(screen.nodes["node-1"].bar.message(), "2 batches, 7 words");
        screen.progress(Progress::Merged { bytes: 2 });
        assert_eq!(screen.total.position(), 2);
        screen.clear();
    }
}
