//! Who of the members lives: SWIM, by `foca`.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{
    Codec, Foca, NoCustomBroadcast, Notification, PeriodicParams, PostcardCodec, State, Timer,
};
use rand_core::TryRng;
use serde::{Deserialize, Serialize};

use super::backoff::Draws;
use super::member::{Member, MemberEvent, MemberState, MemberView, Profile};
use crate::{Incarnation, NodeId, NodeName, PeersConfig};

/// The failure detector among all members, and how news of them spread: SWIM with suspicion (Das,
/// Gupta and Motivala, *SWIM: Scalable Weakly-consistent Infection-style Process Group Membership
/// Protocol*, DSN 2002).
///
/// Links are its network: what cannot be sent over one is lost. And they are its witnesses: a link
/// that breaks or falls quiet makes its peer suspect at once, and while one carries anything, nobody
/// can make its peer suspect. Each node waits by itself for a suspicion to be refuted, so that one is
/// enough to declare a member down.
pub(crate) struct Swim {
    foca: Foca<Life, PostcardCodec, Chance, NoCustomBroadcast>,
    bounds: Bounds,
    table: BTreeMap<NodeName, Known>,
    /// Those that this node is linked with.
    linked: BTreeMap<NodeName, Linked>,
    timers: BTreeMap<(Duration, u64), Timer<Life>>,
    /// When a member that is down is forgotten: one timer each, however often it goes down.
    removals: BTreeMap<NodeName, (Duration, Life)>,
    submitted: u64,
    started: Duration,
}

/// What a [`Swim`] keeps to.
#[derive(Clone, Debug)]
struct Bounds {
    suspicion_max: Duration,
    members_max: usize,
}

#[derive(Debug)]
struct Known {
    member: Member,
    state: MemberState,
    since: Duration,
    /// Counts the member's refutations.
    refuted: foca::Incarnation,
    /// When it is down if it is not refuted.
    until: Option<Duration>,
    /// This node was linked with it: it is no hearsay.
    met: bool,
    said_goodbye: bool,
}

#[derive(Debug)]
struct Linked {
    node: NodeId,
    /// Nothing has come over the link for a while.
    quiet: bool,
}

/// What a step comes to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) packets: Vec<(NodeId, Vec<u8>)>,
    pub(crate) events: Vec<MemberEvent>,
    /// Those that were heard of only when they were over.
    pub(crate) strangers: Vec<Member>,
    /// The others take this node's own life for over.
    pub(crate) is_over: bool,
}

/// What no member of ours sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadPacket;

/// The largest packet, in bytes: over a stream it is not the network's business, and this names some
/// hundred members.
pub(crate) const PACKET_BYTES_MAX: usize = 32 * 1024;

/// A life that begins more than this after the present moment, by this node's clock, is nobody's.
/// Else one lie of a life at the end of time would keep a node from ever coming back.
pub(super) const CLOCKS_APART_MAX: Duration = Duration::from_secs(24 * 3600);

impl Swim {
    pub(crate) fn new(config: &PeersConfig, me: Member, seed: u64, now: Duration) -> Self {
        let pace = config.ping_interval.max(Duration::from_millis(1));
        let periodic = |frequency, members| {
            let num_members = NonZeroUsize::new(members)?;
            Some(PeriodicParams { frequency, num_members })
        };
        let rules = foca::Config {
            probe_period: pace,
            probe_rtt: pace / 3,
            // Three and ten: what foca takes for a local network.
            num_indirect_probes: NonZeroUsize::new(3).expect("three is not zero"),
            max_transmissions: NonZeroU8::new(10).expect("ten is not zero"),
            suspect_to_down_after: config.suspicion_max(),
            remove_down_after: Some(config.forget_after),
            max_packet_size: NonZeroUsize::new(PACKET_BYTES_MAX).expect("it is not zero"),
            notify_down_members: true,
            periodic_announce: periodic(config.gossip_interval, 1),
            // The dead are dialled: that heals a partition, and tells them what they are taken for.
            periodic_announce_to_down_members: None,
            periodic_gossip: periodic(pace / 2, 3),
        };
        Self {
            foca: Foca::new(Life(me), rules, Chance(Draws::from(seed)), PostcardCodec),
            bounds: Bounds { suspicion_max: config.suspicion_max(), members_max: config.peers_max },
            table: BTreeMap::new(),
            linked: BTreeMap::new(),
            timers: BTreeMap::new(),
            removals: BTreeMap::new(),
            submitted: 0,
            started: now,
        }
    }

