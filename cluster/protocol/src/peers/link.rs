//! Links that come up, go down, and carry news of others.

use super::backoff::Backoff;
use super::roster::{Dial, Link, Peer, Roster, Target};
use super::{Peers, Turn};
use crate::{Endpoint, LinkEnd, LinkId, NodeId, NodeName, PeerInfo, PeersOutput, Reason};

impl Peers {
    pub(super) fn link_up(
        &mut self,
        turn: &mut Turn,
        link: LinkId,
        peer: NodeId,
        listen: Option<Endpoint>,
    ) {
        match self.take_dial(link) {
            Some(dial) => self.dialled_link_up(turn, link, &peer, listen, &dial),
            None => self.accepted_link_up(turn, link, &peer),
        }
    }

    fn accepted_link_up(&mut self, turn: &mut Turn, link: LinkId, id: &NodeId) {
        let peer = self.roster.peers.get_mut(&id.name);
        let peer = peer.filter(|peer| peer.incarnation == Some(id.incarnation));
        let held = peer.and_then(|peer| peer.link.as_mut()).filter(|held| held.id == link);
        match held {
            None => turn.outputs.push(PeersOutput::Close { link, why: LinkEnd::Unwanted }),
            Some(held) if held.up => {}
            Some(held) => {
                held.up = true;
                held.since = turn.now;
                self.announce(turn, link, id);
            }
        }
    }

    fn dialled_link_up(
        &mut self,
        turn: &mut Turn,
        link: LinkId,
        id: &NodeId,
        listen: Option<Endpoint>,
        dial: &Dial,
    ) {
        if let Err(why) = self.may_keep(turn, link, id, dial) {
            if id.name == self.me.name {
                self.drop_own_seed(turn, &dial.endpoint);
            }
            if !matches!(why, LinkEnd::Replaced { .. }) {
                self.wait_after(turn, &dial.target, Reason::cut(why.to_string()));
            }
            turn.outputs.push(PeersOutput::Close { link, why });
            return;
        }
        let peer = self.roster.peers.get_mut(&id.name).expect("whoever may be kept is known");
        peer.prove(id.incarnation);
        peer.endpoints.prove(dial.endpoint.clone());
        if let Some(listen) = &listen {
            peer.endpoints.prove(listen.clone());
        }
        let kept = Link {
            id: link,
            up: true,
            data_lane: true,
            dialled_by_us: true,
            endpoint: listen.or_else(|| Some(dial.endpoint.clone())),
            since: turn.now,
        };
        self.roster.set_link(&id.name, kept);
        self.announce(turn, link, id);
    }

    /// Whether a link that this node has dialled may stay; if so, no other is left beside it.
    fn may_keep(
        &mut self,
        turn: &mut Turn,
        link: LinkId,
        id: &NodeId,
        dial: &Dial,
    ) -> Result<(), LinkEnd> {
        let name = &id.name;
        let another = matches!(&dial.target, Target::Peer(expected) if expected != name);
        if *name == self.me.name || another {
            return Err(LinkEnd::Unwanted);
        }
        if !self.roster.admit(name, self.config.peers_max, turn.now) {
            return Err(LinkEnd::Unwanted);
        }
        let peer = self.roster.peers.get(name).expect("it was admitted just now");
        if let Some(by) = peer.fence_against(id.incarnation) {
            return Err(LinkEnd::Fenced { by });
        }
        let known = peer.incarnation;
        let held = peer.link.as_ref().map(|held| (held.id, held.dialled_by_us));
        self.resolve_seed(turn, dial, name);
        match held {
            Some(_) if known < Some(id.incarnation) => {
                self.end_link(turn, name, LinkEnd::Fenced { by: id.incarnation });
            }
            Some((held, dialled_by_us)) if dialled_by_us || self.me.name > *name => {
                return Err(LinkEnd::Replaced { by: held });
            }
            Some(_) => self.end_link(turn, name, LinkEnd::Replaced { by: link }),
            None => {}
        }
        Ok(())
    }

    fn announce(&mut self, turn: &mut Turn, link: LinkId, id: &NodeId) {
        self.heartbeats.watch(link, turn.now);
        turn.outputs.push(PeersOutput::PeerUp { peer: id.clone(), link });
        self.tell_all_to(turn, link);
        self.tell_of(turn, &id.name);
    }

    pub(super) fn link_down(&mut self, turn: &mut Turn, link: LinkId, why: LinkEnd) {
        if let Some(name) = self.roster.peer_of(link).cloned() {
            self.end_link(turn, &name, why);
        } else {
            self.dial_failed(turn, link, Reason::cut(why.to_string()));
        }
    }

