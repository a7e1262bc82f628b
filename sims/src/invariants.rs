//! What must hold in a world, whatever goes wrong: one file each, pure, told what happened and how
//! things stand.

mod agreement;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::agreement::disagreement;
use crate::outcome::Violation;
use crate::record::Recorded;
use crate::snapshot::Snapshot;

/// Where invariants put what they find.
pub(crate) struct Findings<'a> {
    pub(crate) now: Duration,
    pub(crate) found: &'a mut Vec<Violation>,
}

impl Findings<'_> {
    pub(crate) fn report(&mut self, invariant: &str, what: String) {
        let at_seconds = self.now.as_secs_f64();
        self.found.push(Violation { invariant: invariant.to_owned(), at_seconds, what });
    }
}

/// One thing that must hold.
pub(crate) trait Invariant {
    /// Somebody saw or did something.
    fn happened(&mut self, _: &Recorded, _: &mut Findings<'_>) {}

    /// Looked at several times a second.
    fn stands(&mut self, _: &Snapshot<'_>, _: &mut Findings<'_>) {}

    /// Looked at once, when the faults are over, all agree, and all clients are done.
    fn settled(&mut self, _: &Snapshot<'_>, _: &mut Findings<'_>) {}
}

/// All of them, and those of the user.
pub(crate) struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    pub(crate) fn new(checks: &[Check]) -> Self {
        let mut all: Vec<Box<dyn Invariant>> = Vec::new();
        all.extend(checks.iter().cloned().map(|check| Box::new(check) as Box<dyn Invariant>));
        Self(all)
    }

    pub(crate) fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        for invariant in &mut self.0 {
            invariant.happened(what, findings);
        }
    }

    pub(crate) fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for invariant in &mut self.0 {
            invariant.stands(snapshot, findings);
        }
    }

    pub(crate) fn settled(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for invariant in &mut self.0 {
            invariant.settled(snapshot, findings);
        }
    }
}

/// What a user's invariant says: what does not hold.
type Holds = dyn Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync;

/// An invariant of the user's.
#[derive(Clone)]
pub(crate) struct Check {
    name: String,
    in_the_end: bool,
    holds: Arc<Holds>,
}

impl Check {
    pub(crate) fn always(
        name: String,
        holds: impl Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { name, in_the_end: false, holds: Arc::new(holds) }
    }

    pub(crate) fn finally(
        name: String,
        holds: impl Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { in_the_end: true, ..Self::always(name, holds) }
    }

    fn look(&self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        if let Err(what) = (self.holds)(snapshot) {
            findings.report(&self.name, what);
        }
    }
}

impl Invariant for Check {
    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        if !self.in_the_end {
            self.look(snapshot, findings);
        }
    }

    fn settled(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        if self.in_the_end {
            self.look(snapshot, findings);
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}
