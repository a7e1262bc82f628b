//! Links that come up and go down.

use super::roster::{Dial, Link, Target};
use super::swim::Told;
use super::{Peers, Turn};
use crate::{Endpoint, LinkEnd, LinkId, NodeId, NodeName, PeersOutput, Reason};

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
            since: turn.now,
            ends_at: None,
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
        if self.over(name).is_some_and(|over| id.incarnation <= over) {
            // Dialled by name, it is told.
            self.resolve_seed(turn, dial, name);
            return Err(LinkEnd::Down);
        }
        let peer = self.roster.peers.get(name).expect("it was admitted just now");
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
        self.swim(turn, |swim, now| swim.linked(now, id));
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
            let down =
                PeersOutput::PeerDown { peer: peer.clone(), link: link.id, why: why.clone() };
            turn.outputs.push(down);
            self.unlinked(turn, &peer, &why);
        }
        self.recall(turn, name);
    }

    /// What the end of a link says of the member at its other end.
    fn unlinked(&mut self, turn: &mut Turn, peer: &NodeId, why: &LinkEnd) {
        self.swim(turn, |swim, now| {
            swim.unlinked(peer);
            match why {
                LinkEnd::Goodbye => swim.end(now, peer, true),
                LinkEnd::Fenced { .. } => swim.end(now, peer, false),
                LinkEnd::Broken(_)
                | LinkEnd::Violation(_)
                | LinkEnd::Silent
                | LinkEnd::Untrusted(_)
                | LinkEnd::Aged
                | LinkEnd::Parted(_) => swim.suspect(now, peer),
                LinkEnd::Replaced { .. }
                | LinkEnd::Leaving
                | LinkEnd::Unwanted
                | LinkEnd::Down
                | LinkEnd::Renewed => Told::default(),
            }
        });
    }
}