    /// Closes the link with a peer, if there is one, and says that the peer is down if it was up.
    pub(super) fn end_link(&mut self, turn: &mut Turn, name: &NodeName, why: LinkEnd) {
        let Some(link) = self.roster.take_link(name) else { return };
        self.heartbeats.forget(link.id);
        let Some(peer) = self.roster.peers.get_mut(name) else { return };
        peer.lost = Some(link.id);
        peer.unlinked_since = turn.now;
        peer.said_goodbye |= why == LinkEnd::Goodbye;
        peer.last_error = Some(Reason::cut(why.to_string()));
        // A link that does not last counts as a failure, or a peer that accepts and drops would be
        // dialled without pause.
        let lasted = turn.now.saturating_sub(link.since) >= self.config.backoff_max;
        let attempts = if link.up && lasted { 0 } else { peer.backoff.attempts.saturating_add(1) };
        peer.backoff.attempts = attempts;
        // The greater name waits a step longer, so that the two do not dial at once.
        let yields = self.me.name > *name;
        peer.backoff.wait(&self.config, turn.now, yields, turn.draws.next());
        turn.outputs.push(PeersOutput::Close { link: link.id, why: why.clone() });
        if let (true, Some(incarnation)) = (link.up, peer.incarnation) {
            let peer = NodeId { name: name.clone(), incarnation };
            turn.outputs.push(PeersOutput::PeerDown { peer, link: link.id, why });
        }
    }

    pub(super) fn learn(&mut self, turn: &mut Turn, link: LinkId, infos: Vec<PeerInfo>) {
        let from = self.roster.peer_of(link).and_then(|name| self.roster.peers.get(name));
        if !from.and_then(|peer| peer.link.as_ref()).is_some_and(|link| link.up) {
            return;
        }
        for PeerInfo { node: NodeId { name, incarnation }, endpoint } in infos {
            if name == self.me.name {
                continue;
            }
            if let Some(peer) = self.roster.peers.get_mut(&name) {
                if peer.link.is_some() || peer.fence_against(incarnation).is_some() {
                    continue;
                }
                let later = Some(incarnation) > peer.heard_of.max(peer.incarnation);
                peer.heard_of = peer.heard_of.max(Some(incarnation));
                if peer.endpoints.hear(endpoint) || later {
                    peer.backoff.hasten(&self.config);
                }
            } else if self.roster.peers.len() < self.config.peers_max {
                let mut peer = Peer::new(turn.now);
                peer.heard_of = Some(incarnation);
                peer.endpoints.hear(endpoint);
                peer.backoff = Backoff::at_once(turn.now);
                // The other is told of this node at the same time.
                if self.me.name > name {
                    peer.backoff.wait(&self.config, turn.now, true, turn.draws.next());
                }
                self.roster.peers.insert(name, peer);
            }
        }
    }

    /// Whether there is anybody to be told of anybody.
    pub(super) fn has_news_to_tell(&self) -> bool {
        self.roster.linked().nth(1).is_some()
    }

    /// Tells everybody to somebody, once in a while.
    pub(super) fn gossip(&mut self, turn: &mut Turn) {
        if self.gossip_at > turn.now {
            return;
        }
        self.gossip_at = turn.now.saturating_add(self.config.gossip_interval);
        if self.has_news_to_tell() {
            let links: Vec<LinkId> = self.roster.linked().map(|(_, _, link)| link.id).collect();
            let link = links[turn.draws.below(links.len())];
            self.tell_all_to(turn, link);
        }
    }

    fn tell_all_to(&self, turn: &mut Turn, to: LinkId) {
        let others = self.roster.linked().filter(|(_, _, link)| link.id != to);
        let infos = others.filter_map(|(name, peer, link)| Roster::info(name, peer, link));
        let infos: Vec<PeerInfo> = infos.collect();
        for peers in infos.chunks(self.config.gossip_peers_max) {
            turn.outputs.push(PeersOutput::Gossip { link: to, peers: peers.to_vec() });
        }
    }

    fn tell_of(&self, turn: &mut Turn, name: &NodeName) {
        let told = self.roster.linked().find(|(known, _, _)| *known == name);
        let info = told.and_then(|(name, peer, link)| Roster::info(name, peer, link));
        let Some(info) = info else { return };
        for (other, _, link) in self.roster.linked() {
            if other != name {
                let peers = vec![info.clone()];
                turn.outputs.push(PeersOutput::Gossip { link: link.id, peers });
            }
        }
    }
}
