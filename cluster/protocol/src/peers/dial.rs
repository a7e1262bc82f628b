//! Whom this node dials, and what becomes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::roster::{Dial, Target};
use super::{Peers, Turn};
use crate::{
    Endpoint, Held, LinkEnd, LinkId, NodeName, Over, PeersOutput, Reason, Refusal, SeedDropped,
};

/// A dial that is to be made at some time. The order is who goes first when all are due: whoever has
/// proven to exist or was configured before whoever is known by hearsay, then the longest due.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    hearsay: bool,
    pub(super) until: Duration,
    target: Target,
    endpoint: Endpoint,
}

impl Peers {
    /// Everybody who is to be dialled, now or later.
    pub(super) fn waiting(&self, seed_names: &BTreeSet<NodeName>) -> Vec<Waiting> {
        let mut waiting = Vec::new();
        for (name, peer) in &self.roster.peers {
            let seed = seed_names.contains(name);
            if peer.link.is_some() || peer.dial.is_some() || (peer.has_left() && !seed) {
                continue;
            }
            let endpoints = self.roster.endpoints_of(name, peer);
            if endpoints.is_empty() {
                continue;
            }
            // Each failure moves on to the next endpoint.
            let endpoint = endpoints[peer.backoff.attempts as usize % endpoints.len()].clone();
            let hearsay = !seed && peer.incarnation.is_none();
            let target = Target::Peer(name.clone());
            waiting.push(Waiting { hearsay, until: peer.backoff.until, target, endpoint });
        }
        for (endpoint, seed) in &self.roster.seeds {
            if seed.name.is_none() && seed.dial.is_none() {
                let (until, endpoint) = (seed.backoff.until, endpoint.clone());
                let target = Target::Seed(endpoint.clone());
                waiting.push(Waiting { hearsay: false, until, target, endpoint });
            }
        }
        waiting
    }

    pub(super) fn dial_whom_is_due(&mut self, turn: &mut Turn) {
        let mut due = self.waiting(&self.roster.seed_names());
        due.retain(|waiting| waiting.until <= turn.now);
        due.sort();
        let dials = self.roster.dials.values();
        let mut dialled: BTreeSet<Endpoint> = dials.map(|dial| dial.endpoint.clone()).collect();
        for Waiting { target, endpoint, .. } in due {
            if self.roster.dials.len() >= self.config.dials_max {
                break;
            }
            // A seed and a peer may be the same node: the first dial tells.
            if dialled.insert(endpoint.clone()) {
                self.dial(turn, target, endpoint);
            }
        }
    }

    fn dial(&mut self, turn: &mut Turn, target: Target, endpoint: Endpoint) {
        let link = loop {
            let link = LinkId(turn.draws.next());
            if !self.roster.knows_link(link) {
                break link;
            }
        };
        let (expect, held) = match &target {
            Target::Seed(seed) => {
                if let Some(seed) = self.roster.seeds.get_mut(seed) {
                    seed.dial = Some(link);
                }
                (None, Held::default())
            }
            Target::Peer(name) => {
                let peer = self.roster.peers.get_mut(name);
                let lost = peer.and_then(|peer| {
                    peer.dial = Some(link);
                    peer.lost
                });
                let over = self.over(name).map(|life| Over { life, side: self.side() });
                (Some(name.clone()), Held { lost, over })
            }
        };
        let dial = Dial { target, endpoint: endpoint.clone(), since: turn.now, went_first: false };
        self.roster.dials.insert(link, dial);
        turn.outputs.push(PeersOutput::Dial { link, endpoint, expect, held });
    }

    /// Takes a dial that has come to an end out of all tables.
    pub(super) fn take_dial(&mut self, link: LinkId) -> Option<Dial> {
        let dial = self.roster.dials.remove(&link)?;
        match &dial.target {
            Target::Seed(endpoint) => {
                if let Some(seed) = self.roster.seeds.get_mut(endpoint) {
                    seed.dial = None;
                }
            }
            Target::Peer(name) => {
                if let Some(peer) = self.roster.peers.get_mut(name) {
                    peer.dial = None;
                }
            }
        }
        Some(dial)
    }

