//! The bounds and paces of [`Peers`](crate::Peers).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How eagerly a node keeps its links, and how much it remembers of others. The defaults suit a
/// local network of up to a hundred nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersConfig {
    /// How often a ping goes over each link. Default 1 s. Each node sends one to each other, so in
    /// large clusters make it longer, and `silence_max` with it.
    pub ping_interval: Duration,
    /// A peer from which nothing was heard for this long is down. Default 5 s; longer than
    /// `ping_interval`, so that one late ping does no harm.
    ///
    /// Two fifths of it make a peer suspect, by which time others may still hear it; another two
    /// fifths has a suspect, however it became one, to show that it lives. The last fifth is for news
    /// to spread.
    pub silence_max: Duration,
    /// The longest first wait before a failed dial is repeated; it doubles with each failure.
    /// Default 100 ms. The wait itself is random between zero and this ("full jitter": M. Brooker,
    /// *Exponential Backoff and Jitter*, AWS 2015).
    pub backoff_min: Duration,
    /// What doubling ends at. Default 5 s, so that a node that is back is found about as fast as one
    /// that died.
    pub backoff_max: Duration,
    /// A dial, or an accepted link that has not come up, is given up after this long. Default 10 s.
    /// The shell's own deadlines should be shorter; this one is for answers that never come.
    pub handshake_max: Duration,
    /// How often one member, chosen at random, is asked for all that it knows, besides the news that
    /// go round at once. Default 10 s. It mends what was lost, such as peers forgotten by
    /// `forget_after`.
    pub gossip_interval: Duration,
    /// A member that has been down for this long is forgotten. So is a peer that is neither a member
    /// nor a seed and could not be linked with for this long, and its incarnation with it. Default
    /// 1 h, so that an hour's cut between two data centres heals without anyone's help.
    pub forget_after: Duration,
    /// How many peers are known at most, linked or not. Default 1024. At the bound hearsay is
    /// ignored; a peer that proves its name takes the place of one that is not linked.
    pub peers_max: usize,
    /// How many seeds are known at most. Default 64.
    pub seeds_max: usize,
    /// How many dials run at once. Default 32. It also bounds how hard a lying peer can make this
    /// node knock at doors of others.
    pub dials_max: usize,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(1),
            silence_max: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            handshake_max: Duration::from_secs(10),
            gossip_interval: Duration::from_secs(10),
            forget_after: Duration::from_secs(3600),
            peers_max: 1024,
            seeds_max: 64,
            dials_max: 32,
        }
    }
}

impl PeersConfig {
    /// After how much silence a peer is suspect. Between two pings, nothing need be heard.
    pub(crate) fn quiet_after(&self) -> Duration {
        (self.silence_max * 2 / 5).max(self.ping_interval * 3 / 2).min(self.silence_max)
    }

    /// How long a suspect has to show that it lives.
    pub(crate) fn suspicion_max(&self) -> Duration {
        self.silence_max * 2 / 5
    }

    /// Whether these values can work together.
    ///
    /// # Errors
    /// The first [`PeersConfigError`] found.
    pub fn check(&self) -> Result<(), PeersConfigError> {
        let zero = [
            ("ping_interval", self.ping_interval.is_zero()),
            ("backoff_min", self.backoff_min.is_zero()),
            ("handshake_max", self.handshake_max.is_zero()),
            ("gossip_interval", self.gossip_interval.is_zero()),
            ("forget_after", self.forget_after.is_zero()),
            ("peers_max", self.peers_max == 0),
            ("dials_max", self.dials_max == 0),
        ];
        if let Some((field, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(PeersConfigError::Zero(field));
        }
        if self.silence_max <= self.ping_interval {
            return Err(PeersConfigError::SilenceTooShort {
                silence_max: self.silence_max,
                ping_interval: self.ping_interval,
            });
        }
        if self.backoff_max < self.backoff_min {
            return Err(PeersConfigError::BackoffBounds {
                backoff_min: self.backoff_min,
                backoff_max: self.backoff_max,
            });
        }
        Ok(())
    }
}

/// Why a [`PeersConfig`] cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeersConfigError {
    /// A value that must be above zero is zero.
    #[error("`{0}` is zero: give it a value above zero, or leave it out for its default")]
    Zero(&'static str),
    /// Every peer would be taken for dead between two pings.
    #[error(
        "`silence_max` ({silence_max:?}) must be longer than `ping_interval` ({ping_interval:?})"
    )]
    SilenceTooShort {
        /// The bound on silence.
        silence_max: Duration,
        /// The time between pings.
        ping_interval: Duration,
    },
    /// The back-off's bounds are the wrong way round.
    #[error("`backoff_max` ({backoff_max:?}) must not be below `backoff_min` ({backoff_min:?})")]
    BackoffBounds {
        /// The first step.
        backoff_min: Duration,
        /// The last step.
        backoff_max: Duration,
    },
}
