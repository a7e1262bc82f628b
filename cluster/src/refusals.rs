//! Counts and logs who was not let in, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::repeats::Repeats;

/// How long a cause stays unsaid once it was said.
const PERIOD: Duration = Duration::from_secs(10);

/// Counts each refusal, and logs one for each cause and period.
#[derive(Debug)]
pub(crate) struct Refusals {
    causes: Mutex<Causes>,
}

#[derive(Debug)]
struct Causes {
    totals: BTreeMap<&'static str, u64>,
    said: Repeats<&'static str>,
}

impl Default for Refusals {
    fn default() -> Self {
        let causes = Causes { totals: BTreeMap::new(), said: Repeats::new(PERIOD) };
        Self { causes: Mutex::new(causes) }
    }
}

impl Refusals {
    /// Notes one.
    pub(crate) fn note(&self, cause: &'static str, why: &dyn fmt::Display) {
        metrics::counter!("umbel_refusals_total", "cause" => cause).increment(1);
        let unsaid = {
            let mut causes = self.causes.lock();
            *causes.totals.entry(cause).or_default() += 1;
            causes.said.note(cause, Instant::now())
        };
        if let Some(unsaid) = unsaid {
            tracing::warn!(target: "umbel", cause, unsaid, "refused: {why}");
        }
    }

    /// How many there were of each cause.
    pub(crate) fn totals(&self) -> BTreeMap<&'static str, u64> {
        self.causes.lock().totals.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_counted_whether_it_is_said_or_not() {
        let refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.note("busy", &"no room");
        }
        refusals.note("silent", &"nothing said");
        assert_eq!(refusals.totals(), BTreeMap::from([("busy", 1000), ("silent", 1)]));
    }
}
