//! The actor that carries out what [`Peers`] decides.

mod bulk;
mod line;
mod link;
mod renewal;
mod rides;
mod sources;
mod troubles;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Exit, Message, Myself, Reply, Timer,
};
use umbel_protocol::{
    Control, Endpoint, Held, Hello, InterestInput, Lane, LinkEnd, LinkId, NodeId, NodeName, Peers,
    PeersInput, PeersOutput, PeersView, Profile, Reason, Refusal, RegistryInput, SeedDropped,
};

use self::bulk::BulkDial;
use self::line::Side;
use self::link::{Link, Streams};
use self::rides::Rides;
use self::sources::Sources;
use self::troubles::Troubles;
use crate::greeting::{self, Admitted, DialError, Dialled};
use crate::home::NodeHome;
use crate::lane::{BulkThread, Home};
use crate::registry::look_after;
use crate::rider::Rider;
use crate::task::OwnedTask;
use crate::transport::Transport;

/// What the coordinator is told.
#[derive(Message)]
pub(crate) enum Coordinate {
    /// Dial these, for ever.
    Join(Vec<Endpoint>),
    /// A source of seeds names these now, and no others.
    Seeds(usize, Vec<Endpoint>),
    /// A hello that is in order by itself.
    Hello(Hello, Reply<Verdict>),
    /// The welcome for a control lane was said.
    ControlOpened(Hello, Admitted),
    /// The welcome for a data lane was said.
    DataOpened(Hello, Admitted),
    /// The welcome for a rider's lane was said.
    RiderOpened(LinkId, Admitted),
    /// The welcome for a bulk lane was said.
    BulkOpened(Hello, Admitted),
    /// A bulk lane is open at the peer, which takes no message of more bytes.
    BulkDialled(LinkId, Admitted, u64),
    /// A dial has ended.
    Dialled(LinkId, Result<Dialled, DialError>),
    /// Something came over a control lane. Its place is free again when it is handled.
    Control(LinkId, Control, OwnedSemaphorePermit),
    /// A lane has ended.
    LaneEnded(LinkId, LinkEnd),
    /// An actor here that a peer watches has ended.
    WatchedEnded(LinkId, u64, Exit),
    /// A dial for the next connection of a lane has ended.
    Renewed(LinkId, Lane, Result<Admitted, DialError>),
    /// It is time to look after the links.
    Look,
    /// The node has other credentials; whether it has another certificate, too.
    Rotated { is_other: bool, done: Reply<()> },
    /// It is time.
    Tick,
    /// What is there to see?
    View(Reply<PeersView>),
    /// Say goodbye to all.
    Leave(Reply<()>),
}

/// What becomes of a hello.
pub(crate) enum Verdict {
    Accepted,
    Refused(Refusal),
}

/// Drives [`Peers`]: a thin shell, one input at a time.
pub(crate) struct Coordinator {
    pub(crate) home: Arc<NodeHome>,
    pub(crate) transport: Arc<dyn Transport>,
    /// What this node tells of itself.
    pub(crate) profile: Profile,
    pub(crate) rider: Option<Arc<dyn Rider>>,
}

/// What only the coordinator knows. All connections and tasks of the node's links are in it, and end
/// with it.
pub(crate) struct Links {
    home: Arc<NodeHome>,
    peers: Peers,
    started: Instant,
    /// Links that were accepted or dialled and are not up yet: from their acceptance until they are
    /// up or [`Peers`] closes them.
    opening: BTreeMap<LinkId, Opening>,
    up: BTreeMap<LinkId, Link>,
    rides: Rides,
    /// What drives their bulk lanes.
    bulk_thread: Arc<BulkThread>,
    dials: BTreeMap<LinkId, OwnedTask>,
    /// The one verdict that a step gives, if its input was a hello.
    verdict: Option<Verdict>,
    timer: Option<(Duration, Timer)>,
    sources: Sources,
    /// When the links are looked after next.
    look: Option<Timer>,
    /// Links whose end was announced, by either side.
    farewells: Vec<OwnedTask>,
    troubles: Troubles,
    /// Looks after the health of what is registered.
    _health: OwnedTask,
}