    /// Lets the target of a failed dial wait before the next.
    pub(super) fn wait_after(&mut self, turn: &mut Turn, target: &Target, error: Reason) {
        let draw = turn.draws.next();
        match target {
            Target::Seed(endpoint) => {
                if let Some(seed) = self.roster.seeds.get_mut(endpoint) {
                    seed.last_error = Some(error);
                    seed.backoff.failed(&self.config, turn.now, draw);
                }
            }
            Target::Peer(name) => {
                if let Some(peer) = self.roster.peers.get_mut(name) {
                    // Whoever is linked by another dial meanwhile has no error to show.
                    peer.last_error = peer.link.is_none().then_some(error);
                    peer.backoff.failed(&self.config, turn.now, draw);
                }
            }
        }
    }

    pub(super) fn dial_failed(&mut self, turn: &mut Turn, link: LinkId, reason: Reason) {
        if let Some(dial) = self.take_dial(link) {
            self.wait_after(turn, &dial.target, reason);
        }
    }

    pub(super) fn dial_refused(
        &mut self,
        turn: &mut Turn,
        link: LinkId,
        by: NodeName,
        refusal: Refusal,
    ) {
        let Some(dial) = self.take_dial(link) else { return };
        self.wait_after(turn, &dial.target, Reason::cut(refusal.to_string()));
        match refusal {
            Refusal::Over(over) => self.told_over(turn, &by, &over),
            Refusal::Fenced { known } if known >= self.me.incarnation => {
                turn.outputs.push(PeersOutput::Superseded { by, known });
            }
            Refusal::SameNode if by == self.me.name => self.drop_own_seed(turn, &dial.endpoint),
            Refusal::WrongNode { .. } => self.disprove(&dial),
            Refusal::AlreadyLinked { link } => {
                self.resolve_seed(turn, &dial, &by);
                self.believe_lost(&by, link);
            }
            Refusal::Crossed => self.resolve_seed(turn, &dial, &by),
            _ => {}
        }
    }

    pub(super) fn drop_own_seed(&mut self, turn: &mut Turn, endpoint: &Endpoint) {
        if self.roster.seeds.remove(endpoint).is_some() {
            if self.roster.own_seeds.len() < self.config.seeds_max {
                self.roster.own_seeds.insert(endpoint.clone());
            }
            let (endpoint, why) = (endpoint.clone(), SeedDropped::Myself);
            turn.outputs.push(PeersOutput::SeedDropped { endpoint, why });
        }
    }

    /// Somebody else answered where a peer was thought to be.
    fn disprove(&mut self, dial: &Dial) {
        let Target::Peer(name) = &dial.target else { return };
        if let Some(peer) = self.roster.peers.get_mut(name) {
            peer.endpoints.remove(&dial.endpoint);
            peer.backoff.hasten(&self.config);
        }
        if let Some(seed) = self.roster.seeds.get_mut(&dial.endpoint) {
            seed.name = None;
        }
    }

    /// Remembers who answers at a seed: from now on the peer is dialled, not the seed.
    pub(super) fn resolve_seed(&mut self, turn: &mut Turn, dial: &Dial, name: &NodeName) {
        if *name == self.me.name
            || !self.roster.seeds.contains_key(&dial.endpoint)
            || !self.roster.admit(name, self.config.peers_max, turn.now)
        {
            return;
        }
        if let Some(seed) = self.roster.seeds.get_mut(&dial.endpoint) {
            seed.name = Some(name.clone());
            seed.backoff.attempts = 0;
            seed.last_error = None;
        }
    }

    /// A peer holds a link that this node does not: the next hello says so.
    fn believe_lost(&mut self, by: &NodeName, link: LinkId) {
        if self.roster.knows_link(link) {
            return;
        }
        if let Some(peer) = self.roster.peers.get_mut(by) {
            peer.lost = Some(link);
        }
    }

    /// Gives up dials without an answer and accepted links that do not come up.
    pub(super) fn give_up_handshakes(&mut self, turn: &mut Turn) {
        let late = |since: Duration| since.saturating_add(self.config.handshake_max) <= turn.now;
        let dials = self.roster.dials.iter().filter(|(_, dial)| late(dial.since));
        let dials: Vec<LinkId> = dials.map(|(link, _)| *link).collect();
        let accepted = self.roster.peers.values().filter_map(|peer| peer.link.as_ref());
        let accepted = accepted.filter(|link| !link.up && late(link.since));
        let accepted: Vec<LinkId> = accepted.map(|link| link.id).collect();
        for link in dials {
            self.dial_failed(turn, link, Reason::cut("the dial was not answered in time"));
        }
        for link in accepted {
            self.link_down(turn, link, LinkEnd::Silent);
        }
    }
}
