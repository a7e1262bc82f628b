//! Whom a node knows, whom it dials, and whom it is linked with.

mod accept;
mod backoff;
mod config;
mod dial;
mod heartbeats;
mod input;
mod link;
mod member;
mod membership;
mod output;
mod roster;
mod swim;
mod view;

use std::time::Duration;

use self::backoff::{Backoff, Draws};
use self::heartbeats::Heartbeats;
use self::roster::{Roster, Seed};
use self::swim::Swim;
use crate::{Endpoint, Incarnation, LinkId, NodeId, Refusal};

pub use self::config::{PeersConfig, PeersConfigError};
pub use self::input::PeersInput;
pub use self::member::{
    Member, MemberEvent, MemberState, MemberView, Profile, ProfileError, Role, Side,
};
pub use self::output::{LinkEnd, PeersOutput, SeedDropped};
pub use self::view::{PeerState, PeerView, PeersView, SeedView};

/// Keeps one link with every node of the cluster: dials seeds and whomever others tell of, judges
/// who may link, notices who has gone, and dials again; and knows who is a member, and who is down.
///
/// It does nothing by itself. Whoever drives it hands in what happened, with the time and one random
/// number, and carries out what comes back, in order:
///
/// ```
/// use std::time::Duration;
/// use umbel_protocol::{Incarnation, NodeId, Peers, PeersConfig, PeersInput, PeersOutput};
///
/// let me = NodeId { name: "a".parse()?, incarnation: Incarnation(1) };
/// let mut peers = Peers::new(PeersConfig::default(), me)?;
/// let join = PeersInput::Join { seeds: vec!["127.0.0.1:7402".parse()?] };
/// let outputs = peers.step(Duration::ZERO, 42, join);
/// assert!(matches!(&outputs[..], [PeersOutput::Dial { expect: None, .. }]));
/// assert_eq!(peers.next_wakeup(), Some(Duration::from_secs(10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// *Who wins.* Of two dials that cross, the one of the smaller name goes first: the smaller refuses
/// the other's hello once per dial of its own. (Once only: whoever comes again while that dial still
/// hangs can evidently reach this node better than the other way round.) If two links come up all
/// the same, the one that the smaller name dialled stays. A link is never replaced by another of the
/// same life of the peer unless the peer says that it has lost it. A later life replaces an earlier
/// one at once; an earlier one is refused.
///
/// *Who is down.* The members find out together, by SWIM over their links. Whoever is declared down
/// stays down in that life. It learns so from whom it reaches first, and goes on as a new incarnation;
/// where two sides of a partition take each other for dead, the smaller one does.
///
/// *What is believed.* A later life fences an earlier one only by its certificate. That somebody is
/// down is believed of any member, so a lying one can make others begin new lives, one each
/// `backoff_max`; but it can keep nobody out, and it can make this node dial in vain, `dials_max` at a
/// time.
#[derive(Debug)]
pub struct Peers {
    config: PeersConfig,
    me: NodeId,
    profile: Profile,
    first_life: Incarnation,
    renewed_at: Option<Duration>,
    now: Duration,
    roster: Roster,
    heartbeats: Heartbeats,
    /// Made at the first use, when there is something to draw from.
    swim: Option<Swim>,
    wakeup: Option<Duration>,
    left: bool,
}

/// What one step works with.
struct Turn {
    now: Duration,
    draws: Draws,
    outputs: Vec<PeersOutput>,
}

impl Peers {
    /// A node that knows nobody yet.
    ///
    /// # Errors
    /// [`PeersConfigError`] where the configuration cannot work.
    pub fn new(config: PeersConfig, me: NodeId) -> Result<Self, PeersConfigError> {
        config.check()?;
        Ok(Self {
            heartbeats: Heartbeats::new(&config),
            config,
            profile: Profile::default(),
            first_life: me.incarnation,
            renewed_at: None,
            swim: None,
            me,
            now: Duration::ZERO,
            roster: Roster::default(),
            wakeup: None,
            left: false,
        })
    }

