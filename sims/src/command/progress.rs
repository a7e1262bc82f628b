//! How far it has come, on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, where that is a terminal; elsewhere nothing.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of so many steps.
    pub(crate) fn of(steps: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        Self(bar.with_style(styled(
            "{bar:30.green} {human_pos} of {human_len}  {per_sec}  {msg}  {eta} left",
        )))
    }

    /// Something of which nobody knows how long it takes.
    pub(crate) fn endless(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        Self(bar.with_style(styled("{spinner} {msg}  {elapsed}")).with_message(what))
    }

    /// One step more is done.
    pub(crate) fn step(&self, failed: u64) {
        if failed > 0 {
            self.0.set_message(format!("{failed} failed"));
        }
        self.0.inc(1);
    }

    /// Prints something where the bar is not.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants of this file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bars_have_templates_that_can_be_read() {
        let bar = Progress::of(2);
        bar.step(0);
        bar.step(1);
        assert_eq!((bar.0.position(), bar.0.message().as_str()), (2, "1 failed"));
        assert_eq!(Progress::endless("waits").aside(|| 7), 7);
    }
}
