//! What the members say of one another, and what that means for links.

use std::time::Duration;

use super::backoff::Backoff;
use super::roster::{Link, Peer};
use super::swim::{CLOCKS_APART_MAX, Swim, Told};
use super::{Peers, Turn};
use crate::{
    Incarnation, LinkEnd, LinkId, Member, MemberEvent, NodeId, NodeName, Over, PeersOutput, Reason,
    Refusal, Side,
};

impl Peers {
    /// Has the failure detector take a step, and does what it says.
    pub(super) fn swim(
        &mut self,
        turn: &mut Turn,
        step: impl FnOnce(&mut Swim, std::time::Duration) -> Told,
    ) {
        let told = step(self.detector(turn), turn.now);
        self.heed(turn, told);
    }

    fn detector(&mut self, turn: &mut Turn) -> &mut Swim {
        let me = || Member { node: self.me.clone(), profile: self.profile.clone() };
        let config = &self.config;
        self.swim.get_or_insert_with(|| Swim::new(config, me(), turn.draws.next(), turn.now))
    }

    /// A packet has come over a link.
    pub(super) fn packet(&mut self, turn: &mut Turn, link: LinkId, packet: &[u8]) {
        let Some(from) = self.linked_by(link) else { return };
        let now = turn.now;
        match self.detector(turn).received(now, &from, packet) {
            Ok(told) => self.heed(turn, told),
            Err(_) => {
                let why = Reason::cut("a packet of the membership that is none");
                self.link_down(turn, link, LinkEnd::Violation(why));
            }
        }
    }

    fn heed(&mut self, turn: &mut Turn, told: Told) {
        for (to, packet) in told.packets {
            // Without a link it is lost, as on any network.
            if let Some(link) = self.link_with(&to) {
                turn.outputs.push(PeersOutput::Swim { link, packet });
            }
        }
        for event in told.events {
            self.member_changed(turn, event);
        }
        // Its life may be over only as far as others could see: as every such life, it is dialled, and
        // told so.
        for member in told.strangers {
            self.hear_of(turn, &member);
        }
        if told.is_over {
            self.renew(turn, self.me.incarnation);
        }
    }

    fn link_with(&self, node: &NodeId) -> Option<LinkId> {
        let peer = self.roster.peers.get(&node.name)?;
        let link = peer.link.as_ref().filter(|link| link.up)?;
        (peer.incarnation == Some(node.incarnation)).then_some(link.id)
    }

    /// Whether the peer has opened a link's first lane and not yet its second.
    fn has_begun_link(&self, node: &NodeId) -> bool {
        let peer = self.roster.peers.get(&node.name);
        let peer = peer.filter(|peer| peer.incarnation == Some(node.incarnation));
        peer.and_then(|peer| peer.link.as_ref()).is_some_and(|link| !link.up)
    }

    fn member_changed(&mut self, turn: &mut Turn, event: MemberEvent) {
        let node = event.member.node.clone();
        if event.state.is_over() {
            if let Some(link) = self.link_with(&node) {
                self.link_of_the_dead(turn, &node.name, link);
            } else if self.has_begun_link(&node) {
                // Or it would come up yet, and a life that is over with it.
                self.end_link(turn, &node.name, LinkEnd::Down);
            }
        } else {
            self.hear_of(turn, &event.member);
        }
        turn.outputs.push(PeersOutput::Member(event));
    }

    /// A peer that is heard may have said goodbye, which comes over its own link, or learn that it is
    /// over, and close the link itself. It is given time for that.
    fn link_of_the_dead(&mut self, turn: &mut Turn, name: &NodeName, link: LinkId) {
        if self.heartbeats.is_quiet(link) {
            return self.end_link(turn, name, LinkEnd::Down);
        }
        let ends_at = turn.now.saturating_add(self.config.suspicion_max());
        let link = self.roster.peers.get_mut(name).and_then(|peer| peer.link.as_mut());
        if let Some(link) = link {
            link.ends_at = link.ends_at.or(Some(ends_at));
        }
    }

    /// Closes the links whose peers' lives are over, and who did not do so themselves.
    pub(super) fn end_links_of_the_dead(&mut self, turn: &mut Turn) {
        let due = self
            .roster
            .linked()
            .filter(|(_, _, link)| link.ends_at.is_some_and(|at| at <= turn.now));
        let due: Vec<NodeName> = due.map(|(name, _, _)| name.clone()).collect();
        for name in due {
            self.end_link(turn, &name, LinkEnd::Down);
        }
    }

    /// The link with this peer is gone. Others may have told meanwhile of a later life, which they do
    /// but once, and of where it listens.
    pub(super) fn recall(&mut self, turn: &mut Turn, name: &NodeName) {
        if let Some(member) = self.swim.as_ref().and_then(|swim| swim.member(name)).cloned() {
            self.hear_of(turn, &member);
        }
    }

