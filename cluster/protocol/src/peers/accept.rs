//! Who may link with this node.

use super::roster::Link;
use super::{Peers, Turn};
use crate::{Hello, Lane, LinkEnd, PeersOutput, Refusal};

impl Peers {
    pub(super) fn hello(&mut self, turn: &mut Turn, token: u64, hello: &Hello) {
        let judged = match hello.lane {
            Lane::Control => self.control_lane(turn, hello),
            Lane::Data => self.data_lane(hello),
            // A rider changes nothing about who is linked: the shell lets it in.
            Lane::Rider => Err(Refusal::UnknownLink),
            Lane::Bulk => self.bulk_lane(hello),
        };
        turn.outputs.push(match judged {
            Ok(()) => PeersOutput::Accept { token, link: hello.link },
            Err(refusal) => PeersOutput::Refuse { token, refusal },
        });
    }

    fn control_lane(&mut self, turn: &mut Turn, hello: &Hello) -> Result<(), Refusal> {
        let name = &hello.node.name;
        let incarnation = hello.node.incarnation;
        if *name == self.me.name {
            return Err(Refusal::namesake(&self.me, &hello.node));
        }
        if self.roster.knows_link(hello.link) {
            return Err(if self.roster.peer_of(hello.link) == Some(name) {
                Refusal::AlreadyLinked { link: hello.link }
            } else {
                Refusal::LinkTaken
            });
        }
        let peer = self.roster.peers.get(name);
        if let Some(known) = peer.and_then(|peer| peer.fence_against(incarnation)) {
            return Err(Refusal::Fenced { known });
        }
        self.contest(turn, &hello.node, hello.held.over.as_ref())?;
        let peer = self.roster.peers.get(name);
        let held = peer.and_then(|peer| Some((peer.incarnation?, peer.link.as_ref()?.id)));
        match held {
            Some((known, _)) if known < incarnation => {
                self.end_link(turn, name, LinkEnd::Fenced { by: incarnation });
            }
            Some((_, link)) if hello.held.lost == Some(link) => {
                self.end_link(turn, name, LinkEnd::Replaced { by: hello.link });
            }
            Some((_, link)) => return Err(Refusal::AlreadyLinked { link }),
            None => {}
        }
        if self.goes_first(hello) {
            return Err(Refusal::Crossed);
        }
        if !self.roster.admit(name, self.config.peers_max, turn.now) {
            return Err(Refusal::TooManyPeers { peers_max: self.config.peers_max });
        }
        let peer = self.roster.peers.get_mut(name).expect("it was admitted just now");
        peer.prove(incarnation);
        if let Some(listen) = &hello.listen {
            peer.endpoints.prove(listen.clone());
        }
        let link = Link {
            id: hello.link,
            up: false,
            data_lane: false,
            dialled_by_us: false,
            since: turn.now,
            ends_at: None,
        };
        self.roster.set_link(name, link);
        Ok(())
    }

    /// Whether a dial of this node's own goes before that of `hello`.
    fn goes_first(&mut self, hello: &Hello) -> bool {
        let ours = self.roster.peers.get(&hello.node.name).and_then(|peer| peer.dial);
        let Some(dial) = ours.and_then(|link| self.roster.dials.get_mut(&link)) else {
            return false;
        };
        self.me.name < hello.node.name && !std::mem::replace(&mut dial.went_first, true)
    }

    fn data_lane(&mut self, hello: &Hello) -> Result<(), Refusal> {
        let link = self.accepted_link(hello)?;
        if std::mem::replace(&mut link.data_lane, true) {
            return Err(Refusal::AlreadyLinked { link: link.id });
        }
        Ok(())
    }

    /// It may come more than once: whoever missed its welcome tries again.
    fn bulk_lane(&mut self, hello: &Hello) -> Result<(), Refusal> {
        if self.accepted_link(hello)?.data_lane { Ok(()) } else { Err(Refusal::UnknownLink) }
    }

    fn accepted_link(&mut self, hello: &Hello) -> Result<&mut Link, Refusal> {
        let peer = self.roster.peers.get_mut(&hello.node.name);
        let peer = peer.filter(|peer| peer.incarnation == Some(hello.node.incarnation));
        let link = peer.and_then(|peer| peer.link.as_mut());
        let link = link.filter(|link| link.id == hello.link && !link.dialled_by_us);
        link.ok_or(Refusal::UnknownLink)
    }
}