#[derive(Default)]
struct Opening {
    peer: Option<(NodeId, Option<Endpoint>)>,
    control: Option<Admitted>,
    data: Option<Admitted>,
    /// Opened by a peer for which the link is up already.
    bulk: Option<Admitted>,
    /// Where it was dialled, if it was this node that did.
    dialled: Option<Endpoint>,
}

impl Actor for Coordinator {
    type Msg = Coordinate;
    type State = Links;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Coordinate>,
        (): (),
    ) -> Result<Links, ActorProcessingErr> {
        let me = NodeId::clone(&self.home.me());
        let peers = Peers::new(self.home.config.peers.clone(), me)?;
        let peers = peers.with_profile(self.profile.clone());
        if let Some(rider) = &self.rider {
            rider.start(self.home.system.clone(), self.home.identity.clone()).await?;
        }
        Ok(Links {
            home: self.home.clone(),
            peers,
            started: Instant::now(),
            opening: BTreeMap::new(),
            up: BTreeMap::new(),
            rides: Rides::new(self.rider.clone()),
            bulk_thread: Arc::new(BulkThread::new(self.transport.bulk_on_thread())),
            dials: BTreeMap::new(),
            verdict: None,
            timer: None,
            sources: Sources::default(),
            look: None,
            farewells: Vec::new(),
            troubles: Troubles::default(),
            _health: OwnedTask::spawn(look_after(self.home.clone())),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Coordinate>,
        message: Coordinate,
        links: &mut Links,
    ) -> Result<(), ActorProcessingErr> {
        let mut turn = Turn { shell: self, own: myself.address(), links };
        turn.take(message);
        turn.set_timer();
        Ok(())
    }
}

impl Drop for Links {
    /// Not in `post_stop`: an actor that is killed has none.
    fn drop(&mut self) {
        for (id, link) in std::mem::take(&mut self.up) {
            self.home.link_is_down(&link.peer.id);
            link.peer.clear_link(id);
            link.tear_down();
        }
    }
}

/// One message at work.
struct Turn<'a> {
    shell: &'a Coordinator,
    own: Address<Coordinate>,
    links: &'a mut Links,
}

/// Whether nobody needs to be told of a refusal: two dials that cross, a node that comes back, or a
/// rider where none is carried.
pub(crate) fn is_usual(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Crossed
            | Refusal::AlreadyLinked { .. }
            | Refusal::Over(_)
            | Refusal::Renewing
            | Refusal::NoRider
    )
}

