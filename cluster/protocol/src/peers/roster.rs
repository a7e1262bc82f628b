//! The tables behind [`Peers`](crate::Peers): whom a node knows, dials and is linked with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backoff::Backoff;
use crate::{Endpoint, Incarnation, LinkId, NodeName, PeerState, PeerView};
use crate::{PeersConfig, Reason, SeedView};

/// Endpoints that a peer itself gave or that once led to it: what it advertises, what was dialled.
const PROVEN_MAX: usize = 2;
/// Endpoints that others gave for one peer. More than one, so that a lie does not displace the truth.
const HEARSAY_MAX: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Roster {
    pub(crate) peers: BTreeMap<NodeName, Peer>,
    pub(crate) seeds: BTreeMap<Endpoint, Seed>,
    /// Seeds at which this node found itself: a source may tell of them again and again.
    pub(crate) own_seeds: BTreeSet<Endpoint>,
    pub(crate) dials: BTreeMap<LinkId, Dial>,
    /// The peer of each link, accepted or up. **Invariant:** `links[l] == n` exactly where
    /// `peers[n].link` has the id `l`.
    links: BTreeMap<LinkId, NodeName>,
}

#[derive(Debug)]
pub(crate) struct Peer {
    /// The latest life that was proven by a certificate. Hearsay never fences anybody.
    pub(crate) incarnation: Option<Incarnation>,
    /// The latest life that anybody told of.
    pub(crate) heard_of: Option<Incarnation>,
    pub(crate) endpoints: Endpoints,
    pub(crate) link: Option<Link>,
    pub(crate) dial: Option<LinkId>,
    pub(crate) backoff: Backoff,
    pub(crate) lost: Option<LinkId>,
    pub(crate) said_goodbye: bool,
    pub(crate) unlinked_since: Duration,
    pub(crate) last_error: Option<Reason>,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) up: bool,
    pub(crate) data_lane: bool,
    pub(crate) dialled_by_us: bool,
    pub(crate) since: Duration,
    /// When it is closed at the latest: its peer's life is over.
    pub(crate) ends_at: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) name: Option<NodeName>,
    pub(crate) dial: Option<LinkId>,
    pub(crate) backoff: Backoff,
    pub(crate) last_error: Option<Reason>,
}

#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) target: Target,
    pub(crate) endpoint: Endpoint,
    pub(crate) since: Duration,
    /// Whether a dial of the peer was refused in favour of this one.
    pub(crate) went_first: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Seed(Endpoint),
    Peer(NodeName),
}

impl Roster {
    pub(crate) fn peer_of(&self, link: LinkId) -> Option<&NodeName> {
        self.links.get(&link)
    }

    /// Whether a link or a dial has this id.
    pub(crate) fn knows_link(&self, link: LinkId) -> bool {
        self.links.contains_key(&link) || self.dials.contains_key(&link)
    }

    pub(crate) fn set_link(&mut self, name: &NodeName, link: Link) {
        let peer = self.peers.get_mut(name).expect("a link belongs to a known peer");
        assert!(peer.link.is_none(), "a peer has one link at a time");
        self.links.insert(link.id, name.clone());
        peer.link = Some(link);
    }

    pub(crate) fn take_link(&mut self, name: &NodeName) -> Option<Link> {
        let link = self.peers.get_mut(name)?.link.take()?;
        self.links.remove(&link.id);
        Some(link)
    }

    /// The peers that are up, by name.
    pub(crate) fn linked(&self) -> impl Iterator<Item = (&NodeName, &Peer, &Link)> {
        self.peers.iter().filter_map(|(name, peer)| {
            let link = peer.link.as_ref().filter(|link| link.up)?;
            Some((name, peer, link))
        })
    }

    /// The names that seeds led to.
    pub(crate) fn seed_names(&self) -> BTreeSet<NodeName> {
        self.seeds.values().filter_map(|seed| seed.name.clone()).collect()
    }

    /// Where a peer can be dialled: what it gave itself, what others gave, what was configured.
    pub(crate) fn endpoints_of(&self, name: &NodeName, peer: &Peer) -> Vec<Endpoint> {
        let seeds = self.seeds.iter().filter(|(_, seed)| seed.name.as_ref() == Some(name));
        let mut all: Vec<Endpoint> = Vec::new();
        for endpoint in peer.endpoints.iter().chain(seeds.map(|(endpoint, _)| endpoint)) {
            if !all.contains(endpoint) {
                all.push(endpoint.clone());
            }
        }
        all
    }

    /// Makes sure that a peer that has proven its name is known. At the bound somebody who is not
    /// linked has to go, first whoever is known by hearsay only, and longest. `false` if all are
    /// linked or seeds.
    pub(crate) fn admit(&mut self, name: &NodeName, peers_max: usize, now: Duration) -> bool {
        if self.peers.contains_key(name) {
            return true;
        }
        if self.peers.len() >= peers_max {
            let seeds = self.seed_names();
            let dispensable =
                |(name, peer): &(&NodeName, &Peer)| peer.link.is_none() && !seeds.contains(*name);
            let rank = |(_, peer): &(&NodeName, &Peer)| {
                (peer.incarnation.is_some(), peer.dial.is_some(), peer.unlinked_since)
            };
            let victim = self.peers.iter().filter(dispensable).min_by_key(rank);
            let Some(victim) = victim.map(|(name, _)| name.clone()) else { return false };
            self.forget(&victim);
        }
        self.peers.insert(name.clone(), Peer::new(now));
        true
    }

    fn forget(&mut self, name: &NodeName) {
        if let Some(dial) = self.peers.remove(name).and_then(|peer| peer.dial) {
            self.dials.remove(&dial);
        }
    }

