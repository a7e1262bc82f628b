use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use umbel_supervision::{
    Intensity, Restart, Strategy,
    engine::{ChildId, Config},
};

/// What each failure demands by OTP's rules, whatever else is under way when it happens. The
/// numbers are those of `supervision/tests/rules/model.rs`.
///
/// A failure concerns the child alone (S3), all children (S4) or those from the child on (S5).
/// Whom it concerns is *doomed* until it is started again; that holds for one that was started
/// before the failure, however long it still runs. So, with any number of group restarts one
/// over the other:
///
/// * nobody is stopped but who is doomed, or was terminated by hand (S11), or is at the end (S7);
/// * at rest nobody is doomed: each was started after the last failure that concerned it, or is
///   down for a reason that came later than that (S6, S11, S12);
/// * the end of one that is doomed is no failure of its own, for it was about to be terminated
///   with its group; any other end that leads to a restart is one, and so is a restart that fails
///   (P1). They count towards the intensity, which is exceeded by no other event (S7).
pub(crate) struct Ledger {
    strategy: Strategy,
    intensity: Intensity,
    /// Numbers what happens, in order.
    moment: u64,
    failures: Vec<(u64, ChildId)>,
    started: BTreeMap<ChildId, u64>,
    /// When those that are down came to be so for good.
    down: BTreeMap<ChildId, u64>,
    terminated: BTreeSet<ChildId>,
    restarts: Vec<Duration>,
    give_up_due: Option<ChildId>,
}

impl Ledger {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            strategy: config.strategy,
            intensity: config.intensity,
            moment: 0,
            failures: vec![],
            started: BTreeMap::new(),
            down: BTreeMap::new(),
            terminated: BTreeSet::new(),
            restarts: vec![],
            give_up_due: None,
        }
    }

    fn last_failure(&self, id: ChildId) -> u64 {
        let concerns = |failed: ChildId| match self.strategy {
            Strategy::OneForOne => failed == id,
            Strategy::OneForAll => true,
            Strategy::RestForOne => failed <= id,
        };
        let concerning = self.failures.iter().rev().find(|(_, failed)| concerns(*failed));
        concerning.map_or(0, |(moment, _)| *moment)
    }

    fn is_doomed(&self, id: ChildId) -> bool {
        self.started.get(&id).copied().unwrap_or_default() < self.last_failure(id)
    }

    fn failure(&mut self, id: ChildId, now: Duration) {
        self.restarts.retain(|then| *then + self.intensity.period >= now);
        self.restarts.push(now);
        if self.restarts.len() > self.intensity.restarts as usize {
            self.give_up_due.get_or_insert(id);
        }
        self.moment += 1;
        self.failures.push((self.moment, id));
    }

    fn stays_down(&mut self, id: ChildId) {
        self.moment += 1;
        self.down.insert(id, self.moment);
    }

    /// A child that was up has ended.
    pub(crate) fn ended(&mut self, id: ChildId, restart: Restart, abnormal: bool, now: Duration) {
        if self.is_doomed(id) {
            return;
        }
        match restart {
            Restart::Permanent => self.failure(id, now),
            Restart::Transient if abnormal => self.failure(id, now),
            Restart::Transient | Restart::Temporary => self.stays_down(id),
        }
    }

    /// A start has failed that somebody has asked for, or nobody.
    pub(crate) fn start_failed(&mut self, id: ChildId, asked_for: bool, now: Duration) {
        if asked_for { self.stays_down(id) } else { self.failure(id, now) }
    }

    pub(crate) fn terminated(&mut self, id: ChildId) {
        self.terminated.insert(id);
        self.stays_down(id);
    }

    pub(crate) fn started(&mut self, id: ChildId) {
        self.moment += 1;
        self.started.insert(id, self.moment);
        self.terminated.remove(&id);
    }

    pub(crate) fn may_stop(&self, id: ChildId) -> bool {
        self.is_doomed(id) || self.terminated.contains(&id)
    }

    /// Which child's restart is one too many, if one is.
    pub(crate) fn give_up_due(&self) -> Option<ChildId> {
        self.give_up_due
    }

    pub(crate) fn may_rest(&self, id: ChildId, up: bool) -> bool {
        let last = self.last_failure(id);
        let since = if up { &self.started } else { &self.down };
        since.get(&id).is_some_and(|moment| *moment > last)
    }
}