impl Turn<'_> {
    fn take(&mut self, message: Coordinate) {
        match message {
            Coordinate::Join(seeds) => {
                self.links.sources.configure(&seeds);
                self.step(PeersInput::Join { seeds });
            }
            Coordinate::Seeds(source, seeds) => {
                let gone = self.links.sources.name(source, &seeds);
                self.step(PeersInput::Unjoin { seeds: gone });
                self.step(PeersInput::Join { seeds });
            }
            Coordinate::Hello(hello, reply) if hello.renews() => {
                reply.send(self.renewal_asked(&hello));
            }
            Coordinate::Hello(hello, reply) if hello.lane == Lane::Rider => {
                let judged = self.links.rides.judge(&hello);
                reply.send(judged.map_or_else(Verdict::Refused, |()| Verdict::Accepted));
            }
            Coordinate::Hello(hello, reply) => {
                self.step(PeersInput::HelloReceived { token: 0, hello });
                let verdict = self.links.verdict.take();
                reply.send(verdict.unwrap_or(Verdict::Refused(Refusal::Busy)));
            }
            Coordinate::ControlOpened(hello, stream)
            | Coordinate::DataOpened(hello, stream)
            | Coordinate::BulkOpened(hello, stream)
                if hello.renews() =>
            {
                self.renewal_opened(&hello, stream);
            }
            Coordinate::ControlOpened(hello, stream) => {
                // Only what was accepted and not closed since is awaited.
                if let Some(opening) = self.links.opening.get_mut(&hello.link) {
                    opening.peer = Some((hello.node, hello.listen));
                    opening.control = Some(stream);
                    self.opened(hello.link);
                }
            }
            Coordinate::DataOpened(hello, stream) => {
                if let Some(opening) = self.links.opening.get_mut(&hello.link) {
                    opening.data = Some(stream);
                    self.opened(hello.link);
                }
            }
            Coordinate::BulkOpened(hello, admitted) => {
                if self.links.up.contains_key(&hello.link) {
                    self.bulk_opened(hello.link, admitted, None);
                } else if let Some(opening) = self.links.opening.get_mut(&hello.link) {
                    opening.bulk = Some(admitted);
                }
            }
            Coordinate::BulkDialled(link, admitted, limit) => {
                self.bulk_opened(link, admitted, Some(limit));
            }
            Coordinate::RiderOpened(link, admitted) => {
                self.links.rides.opened(link, admitted.stream, &self.shell.home);
            }
            Coordinate::Dialled(link, result) => self.dialled(link, result),
            Coordinate::Renewed(link, lane, result) => self.renewed(link, lane, result),
            Coordinate::Look => {
                self.links.look = None;
                self.look_after_links(false);
            }
            Coordinate::Rotated { is_other, done } => {
                self.rotated(is_other);
                done.send(());
            }
            Coordinate::Control(link, message, _place) => self.control(link, message),
            Coordinate::LaneEnded(link, why) => self.step(PeersInput::LinkDown { link, why }),
            Coordinate::WatchedEnded(link, token, exit) => {
                if let Some(link) = self.links.up.get_mut(&link) {
                    link.watched_ended(token, exit);
                }
            }
            Coordinate::Tick => {
                // It may be a later timer than the one that has sent this: one that is left to itself
                // would tick, and be followed by another, for ever.
                if let Some((_, timer)) = self.links.timer.take() {
                    timer.cancel();
                }
                self.step(PeersInput::Tick);
            }
            Coordinate::View(reply) => reply.send(self.links.peers.view()),
            Coordinate::Leave(reply) => {
                self.step(PeersInput::Leave);
                let farewells = std::mem::take(&mut self.links.farewells);
                self.links.farewells.push(OwnedTask::spawn(async move {
                    futures_util::future::join_all(farewells).await;
                    reply.send(());
                }));
            }
        }
    }

    fn opened(&mut self, link: LinkId) {
        let Some(opening) = self.links.opening.get(&link) else { return };
        if let (Some((peer, listen)), Some(control), Some(data)) =
            (&opening.peer, &opening.control, &opening.data)
        {
            let (peer, listen) = (peer.clone(), listen.clone());
            match self.distrust(control).or_else(|| self.distrust(data)) {
                Some(why) => {
                    self.links.opening.remove(&link);
                    self.step(PeersInput::LinkDown { link, why });
                }
                None => self.step(PeersInput::LinkUp { link, peer, listen }),
            }
        }
    }

    fn dialled(&mut self, link: LinkId, result: Result<Dialled, DialError>) {
        self.links.dials.remove(&link);
        match result {
            Ok(Dialled { welcome, endpoint, control, data }) => {
                let peer = Some((welcome.node, welcome.listen));
                let (control, data, dialled) = (Some(control), Some(data), Some(endpoint));
                let opening = Opening { peer, control, data, bulk: None, dialled };
                self.links.opening.insert(link, opening);
                self.opened(link);
            }
            Err(DialError::Refused { by, refusal }) => {
                if !is_usual(&refusal) {
                    let why = format!("{by}: {refusal}");
                    self.shell.home.refusals.note("dial-refused", &why);
                }
                self.step(PeersInput::DialRefused { link, by, refusal });
            }
            Err(why) => {
                match &why {
                    DialError::Transport(transport) if transport.fault().is_some() => {
                        self.shell.home.refusals.note("dial-certificate", transport);
                    }
                    _ => self.links.troubles.dialled_in_vain(&why),
                }
                let reason = Reason::cut(why.to_string());
                self.step(PeersInput::DialFailed { link, reason });
            }
        }
    }

    fn control(&mut self, id: LinkId, message: Control) {
        // What was read before the link was given up is void.
        let Some(link) = self.links.up.get_mut(&id) else { return };
        let from = link.peer.id.clone();
        let home = &self.shell.home;
        let stepped = match message {
            Control::Ping { token } => {
                link.control.send(&Control::Pong { token });
                Ok(())
            }
            Control::Pong { .. } => Ok(()),
            Control::Swim(packet) => return self.step(PeersInput::Swim { link: id, packet }),
            Control::Renew(lane) => {
                self.renewal_due(id, lane);
                Ok(())
            }
            Control::Parting(why) => {
                let why = LinkEnd::Parted(why);
                return self.step(PeersInput::LinkDown { link: id, why });
            }
            Control::Goodbye => return self.step(PeersInput::Goodbye { link: id }),
            Control::Registry(message) => home.registry(RegistryInput::Received { from, message }),
            Control::Interest(message) => home.interest(InterestInput::Received { from, message }),
            Control::Watch { actor, token } => {
                link.watch(home.actor(actor), token, &self.own);
                Ok(())
            }
            Control::Unwatch { token } => {
                link.unwatch(token);
                Ok(())
            }
            Control::Ended { token, why } => {
                link.ended(token, why);
                Ok(())
            }
        };
        match stepped {
            Ok(()) => self.step(PeersInput::Heard { link: id }),
            Err(why) => {
                let why = LinkEnd::Violation(Reason::cut(why.to_string()));
                self.step(PeersInput::LinkDown { link: id, why });
            }
        }
    }

    fn step(&mut self, input: PeersInput) {
        let now = self.links.started.elapsed();
        let entropy = self.shell.home.system.random();
        for output in self.links.peers.step(now, entropy, input) {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: PeersOutput) {
        match output {
            PeersOutput::Dial { link, endpoint, expect, held } => {
                self.dial(link, endpoint, expect, held);
            }
            PeersOutput::Accept { link, .. } => {
                self.links.opening.entry(link).or_default();
                self.links.verdict = Some(Verdict::Accepted);
            }
            PeersOutput::Refuse { refusal, .. } => {
                self.links.verdict = Some(Verdict::Refused(refusal));
            }
            PeersOutput::Close { link, why } => self.close(link, &why),
            PeersOutput::Ping { link, token } => {
                if let Some(link) = self.links.up.get(&link) {
                    link.control.send(&Control::Ping { token });
                }
            }
            PeersOutput::PeerUp { peer, link } => self.peer_up(&peer, link),
            PeersOutput::PeerDown { peer, link, why } => self.peer_down(&peer, link, &why),
            PeersOutput::Swim { link, packet } => {
                if let Some(link) = self.links.up.get(&link) {
                    link.control.send(&Control::Swim(packet));
                }
            }
            PeersOutput::Member(event) => self.shell.home.members.changed(event),
            PeersOutput::Renewed { me } => {
                tracing::warn!(target: "umbel", %me, "declared down: goes on as a new incarnation");
                self.shell.home.renew(&me);
            }
            PeersOutput::SeedDropped { endpoint, why: why @ SeedDropped::Myself } => {
                tracing::info!(target: "umbel", %endpoint, %why, "seed dropped");
            }
            PeersOutput::SeedDropped { endpoint, why } => {
                tracing::warn!(target: "umbel", "the seed {endpoint} is not dialled: {why}");
            }
            PeersOutput::Superseded { by, known } => {
                tracing::error!(
                    target: "umbel", %by, %known,
                    "a later life of this node is known: another process runs under its name, or its \
                     clock was set back"
                );
            }
        }
    }

    fn dial(&mut self, link: LinkId, endpoint: Endpoint, expect: Option<NodeName>, held: Held) {
        let home = self.shell.home.clone();
        let (transport, own) = (self.shell.transport.clone(), self.own.clone());
        let dial = OwnedTask::spawn(async move {
            let expect = expect.as_ref();
            let dialled = greeting::dial(&*transport, &home, link, &endpoint, expect, &held).await;
            home.linger("cluster.dial.tell-late").await;
            let _ = own.tell(Coordinate::Dialled(link, dialled)).await;
        });
        self.links.dials.insert(link, dial);
    }

    fn peer_up(&mut self, id: &NodeId, link: LinkId) {
        let opening = self.links.opening.remove(&link);
        let Some(Opening { control: Some(control), data: Some(data), bulk, dialled, .. }) = opening
        else {
            unreachable!("a link comes up when both its lanes are open");
        };
        let side = if dialled.is_some() { Side::Dialler } else { Side::Acceptor };
        let (control, control_line) = self.line(control, side);
        let (data, data_line) = self.line(data, side);
        let streams = Streams { control: Box::new(control), data: Box::new(data) };
        let home = self.shell.home.clone();
        let peer = home.peer(id);
        let thread = self.links.bulk_thread.clone();
        let mut opened = Link::open(link, peer, &home, streams, thread, &self.own);
        opened.lines.extend([(Lane::Control, control_line), (Lane::Data, data_line)]);
        if let Some(endpoint) = &dialled {
            let (home, transport) = (home.clone(), self.shell.transport.clone());
            let (endpoint, peer) = (endpoint.clone(), id.clone());
            opened.open_bulk_when_wanted(
                BulkDial { link, peer, endpoint, home, transport },
                &self.own,
            );
        }
        opened.dialled.clone_from(&dialled);
        home.link_is_up(id, opened.control.clone());
        self.links.up.insert(link, opened);
        self.links.rides.link_up(link, id.clone(), dialled, &home, &self.shell.transport);
        if let Some(bulk) = bulk {
            self.bulk_opened(link, bulk, None);
        }
        self.look_again();
        metrics::gauge!("umbel_links").set(self.links.up.len() as f64);
        tracing::info!(target: "umbel", peer = %id, %link, "linked");
        let told = home
            .registry(RegistryInput::PeerUp { peer: id.clone() })
            .and_then(|()| home.interest(InterestInput::PeerUp { peer: id.clone() }));
        if let Err(why) = told {
            let why = LinkEnd::Violation(Reason::cut(why.to_string()));
            self.step(PeersInput::LinkDown { link, why });
        }
    }

    fn peer_down(&mut self, id: &NodeId, link_id: LinkId, why: &LinkEnd) {
        let home = &self.shell.home;
        self.links.troubles.link_is_down(id, link_id, why);
        home.link_is_down(id);
        home.peer(id).clear_link(link_id);
        let told = home
            .registry(RegistryInput::PeerDown { peer: id.clone() })
            .and_then(|()| home.interest(InterestInput::PeerDown { peer: id.clone() }));
        if let Err(why) = told {
            tracing::error!(target: "umbel", %why, "forgetting a peer");
        }
    }

    fn close(&mut self, id: LinkId, why: &LinkEnd) {
        self.links.opening.remove(&id);
        self.links.dials.remove(&id);
        self.links.rides.link_down(id);
        if let Some(link) = self.links.up.remove(&id) {
            metrics::gauge!("umbel_links").set(self.links.up.len() as f64);
            let farewell = match why {
                LinkEnd::Leaving => link.say_goodbye(),
                LinkEnd::Goodbye => link.hear_goodbye(),
                LinkEnd::Untrusted(_) | LinkEnd::Aged => link.part(Reason::cut(why.to_string())),
                _ => return link.tear_down(),
            };
            self.links.farewells.retain(|farewell| !farewell.is_finished());
            self.links.farewells.push(farewell);
        }
    }

    fn set_timer(&mut self) {
        // One that found the mailbox full has done nothing.
        if self.links.look.as_ref().is_some_and(Timer::is_finished) {
            self.look_again();
        }
        let Some(at) = self.links.peers.next_wakeup() else {
            if let Some((_, timer)) = self.links.timer.take() {
                timer.cancel();
            }
            return;
        };
        if let Some((set, timer)) = &self.links.timer {
            // An earlier wake-up does no harm, and most inputs only put it off.
            if *set <= at && !timer.is_finished() {
                return;
            }
            timer.cancel();
        }
        let delay = at.saturating_sub(self.links.started.elapsed());
        let timer = self.shell.home.system.send_after(delay, &self.own, Coordinate::Tick);
        self.links.timer = Some((at, timer));
    }
}