    /// A link with this peer has come up: its certificate has shown that it lives.
    pub(crate) fn linked(&mut self, now: Duration, peer: &NodeId) -> Told {
        let linked = Linked { node: peer.clone(), quiet: false };
        self.linked.insert(peer.name.clone(), linked);
        let mut effects = Effects::default();
        let to = Life(Member { node: peer.clone(), profile: Profile::default() });
        // It answers with all members that it knows, and with its own profile.
        let _ = self.foca.announce(to, &mut effects);
        self.settle(now, effects)
    }

    /// The link with this peer is gone, which says nothing of the peer.
    pub(crate) fn unlinked(&mut self, peer: &NodeId) {
        if self.linked.get(&peer.name).is_some_and(|linked| linked.node == *peer) {
            self.linked.remove(&peer.name);
        }
    }

    /// Nothing comes over the link with this peer, or something comes again.
    pub(crate) fn quiet(&mut self, now: Duration, peer: &NodeId, quiet: bool) -> Told {
        if let Some(linked) = self.linked.get_mut(&peer.name) {
            linked.quiet = quiet;
        }
        if quiet { self.suspect(now, peer) } else { self.settle(now, Effects::default()) }
    }

    /// This peer cannot be reached from here.
    pub(crate) fn suspect(&mut self, now: Duration, peer: &NodeId) -> Told {
        let mut effects = Effects::default();
        if let Some(known) = self.known(peer).filter(|known| !known.state.is_over()) {
            let suspect =
                foca::Member::new(Life(known.member.clone()), known.refuted, State::Suspect);
            let _ = self.foca.apply_many([suspect].into_iter(), true, &mut effects);
        }
        self.settle(now, effects)
    }

    /// This life of a peer is over: it has said goodbye, or this node declares it down.
    pub(crate) fn end(&mut self, now: Duration, peer: &NodeId, goodbye: bool) -> Told {
        let mut effects = Effects::default();
        let known = self.table.get_mut(&peer.name).filter(|known| known.member.node == *peer);
        let member = match known {
            Some(known) => {
                known.said_goodbye |= goodbye;
                known.member.clone()
            }
            None => Member { node: peer.clone(), profile: Profile::default() },
        };
        let over = foca::Member::down(Life(member));
        let _ = self.foca.apply_many([over].into_iter(), true, &mut effects);
        self.settle(now, effects)
    }