    /// What this node tells of itself.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Takes note of `input` and says what to do. `now` counts from the node's start (a time before
    /// the last one is taken for that one); `entropy` is a fresh random number, from which back-off
    /// and link ids are drawn. The same steps always give the same outputs.
    pub fn step(&mut self, now: Duration, entropy: u64, input: PeersInput) -> Vec<PeersOutput> {
        self.now = self.now.max(now);
        let slept = self.heartbeats.ran(self.now);
        if let Some(swim) = self.swim.as_mut().filter(|_| !slept.is_zero()) {
            swim.slept(slept);
        }
        let mut turn = Turn { now: self.now, draws: Draws::from(entropy), outputs: Vec::new() };
        if self.left {
            self.decline(&mut turn, input);
            return turn.outputs;
        }
        let mut heard = false;
        match input {
            PeersInput::Join { seeds } => self.join(&mut turn, seeds),
            PeersInput::Unjoin { seeds } => {
                for seed in &seeds {
                    // A dial that is under way tells who is there, if anybody.
                    self.roster.seeds.remove(seed);
                }
            }
            PeersInput::Swim { link, packet } => {
                self.heard(&mut turn, link);
                self.packet(&mut turn, link, &packet);
            }
            PeersInput::HelloReceived { token, hello } => self.hello(&mut turn, token, &hello),
            PeersInput::DialFailed { link, reason } => self.dial_failed(&mut turn, link, reason),
            PeersInput::DialRefused { link, by, refusal } => {
                self.dial_refused(&mut turn, link, by, refusal);
            }
            PeersInput::LinkUp { link, peer, listen } => {
                self.link_up(&mut turn, link, peer, listen);
            }
            PeersInput::LinkDown { link, why } => self.link_down(&mut turn, link, why),
            PeersInput::Goodbye { link } => self.link_down(&mut turn, link, LinkEnd::Goodbye),
            PeersInput::Heard { link } => heard = !self.heard(&mut turn, link),
            PeersInput::Tick => {}
            PeersInput::Leave => {
                self.leave(&mut turn);
                return turn.outputs;
            }
        }
        // Having heard something only puts deadlines off, so the old wake-up still is early enough.
        if !heard || self.wakeup.is_some_and(|at| at <= self.now) {
            self.do_what_is_due(&mut turn);
            self.wakeup = self.compute_wakeup();
        }
        turn.outputs
    }

