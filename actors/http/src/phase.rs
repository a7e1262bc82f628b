use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The head of a request is read, or the first one is waited for.
    Head = 0,
    /// A request is handled or answered.
    Busy = 1,
    /// It has been answered, and what is left of the answer lies in a buffer.
    Sending = 2,
    /// The answer is sent, and no other request has begun.
    Idle = 3,
    /// It speaks another protocol now.
    Upgraded = 4,
}

impl Phase {
    /// Whether a client would miss something if its connection was closed.
    pub(crate) fn is_under_way(self) -> bool {
        matches!(self, Self::Busy | Self::Sending)
    }
}

/// The bits that hold a phase.
const MASK: u64 = 7;

/// The phases of one connection: what reads its bytes and what answers its requests tell one another.
/// Both run in one task, so there is no race to be won.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    /// The phase in the lowest bits, above it how many there were.
    word: AtomicU64,
    /// Whether a request's body has been read to its end.
    is_unread: AtomicBool,
}

impl Phases {
    pub(crate) fn now(&self) -> Phase {
        match self.word() & MASK {
            0 => Phase::Head,
            1 => Phase::Busy,
            2 => Phase::Sending,
            3 => Phase::Idle,
            _ => Phase::Upgraded,
        }
    }

    /// Different for each phase that there ever is.
    pub(crate) fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    fn enter(&self, phase: Phase) {
        let next = (self.word() | MASK) + 1 + phase as u64;
        self.word.store(next, Ordering::Relaxed);
    }

    /// The first byte of a request has come.
    pub(crate) fn heard(&self) {
        if self.now() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    pub(crate) fn begin(&self) {
        self.enter(Phase::Busy);
    }

    /// The last of the answer has been handed on.
    pub(crate) fn end(&self) {
        if self.now() == Phase::Busy {
            self.enter(Phase::Sending);
        }
    }

    /// Nothing that was handed on lies in a buffer of ours any more.
    pub(crate) fn flushed(&self) {
        if self.now() == Phase::Sending {
            self.enter(Phase::Idle);
        }
    }

    pub(crate) fn upgrade(&self) {
        self.enter(Phase::Upgraded);
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unread(&self, is_unread: bool) {
        self.is_unread.store(is_unread, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_one_another_and_none_is_like_an_earlier_one() {
        let phases = Phases::default();
        let mut words = vec![phases.word()];
        assert_eq!(phases.now(), Phase::Head);
        for _ in 0..3 {
            phases.begin();
            assert_eq!(phases.now(), Phase::Busy);
            words.push(phases.word());
            phases.heard();
            assert_eq!(phases.now(), Phase::Busy, "the body's bytes begin no request");
            phases.flushed();
            assert_eq!(phases.now(), Phase::Busy, "more of the answer is to come");
            phases.end();
            assert_eq!(phases.now(), Phase::Sending);
            words.push(phases.word());
            phases.flushed();
            assert_eq!(phases.now(), Phase::Idle);
            words.push(phases.word());
            phases.heard();
            phases.heard();
            assert_eq!(phases.now(), Phase::Head);
            words.push(phases.word());
        }
        assert!(words.is_sorted_by(|one, next| one < next), "{words:?}");
        phases.begin();
        phases.upgrade();
        phases.end();
        assert_eq!(phases.now(), Phase::Upgraded, "an upgrade is for good");
    }
}