    /// A packet has come from the peer at the other end of a link.
    pub(crate) fn received(
        &mut self,
        now: Duration,
        from: &NodeId,
        packet: &[u8],
    ) -> Result<Told, BadPacket> {
        let mut effects = Effects::default();
        if self.is_acceptable(now, from, packet)? {
            // What is left to go wrong is old news: of this node's former life, for example.
            let _ = self.foca.handle_data(packet, &mut effects);
        }
        Ok(self.settle(now, effects))
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Duration) -> Told {
        let mut effects = Effects::default();
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            // A probe whose parts came late is begun anew, and says so.
            let _ = self.foca.handle_timer(timer, &mut effects);
            self.schedule(now, &mut effects);
        }
        for (_, (_, member)) in self.removals.extract_if(.., |_, (at, _)| *at <= now) {
            let _ = self.foca.handle_timer(Timer::RemoveDown(member), &mut effects);
        }
        let late =
            self.table.values().filter(|known| known.until.is_some_and(|until| until <= now));
        let late: Vec<_> = late
            .map(|known| foca::Member::new(Life(known.member.clone()), known.refuted, State::Down))
            .collect();
        if !late.is_empty() {
            let _ = self.foca.apply_many(late.into_iter(), true, &mut effects);
        }
        self.settle(now, effects)
    }

    /// This node itself was not running for so long: what others said meanwhile lies unread.
    pub(crate) fn slept(&mut self, time: Duration) {
        for known in self.table.values_mut() {
            known.until = known.until.map(|until| until.saturating_add(time));
        }
    }

    /// When to tick.
    pub(crate) fn next_wakeup(&self) -> Option<Duration> {
        let timer = self.timers.keys().next().map(|(at, _)| *at);
        let removal = self.removals.values().map(|(at, _)| *at).min();
        let suspicion = self.table.values().filter_map(|known| known.until).min();
        [timer, removal, suspicion].into_iter().flatten().min()
    }

    /// The latest life of this node that is over.
    pub(crate) fn over(&self, name: &NodeName) -> Option<Incarnation> {
        let known = self.table.get(name).filter(|known| known.state.is_over())?;
        Some(known.member.node.incarnation)
    }

    /// The latest life of this name, over or not.
    pub(crate) fn member(&self, name: &NodeName) -> Option<&Member> {
        self.table.get(name).map(|known| &known.member)
    }

    /// All members but this node itself, by name.
    pub(crate) fn view(&self) -> Vec<MemberView> {
        let view = |known: &Known| MemberView {
            member: known.member.clone(),
            state: known.state,
            since: known.since,
        };
        self.table.values().map(view).collect()
    }

    fn known(&self, node: &NodeId) -> Option<&Known> {
        self.table.get(&node.name).filter(|known| known.member.node == *node)
    }

    /// Refutes suspicions of those that are heard, in their names: they may not even know of them.
    fn vouch(&mut self, effects: &mut Effects) {
        let linked = &self.linked;
        let heard = |node: &NodeId| {
            linked.get(&node.name).is_some_and(|linked| linked.node == *node && !linked.quiet)
        };
        let suspects = self.foca.iter_members().filter(|member| member.state() == State::Suspect);
        let refutations: Vec<_> = suspects
            .filter(|member| heard(&member.id().0.node))
            .map(|member| {
                let refuted = member.incarnation().saturating_add(1);
                foca::Member::new(member.id().clone(), refuted, State::Alive)
            })
            .collect();
        if !refutations.is_empty() {
            let _ = self.foca.apply_many(refutations.into_iter(), true, effects);
        }
    }

    /// Whether a packet is to be handled. It is refused where it is none, or speaks for somebody else;
    /// it is passed over where it names more members than there can be, or one from the future.
    fn is_acceptable(
        &self,
        now: Duration,
        from: &NodeId,
        packet: &[u8],
    ) -> Result<bool, BadPacket> {
        if packet.len() > PACKET_BYTES_MAX {
            return Err(BadPacket);
        }
        let mut rest = packet;
        let header: foca::Header<Life> =
            PostcardCodec.decode_header(&mut rest).map_err(|_| BadPacket)?;
        if header.src.0.node != *from {
            return Err(BadPacket);
        }
        let mut members = vec![header.src.0];
        if let Some((count, tail)) = rest.split_first_chunk::<2>() {
            rest = tail;
            for _ in 0..u16::from_be_bytes(*count) {
                let member: foca::Member<Life> =
                    PostcardCodec.decode_member(&mut rest).map_err(|_| BadPacket)?;
                members.push(member.id().0.clone());
            }
        }
        if !rest.is_empty() {
            return Err(BadPacket);
        }
        let me = &self.foca.identity().0.node;
        let running = now.saturating_sub(self.started).saturating_add(CLOCKS_APART_MAX);
        let running = u64::try_from(running.as_micros()).unwrap_or(u64::MAX);
        let latest = Incarnation(me.incarnation.0.saturating_add(running));
        let proven =
            |node: &NodeId| self.linked.get(&node.name).is_some_and(|linked| linked.node == *node);
        if members.iter().any(|it| it.node.incarnation > latest && !proven(&it.node)) {
            return Ok(false);
        }
        // Who is linked is let in whatever others fill the table with.
        let is_strange = |name: &NodeName| {
            *name != me.name && !self.table.contains_key(name) && !self.linked.contains_key(name)
        };
        let strange = members.iter().map(|member| &member.node.name);
        let strange: BTreeSet<_> = strange.filter(|name| is_strange(name)).collect();
        let room = self.bounds.members_max.saturating_sub(self.table.len());
        Ok(strange.len() <= room)
    }

    fn settle(&mut self, now: Duration, mut effects: Effects) -> Told {
        self.vouch(&mut effects);
        self.schedule(now, &mut effects);
        let (events, strangers) = self.take_note(now);
        Told { packets: effects.packets, events, strangers, is_over: effects.is_over }
    }

    fn schedule(&mut self, now: Duration, effects: &mut Effects) {
        for (after, timer) in effects.timers.drain(..) {
            let at = now.saturating_add(after);
            match timer {
                Timer::RemoveDown(member) => {
                    self.removals.insert(member.0.node.name.clone(), (at, member));
                }
                // `Known::until` is waited for instead. foca 2.0 tells the suspect that it is down when
                // this timer is over, even where it has refuted the suspicion meanwhile.
                Timer::ChangeSuspectToDown { .. } => {}
                timer => {
                    self.submitted += 1;
                    self.timers.insert((at, self.submitted), timer);
                }
            }
        }
    }

    /// Compares what is known with what was known before: what has changed, and who is new and over.
    fn take_note(&mut self, now: Duration) -> (Vec<MemberEvent>, Vec<Member>) {
        let (mut events, mut strangers) = (Vec::new(), Vec::new());
        let mut before = std::mem::take(&mut self.table);
        for member in self.foca.iter_membership_state() {
            let (Life(id), refuted) = (member.id(), member.incarnation());
            let mut was = before.remove(&id.node.name);
            if let Some(earlier) = was.take_if(|was| was.member.node != id.node)
                && !earlier.state.is_over()
            {
                events.push(MemberEvent { member: earlier.member, state: MemberState::Down });
            }
            let met = was.as_ref().is_some_and(|was| was.met)
                || self.linked.get(&id.node.name).is_some_and(|linked| linked.node == id.node);
            let said_goodbye = was.as_ref().is_some_and(|was| was.said_goodbye);
            let state = match member.state() {
                State::Suspect => MemberState::Suspect,
                State::Alive if met => MemberState::Alive,
                State::Alive => MemberState::Joining,
                State::Down if said_goodbye => MemberState::Left,
                State::Down => MemberState::Down,
            };
            let until = match &was {
                _ if state != MemberState::Suspect => None,
                Some(was) if was.state == state && was.refuted == refuted => was.until,
                _ => Some(now.saturating_add(self.bounds.suspicion_max)),
            };
            let changed = match &was {
                Some(was) => was.state != state || was.member != *id,
                // Whoever is heard of only when it is over was never here.
                None => !state.is_over(),
            };
            if changed {
                events.push(MemberEvent { member: id.clone(), state });
            } else if was.is_none() {
                strangers.push(id.clone());
            }
            let since = was.filter(|was| was.state == state).map_or(now, |was| was.since);
            let member = id.clone();
            let known = Known { member, state, since, refuted, until, met, said_goodbye };
            self.table.insert(id.node.name.clone(), known);
        }
        (events, strangers)
    }
}