    /// When to step with [`PeersInput::Tick`], if nothing else happens before; `None` if there is
    /// nothing to wait for. Look again after each step.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.wakeup
    }

    /// What there is to see.
    #[must_use]
    pub fn view(&self) -> PeersView {
        PeersView {
            me: self.me.clone(),
            left: self.left,
            peers: self.roster.view_peers(),
            seeds: self.roster.view_seeds(),
            members: self.swim.as_ref().map(Swim::view).unwrap_or_default(),
        }
    }

    fn join(&mut self, turn: &mut Turn, seeds: Vec<Endpoint>) {
        for endpoint in seeds {
            let roster = &self.roster;
            if roster.seeds.contains_key(&endpoint) || roster.own_seeds.contains(&endpoint) {
                continue;
            }
            if self.roster.seeds.len() >= self.config.seeds_max {
                turn.outputs.push(PeersOutput::SeedDropped { endpoint, why: SeedDropped::TooMany });
                continue;
            }
            let backoff = Backoff::at_once(turn.now);
            let seed = Seed { name: None, dial: None, backoff, last_error: None };
            self.roster.seeds.insert(endpoint, seed);
        }
    }

    fn leave(&mut self, turn: &mut Turn) {
        let names: Vec<_> = self.roster.peers.keys().cloned().collect();
        for name in &names {
            self.end_link(turn, name, LinkEnd::Leaving);
        }
        self.roster.give_up_dials();
        self.left = true;
        self.wakeup = None;
    }

    /// A node that has left opens nothing and lets nobody in.
    fn decline(&mut self, turn: &mut Turn, input: PeersInput) {
        match input {
            PeersInput::HelloReceived { token, .. } => {
                turn.outputs.push(PeersOutput::Refuse { token, refusal: Refusal::Leaving });
            }
            PeersInput::LinkUp { link, .. } => {
                turn.outputs.push(PeersOutput::Close { link, why: LinkEnd::Leaving });
            }
            _ => {}
        }
    }

    fn do_what_is_due(&mut self, turn: &mut Turn) {
        let due = self.heartbeats.due(turn.now);
        for link in due.quiet {
            if let Some(peer) = self.linked_by(link) {
                self.swim(turn, |swim, now| swim.quiet(now, &peer, true));
            }
        }
        for link in due.silent {
            self.link_down(turn, link, LinkEnd::Silent);
        }
        for (link, token) in due.pings {
            turn.outputs.push(PeersOutput::Ping { link, token });
        }
        if self.swim.as_ref().and_then(Swim::next_wakeup).is_some_and(|at| at <= turn.now) {
            self.swim(turn, |swim, now| swim.tick(now));
        }
        self.end_links_of_the_dead(turn);
        self.give_up_handshakes(turn);
        let members = self.swim.as_ref();
        let is_member = |name: &_| members.is_some_and(|swim| swim.member(name).is_some());
        self.roster.forget_unreachable(&self.config, turn.now, is_member);
        self.dial_whom_is_due(turn);
    }

    fn compute_wakeup(&self) -> Option<Duration> {
        let handshake_max = self.config.handshake_max;
        let seeds = self.roster.seed_names();
        let dials = self.roster.dials.values().map(|dial| dial.since);
        let accepted = self.roster.peers.values().filter_map(|peer| peer.link.as_ref());
        let accepted = accepted.filter(|link| !link.up).map(|link| link.since);
        let is_member = |name| self.swim.as_ref().is_some_and(|swim| swim.member(name).is_some());
        let forget = self.roster.peers.iter();
        let forget = forget.filter(|(name, _)| !seeds.contains(*name) && !is_member(name));
        let forget = forget.filter_map(|(_, peer)| peer.forgotten_at(&self.config));
        // Who is due already waits for another dial to end, not for a time.
        let dial_at = self.waiting(&seeds).into_iter().map(|waiting| waiting.until);
        let dial_at = dial_at.filter(|until| *until > self.now);
        let handshakes = dials.chain(accepted).map(|since| since.saturating_add(handshake_max));
        let ends = self.roster.linked().filter_map(|(_, _, link)| link.ends_at);
        let heartbeat = self.heartbeats.next_wakeup();
        let swim = self.swim.as_ref().and_then(Swim::next_wakeup);
        handshakes.chain(forget).chain(dial_at).chain(ends).chain(heartbeat).chain(swim).min()
    }

    /// Something has come over a link; whether that was news of its peer.
    fn heard(&mut self, turn: &mut Turn, link: LinkId) -> bool {
        let was_quiet = self.heartbeats.heard(link, turn.now);
        if was_quiet && let Some(peer) = self.linked_by(link) {
            self.swim(turn, |swim, now| swim.quiet(now, &peer, false));
        }
        was_quiet
    }

    /// Who is at the other end of a link that is up.
    fn linked_by(&self, link: LinkId) -> Option<NodeId> {
        let name = self.roster.peer_of(link)?;
        let peer = self.roster.peers.get(name)?;
        peer.link.as_ref().filter(|link| link.up)?;
        Some(NodeId { name: name.clone(), incarnation: peer.incarnation? })
    }
}

#[cfg(test)]
mod membership_tests;
#[cfg(test)]
mod mesh;
#[cfg(test)]
mod mesh_tests;
#[cfg(test)]
mod nonsense_tests;
#[cfg(test)]
mod tests;