    /// Gives all dials up; those that were under way.
    pub(crate) fn give_up_dials(&mut self) -> Vec<LinkId> {
        for peer in self.peers.values_mut() {
            peer.dial = None;
        }
        for seed in self.seeds.values_mut() {
            seed.dial = None;
        }
        std::mem::take(&mut self.dials).into_keys().collect()
    }

    /// Forgets who has been out of reach for too long. Whoever is still a member is not: others
    /// told of it once, and will not again.
    pub(crate) fn forget_unreachable(
        &mut self,
        config: &PeersConfig,
        now: Duration,
        is_member: impl Fn(&NodeName) -> bool,
    ) {
        let seeds = self.seed_names();
        self.peers.retain(|name, peer| {
            let is_due = peer.forgotten_at(config).is_some_and(|at| at <= now);
            !is_due || seeds.contains(name) || is_member(name)
        });
    }

    pub(crate) fn view_peers(&self) -> Vec<PeerView> {
        let seeds = self.seed_names();
        let view = |(name, peer): (&NodeName, &Peer)| PeerView {
            name: name.clone(),
            incarnation: peer.incarnation,
            endpoints: self.endpoints_of(name, peer),
            seed: seeds.contains(name),
            state: self.state_of(name, peer),
            attempts: peer.backoff.attempts,
            last_error: peer.last_error.clone(),
        };
        self.peers.iter().map(view).collect()
    }

    pub(crate) fn view_seeds(&self) -> Vec<SeedView> {
        let view = |(endpoint, seed): (&Endpoint, &Seed)| SeedView {
            endpoint: endpoint.clone(),
            name: seed.name.clone(),
            state: match &seed.name {
                Some(_) => PeerState::Resolved,
                None => self.awaited(seed.dial, &seed.backoff),
            },
            attempts: seed.backoff.attempts,
            last_error: seed.last_error.clone(),
        };
        self.seeds.iter().map(view).collect()
    }

    fn state_of(&self, name: &NodeName, peer: &Peer) -> PeerState {
        match &peer.link {
            Some(Link { id, up: true, since, dialled_by_us, .. }) => {
                PeerState::Linked { link: *id, since: *since, dialled_by_us: *dialled_by_us }
            }
            Some(Link { id, since, .. }) => PeerState::Accepting { link: *id, since: *since },
            None if peer.has_left() => PeerState::Left { since: peer.unlinked_since },
            None if peer.dial.is_none() && self.endpoints_of(name, peer).is_empty() => {
                PeerState::Unreachable { since: peer.unlinked_since }
            }
            None => self.awaited(peer.dial, &peer.backoff),
        }
    }

    fn awaited(&self, dial: Option<LinkId>, backoff: &Backoff) -> PeerState {
        match dial.and_then(|link| Some((link, self.dials.get(&link)?))) {
            Some((link, dial)) => PeerState::Dialling { link, since: dial.since },
            None => PeerState::Waiting { since: backoff.since, until: backoff.until },
        }
    }
}

impl Peer {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            incarnation: None,
            heard_of: None,
            endpoints: Endpoints::default(),
            link: None,
            dial: None,
            backoff: Backoff::at_once(now),
            lost: None,
            said_goodbye: false,
            unlinked_since: now,
            last_error: None,
        }
    }

    /// Whether its latest life is over by its own word. A later one, if only by hearsay, is worth a
    /// dial again.
    pub(crate) fn has_left(&self) -> bool {
        self.said_goodbye && self.heard_of <= self.incarnation
    }

    /// The life that keeps `incarnation` out: a later one, or itself if it said goodbye.
    pub(crate) fn fence_against(&self, incarnation: Incarnation) -> Option<Incarnation> {
        let over = |known: Incarnation| match incarnation.cmp(&known) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => self.said_goodbye,
            std::cmp::Ordering::Greater => false,
        };
        self.incarnation.filter(|known| over(*known))
    }

    /// A certificate has proven this life, which no fence keeps out.
    pub(crate) fn prove(&mut self, incarnation: Incarnation) {
        if self.incarnation != Some(incarnation) {
            self.incarnation = Some(incarnation);
            self.said_goodbye = false;
            self.lost = None;
            self.endpoints = Endpoints::default();
        }
        self.last_error = None;
    }

    /// When it is forgotten, unless it is a seed or a member.
    pub(crate) fn forgotten_at(&self, config: &PeersConfig) -> Option<Duration> {
        let idle = self.link.is_none() && self.dial.is_none();
        idle.then(|| self.unlinked_since.saturating_add(config.forget_after))
    }
}

/// Where one peer can be dialled, the best first.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    proven: Vec<Endpoint>,
    hearsay: Vec<Endpoint>,
}

impl Endpoints {
    /// Takes an endpoint that the peer gave or that led to it.
    pub(crate) fn prove(&mut self, endpoint: Endpoint) {
        self.remove(&endpoint);
        self.proven.insert(0, endpoint);
        self.proven.truncate(PROVEN_MAX);
    }

    /// Takes an endpoint that somebody else gave. Whether it is news.
    pub(crate) fn hear(&mut self, endpoint: Endpoint) -> bool {
        if self.iter().any(|known| *known == endpoint) {
            return false;
        }
        if self.hearsay.len() == HEARSAY_MAX {
            self.hearsay.remove(0);
        }
        self.hearsay.push(endpoint);
        true
    }

    pub(crate) fn remove(&mut self, endpoint: &Endpoint) {
        self.proven.retain(|known| known != endpoint);
        self.hearsay.retain(|known| known != endpoint);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.proven.iter().chain(&self.hearsay)
    }
}