impl fmt::Debug for Swim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swim").field("table", &self.table).finish_non_exhaustive()
    }
}

/// A member as `foca` tells members apart: by their lives. What one tells of itself goes along.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Life(Member);

impl PartialEq for Life {
    fn eq(&self, other: &Self) -> bool {
        self.0.node == other.0.node
    }
}

impl Eq for Life {}

impl foca::Identity for Life {
    type Addr = NodeName;

    /// Another life is begun by whoever keeps the links, which all have to end before.
    fn renew(&self) -> Option<Self> {
        None
    }

    fn addr(&self) -> NodeName {
        self.0.node.name.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.0.node.incarnation > adversary.0.node.incarnation
    }
}

/// What `foca` wants done.
#[derive(Default)]
struct Effects {
    packets: Vec<(NodeId, Vec<u8>)>,
    timers: Vec<(Duration, Timer<Life>)>,
    is_over: bool,
}

impl foca::Runtime<Life> for Effects {
    fn notify(&mut self, notification: Notification<'_, Life>) {
        // All else is seen in the members themselves.
        self.is_over |= matches!(notification, Notification::Defunct);
    }

    fn send_to(&mut self, to: Life, data: &[u8]) {
        self.packets.push((to.0.node, data.to_owned()));
    }

    fn submit_after(&mut self, event: Timer<Life>, after: Duration) {
        self.timers.push((after, event));
    }
}

/// The chance that was handed in, in the form that `foca` takes.
struct Chance(Draws);

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.0.next().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "swim_tests.rs"]
pub(crate) mod tests;
