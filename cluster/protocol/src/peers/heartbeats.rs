//! Who is alive: pings at an interval, and a bound on silence.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{LinkId, PeersConfig};

/// Watches over each link: it is told of what they carry, and says whom to ping, who is quiet, and who
/// is silent. A node that does not answer on a link may be heard by others: whether it is alive is for
/// [`Swim`](super::swim::Swim) to say.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    ping_interval: Duration,
    quiet_after: Duration,
    silence_max: Duration,
    beats: BTreeMap<LinkId, Beat>,
    ran_at: Duration,
}

#[derive(Debug)]
struct Beat {
    heard_at: Duration,
    ping_at: Duration,
    pings: u64,
    quiet: bool,
}

/// What is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// To be pinged, each with its token.
    pub(crate) pings: Vec<(LinkId, u64)>,
    /// Quiet from now on.
    pub(crate) quiet: Vec<LinkId>,
    /// To be given up.
    pub(crate) silent: Vec<LinkId>,
}

impl Heartbeats {
    pub(crate) fn new(config: &PeersConfig) -> Self {
        Self {
            ping_interval: config.ping_interval,
            quiet_after: config.quiet_after(),
            silence_max: config.silence_max,
            beats: BTreeMap::new(),
            ran_at: Duration::ZERO,
        }
    }

    pub(crate) fn watch(&mut self, link: LinkId, now: Duration) {
        let ping_at = now.saturating_add(self.ping_interval);
        self.beats.insert(link, Beat { heard_at: now, ping_at, pings: 0, quiet: false });
    }

    pub(crate) fn forget(&mut self, link: LinkId) {
        self.beats.remove(&link);
    }

    /// Whether it had been quiet.
    pub(crate) fn heard(&mut self, link: LinkId, now: Duration) -> bool {
        let Some(beat) = self.beats.get_mut(&link) else { return false };
        beat.heard_at = now;
        std::mem::take(&mut beat.quiet)
    }

    pub(crate) fn is_quiet(&self, link: LinkId) -> bool {
        self.beats.get(&link).is_some_and(|beat| beat.quiet)
    }

    /// Must be told of every moment at which this node does anything, so that it can tell its own
    /// sleep from others' silence: links ask for a wake-up once an interval, so whoever comes later
    /// than two was not running, and what peers said meanwhile lies unread. (Lifeguard, Dadgar et
    /// al. 2018, makes the same point of SWIM: distrust your own timeouts when you are slow.)
    ///
    /// Returns how long this node has not been running.
    pub(crate) fn ran(&mut self, now: Duration) -> Duration {
        let gap = now.saturating_sub(self.ran_at);
        self.ran_at = now;
        if gap <= self.ping_interval.saturating_mul(2) {
            return Duration::ZERO;
        }
        let stall = gap - self.ping_interval;
        for beat in self.beats.values_mut() {
            beat.heard_at = beat.heard_at.saturating_add(stall).min(now);
        }
        stall
    }

    pub(crate) fn due(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        for (link, beat) in &mut self.beats {
            if beat.heard_at.saturating_add(self.silence_max) <= now {
                due.silent.push(*link);
                continue;
            }
            if !beat.quiet && beat.heard_at.saturating_add(self.quiet_after) <= now {
                beat.quiet = true;
                due.quiet.push(*link);
            }
            if beat.ping_at <= now {
                beat.ping_at = now.saturating_add(self.ping_interval);
                beat.pings += 1;
                due.pings.push((*link, beat.pings));
            }
        }
        due
    }

    pub(crate) fn next_wakeup(&self) -> Option<Duration> {
        let next = |beat: &Beat| {
            let wait = if beat.quiet { self.silence_max } else { self.quiet_after };
            beat.ping_at.min(beat.heard_at.saturating_add(wait))
        };
        self.beats.values().map(next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn watching() -> Heartbeats {
        let mut heartbeats = Heartbeats::new(&PeersConfig::default());
        heartbeats.watch(LINK, secs(0));
        heartbeats
    }

    fn run(heartbeats: &mut Heartbeats, now: Duration) -> Due {
        heartbeats.ran(now);
        heartbeats.due(now)
    }

    #[test]
    fn a_link_is_pinged_once_an_interval() {
        let mut heartbeats = watching();
        assert_eq!(heartbeats.next_wakeup(), Some(secs(1)));
        assert_eq!(run(&mut heartbeats, secs(1)).pings, [(LINK, 1)]);
        assert_eq!(run(&mut heartbeats, secs(1)), Due::default());
        assert_eq!(run(&mut heartbeats, secs(2)).pings, [(LINK, 2)]);
    }

    #[test]
    fn silence_is_noticed_at_its_bound_and_not_before() {
        let mut heartbeats = watching();
        for second in 1..5 {
            assert!(run(&mut heartbeats, secs(second)).silent.is_empty(), "at {second} s");
        }
        let just_before = secs(5) - Duration::from_nanos(1);
        assert!(run(&mut heartbeats, just_before).silent.is_empty());
        assert_eq!(heartbeats.next_wakeup(), Some(secs(5)));
        assert_eq!(run(&mut heartbeats, secs(5)).silent, [LINK]);
    }

    #[test]
    fn a_link_is_quiet_once_until_something_is_heard() {
        let mut heartbeats = watching();
        assert!(run(&mut heartbeats, secs(1)).quiet.is_empty());
        assert_eq!(run(&mut heartbeats, secs(2)).quiet, [LINK]);
        assert!(run(&mut heartbeats, secs(3)).quiet.is_empty());
        assert!(heartbeats.is_quiet(LINK) && heartbeats.heard(LINK, secs(4)));
        assert!(!heartbeats.is_quiet(LINK) && !heartbeats.heard(LINK, secs(4)));
        assert!(run(&mut heartbeats, secs(5)).quiet.is_empty());
        assert_eq!(run(&mut heartbeats, secs(6)).quiet, [LINK]);
    }

    #[test]
    fn a_stall_of_our_own_is_not_held_against_peers() {
        let mut heartbeats = watching();
        run(&mut heartbeats, secs(1));
        assert!(run(&mut heartbeats, secs(60)).silent.is_empty());
        for second in 61..63 {
            assert!(run(&mut heartbeats, secs(second)).silent.is_empty(), "at {second} s");
        }
        // One second of silence came before the stall, and the stall's first second counts too.
        assert_eq!(run(&mut heartbeats, secs(63)).silent, [LINK]);
    }
}