    /// Somebody tells of a member that this node is not linked with.
    fn hear_of(&mut self, turn: &mut Turn, member: &Member) {
        let NodeId { name, incarnation } = &member.node;
        let Some(endpoint) = member.profile.endpoint().cloned() else { return };
        if let Some(peer) = self.roster.peers.get_mut(name) {
            if peer.link.is_some() || peer.fence_against(*incarnation).is_some() {
                return;
            }
            let later = Some(*incarnation) > peer.heard_of.max(peer.incarnation);
            peer.heard_of = peer.heard_of.max(Some(*incarnation));
            if peer.endpoints.hear(endpoint) || later {
                peer.backoff.hasten(&self.config);
            }
        } else if self.roster.peers.len() < self.config.peers_max {
            let mut peer = Peer::new(turn.now);
            peer.heard_of = Some(*incarnation);
            peer.endpoints.hear(endpoint);
            peer.backoff = Backoff::at_once(turn.now);
            // The other is told of this node at the same time.
            if self.me.name > *name {
                peer.backoff.wait(&self.config, turn.now, true, turn.draws.next());
            }
            self.roster.peers.insert(name.clone(), peer);
        }
    }

    /// The latest life of a node that its members have declared down, or that has said goodbye.
    pub(super) fn over(&self, name: &NodeName) -> Option<Incarnation> {
        self.swim.as_ref()?.over(name)
    }

    /// What stands behind this node's word.
    pub(super) fn side(&self) -> Side {
        // Of the others, those whose lives are over are about to go, and the quiet ones may be.
        let lively = |link: &Link| link.ends_at.is_none() && !self.heartbeats.is_quiet(link.id);
        let linked = || self.roster.linked().filter(|(_, _, link)| lively(link));
        let first = linked().next().map_or(&self.me.name, |(name, _, _)| name);
        Side {
            linked: u32::try_from(linked().count()).unwrap_or(u32::MAX),
            first: first.min(&self.me.name).clone(),
        }
    }

    /// Whether two nodes of which one takes the other's life for over, or each the other's, may link:
    /// they may not, until one of them has begun another life.
    pub(super) fn contest(
        &mut self,
        turn: &mut Turn,
        dialler: &NodeId,
        over: Option<&Over>,
    ) -> Result<(), Refusal> {
        let latest = self.latest_life(turn.now);
        if let Some(over) = over.filter(|it| it.life >= self.me.incarnation && it.life <= latest) {
            if self.yields_to(&dialler.name, &over.side) {
                self.renew(turn, over.life);
                return Err(Refusal::Renewing);
            }
            self.swim(turn, |swim, now| swim.end(now, dialler, false));
        }
        match self.over(&dialler.name).filter(|life| dialler.incarnation <= *life) {
            Some(life) => Err(Refusal::Over(Over { life, side: self.side() })),
            None => Ok(()),
        }
    }

    /// A dial was refused because this node's life is over.
    pub(super) fn told_over(&mut self, turn: &mut Turn, by: &NodeName, over: &Over) {
        if over.life < self.me.incarnation || over.life > self.latest_life(turn.now) {
            return;
        }
        if self.yields_to(by, &over.side) {
            return self.renew(turn, over.life);
        }
        // It may be a life that this node has only heard of, and was never linked with.
        let latest = |peer: &Peer| peer.heard_of.max(peer.incarnation);
        let known = self.roster.peers.get(by).and_then(latest);
        if let Some(incarnation) = known {
            let by = NodeId { name: by.clone(), incarnation };
            self.swim(turn, |swim, now| swim.end(now, &by, false));
        }
    }

    /// No life of this node can be later, so far as clocks are right: who is told of one that is was
    /// lied to, and would come behind no such life again.
    fn latest_life(&self, now: Duration) -> Incarnation {
        let ahead = now.saturating_add(CLOCKS_APART_MAX).as_micros();
        Incarnation(self.first_life.0.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX)))
    }

    /// Whether this node takes the word of another that its life is over. The smaller side yields: a
    /// node that was cut off must not make all others begin anew. Of two that are equal, one yields
    /// if each takes the other for dead, else whoever is told so.
    pub(super) fn yields_to(&self, by: &NodeName, theirs: &Side) -> bool {
        let ours = self.side();
        match ours.linked.cmp(&theirs.linked) {
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Less => true,
            // The same nodes may stand behind both: then it is their own names that differ.
            std::cmp::Ordering::Equal => {
                self.over(by).is_none() || (&ours.first, &self.me.name) > (&theirs.first, by)
            }
        }
    }

    /// Begins another life, later than `over`. As after a restart, nothing is remembered of who was
    /// down.
    fn renew(&mut self, turn: &mut Turn, over: Incarnation) {
        // No more often than a dial is repeated: what makes a node do so may be a lie.
        let pause = self.config.backoff_max;
        if self.renewed_at.is_some_and(|at| turn.now < at.saturating_add(pause)) {
            return;
        }
        self.renewed_at = Some(turn.now);
        let names: Vec<_> = self.roster.peers.keys().cloned().collect();
        for name in &names {
            self.end_link(turn, name, LinkEnd::Renewed);
        }
        for link in self.roster.give_up_dials() {
            turn.outputs.push(PeersOutput::Close { link, why: LinkEnd::Renewed });
        }
        for peer in self.roster.peers.values_mut() {
            peer.backoff.attempts = 0;
            peer.backoff.wait(&self.config, turn.now, false, turn.draws.next());
        }
        // Lives count microseconds since a moment that all share, as far as their clocks are right.
        let passed = u64::try_from(turn.now.as_micros()).unwrap_or(u64::MAX);
        let clock = self.first_life.0.saturating_add(passed);
        let next = over.max(self.me.incarnation).0.saturating_add(1).max(clock);
        self.me.incarnation = Incarnation(next);
        self.swim = None;
        turn.outputs.push(PeersOutput::Renewed { me: self.me.clone() });
    }
}
