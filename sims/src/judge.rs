//! Judges a history as it comes: that of a simulated world, and that of real processes.

use std::collections::BTreeMap;
use std::time::Duration;

use umbel_protocol::NodeId;

use crate::invariants::{Check, Findings, Invariants, Limits};
use crate::outcome::Violation;
use crate::record::{Record, Recorded};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::standing::Standing;

/// Tells the invariants what happens and how things stand, and keeps what they find.
pub(crate) struct Judge {
    invariants: Invariants,
    slack: Duration,
    deaths: BTreeMap<NodeId, Duration>,
    violations: Vec<Violation>,
}

impl Judge {
    /// A judge by all invariants, with these limits, and by these checks of the user's.
    pub(crate) fn new(checks: &[Check], limits: Limits) -> Self {
        Self {
            invariants: Invariants::new(checks, limits),
            slack: Duration::ZERO,
            deaths: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// Has things take longer than their stated bounds by as much: on a real machine, which does other
    /// things as well. How they stand is looked at as if it were so much earlier.
    #[cfg(all(unix, feature = "command"))]
    pub(crate) fn slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// Hears what happened, in order.
    pub(crate) fn hear(&mut self, now: Duration, records: &[Recorded]) {
        let mut findings = Findings { now, found: &mut self.violations };
        for recorded in records {
            if let Record::Left { node, .. } = &recorded.record {
                self.deaths.insert(node.clone(), recorded.at);
            }
            self.invariants.happened(recorded, &mut findings);
        }
    }

    /// Learns that a life is over.
    pub(crate) fn died(&mut self, node: NodeId, at: Duration) {
        self.deaths.insert(node, at);
    }

    /// Looks at how things stand.
    pub(crate) fn look(&mut self, now: Duration, nodes: &[Standing], shared: Option<&Shared>) {
        self.judge(now, nodes, shared, false);
    }

    /// Looks at how things stand when all should be well.
    pub(crate) fn settle(&mut self, now: Duration, nodes: &[Standing], shared: Option<&Shared>) {
        self.judge(now, nodes, shared, true);
    }

    fn judge(
        &mut self,
        now: Duration,
        nodes: &[Standing],
        shared: Option<&Shared>,
        is_settled: bool,
    ) {
        let (as_of, deaths) = (now.saturating_sub(self.slack), &self.deaths);
        let snapshot = Snapshot { now: as_of, nodes, deaths, shared };
        let mut findings = Findings { now, found: &mut self.violations };
        self.invariants.stands(&snapshot, &mut findings);
        if is_settled {
            self.invariants.settled(&snapshot, &mut findings);
        }
    }

    /// Notes something that no invariant can see.
    pub(crate) fn report(&mut self, now: Duration, invariant: &str, what: String) {
        Findings { now, found: &mut self.violations }.report(invariant, what);
    }

    /// What has not held so far.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// All that has not held.
    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }
}
