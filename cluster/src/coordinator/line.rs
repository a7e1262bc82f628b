//! The connection that a lane runs over, and when another takes its place.

use std::time::Duration;

use tokio::time::Instant;

use crate::task::OwnedTask;
use crate::transport::{ByteStream, Proof, Renewal};

/// The least time between two attempts to replace a connection: what would be replaced sooner, as its
/// certificate is about to expire, is not worth a handshake.
const ATTEMPTS_APART: Duration = Duration::from_millis(250);

/// The most time between two attempts.
const ATTEMPTS_APART_MAX: Duration = Duration::from_secs(60);

/// How often a peer is judged again, whatever happens: the wall clock may be set.
const JUDGED_EVERY: Duration = Duration::from_secs(60);

/// The connection that a lane runs over at present.
pub(super) struct Line {
    pub(super) renewal: Renewal,
    pub(super) proof: Option<Proof>,
    pub(super) term: Term,
    /// The dial for the next one, where it runs.
    pub(super) dial: Option<OwnedTask>,
    /// By when a replacement that has begun is to be complete.
    pub(super) done_by: Option<Instant>,
}

impl Line {
    pub(super) fn new(renewal: Renewal, proof: Option<Proof>, term: Term) -> Self {
        Self { renewal, proof, term, dial: None, done_by: None }
    }

    /// Another connection takes the place of this one.
    pub(super) fn arrive(&mut self, stream: Box<dyn ByteStream>, proof: Option<Proof>, term: Term) {
        if self.renewal.arrive(stream) {
            (self.proof, self.term) = (proof, term);
        }
    }

    /// When there is something to do about it.
    pub(super) fn due(&self) -> Instant {
        let Term { renew_at, ends_at, judge_at, .. } = self.term;
        match self.done_by {
            Some(done_by) => done_by.min(renew_at).min(judge_at),
            None => ends_at.min(renew_at).min(judge_at),
        }
    }
}

/// When a connection is replaced, and when it ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    since: Instant,
    pub(super) renew_at: Instant,
    pub(super) ends_at: Instant,
    /// When its peer is judged again: that takes some tenths of a millisecond.
    pub(super) judge_at: Instant,
    retry: Duration,
}

/// Which end of a connection this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Acceptor,
}

impl Term {
    /// For a connection that is made `now`. Its certificates are in force for `lasts`, and it may become
    /// `age_max` old. The dialler replaces it in time for some attempts, at a moment drawn by `chance`,
    /// so that what was linked at once is not replaced at once; the acceptor reminds it after that.
    pub(super) fn new(
        now: Instant,
        age_max: Duration,
        lasts: Duration,
        side: Side,
        chance: u64,
    ) -> Self {
        let span = age_max.min(lasts);
        let thousandths = match side {
            Side::Dialler => 700 + chance % 150,
            Side::Acceptor => 850 + chance % 50,
        } as u32;
        let renew_in = (span / 1000 * thousandths).max(ATTEMPTS_APART);
        let retry = (span / 40).clamp(ATTEMPTS_APART, ATTEMPTS_APART_MAX);
        let (renew_at, ends_at) = (now + renew_in, now + age_max);
        let mut term = Self { since: now, renew_at, ends_at, judge_at: now, retry };
        term.judged(now, lasts);
        term
    }

    /// Its peer was found good; its certificates are in force for `lasts`.
    pub(super) fn judged(&mut self, now: Instant, lasts: Duration) {
        // A certificate is in force for the whole of its last second.
        self.judge_at = now + lasts.saturating_add(Duration::from_secs(1)).min(JUDGED_EVERY);
    }

    /// An attempt to replace it begins or has failed: another follows.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.renew_at = now + self.retry;
    }

    /// Has it replaced at `at`, or before.
    pub(super) fn hasten(&mut self, at: Instant) {
        self.renew_at = self.renew_at.min(at);
    }

    /// Whether it is old enough for the peer to have it replaced.
    pub(super) fn may_be_replaced(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= ATTEMPTS_APART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_connection_is_replaced_before_its_age_and_before_a_certificate_expires() {
        let now = Instant::now();
        for chance in [0, 77, 149, u64::MAX] {
            let forever = Term::new(now, DAY, Duration::MAX, Side::Dialler, chance);
            assert!(forever.renew_at >= now + DAY * 7 / 10 && forever.renew_at < now + DAY);
            assert_eq!(forever.ends_at, now + DAY);
            let hour = Term::new(now, DAY, DAY / 24, Side::Dialler, chance);
            assert!(hour.renew_at < now + DAY / 24, "{chance}");
            let reminded = Term::new(now, DAY, Duration::MAX, Side::Acceptor, chance);
            assert!(reminded.renew_at > forever.renew_at && reminded.renew_at < now + DAY);
        }
    }

    #[test]
    fn several_attempts_fit_and_none_follows_at_once() {
        let now = Instant::now();
        let mut term = Term::new(now, DAY, Duration::MAX, Side::Dialler, 149);
        let mut attempts = 0;
        while term.renew_at < term.ends_at {
            term.put_off(term.renew_at);
            attempts += 1;
        }
        assert!(attempts >= 4, "{attempts}");
        let mut expired = Term::new(now, DAY, Duration::ZERO, Side::Dialler, 0);
        assert!(expired.renew_at >= now + ATTEMPTS_APART);
        expired.put_off(now);
        assert!(expired.renew_at >= now + ATTEMPTS_APART);
    }
}
