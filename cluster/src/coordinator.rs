//! The actor that carries out what [`Peers`] decides.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use umbel_actors::wire::Deliver;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Exit, Message, Myself, Reply, Timer,
};
use umbel_protocol::{
    Control, Ended, Endpoint, Hello, InterestInput, LinkEnd, LinkId, NodeId, NodeName, Peers,
    PeersInput, PeersOutput, PeersView, Reason, Refusal, RegistryInput,
};

use crate::greeting::{self, DialError, Dialled};
use crate::home::NodeHome;
use crate::lane::{ControlLane, ControlReader, ControlSender, DataLane, Home, LaneEnd};
use crate::peer::{Peer, PeerLink, WATCHES_MAX};
use crate::transport::{ByteStream, Transport};

/// How long lanes have to write what waits when the node leaves.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the coordinator is told.
#[derive(Message)]
pub(crate) enum Coordinate {
    /// Dial these, for ever.
    Join(Vec<Endpoint>),
    /// A hello that is in order by itself.
    Hello(Hello, Reply<Verdict>),
    /// The welcome for a control lane was said.
    ControlOpened(Hello, Box<dyn ByteStream>),
    /// The welcome for a data lane was said.
    DataOpened(Hello, Box<dyn ByteStream>),
    /// A dial has ended.
    Dialled(LinkId, Result<Dialled, DialError>),
    /// Something came over a control lane.
    Control(LinkId, Control),
    /// A lane has ended.
    LaneEnded(LinkId, LinkEnd),
    /// An actor here that a peer watches has ended.
    WatchedEnded(LinkId, u64, Exit),
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
}

/// What only the coordinator knows.
pub(crate) struct Links {
    peers: Peers,
    started: Instant,
    /// Links that were accepted or dialled and are not up yet: from their acceptance until they are
    /// up or [`Peers`] closes them.
    opening: BTreeMap<LinkId, Opening>,
    up: BTreeMap<LinkId, Link>,
    dials: BTreeMap<LinkId, AbortHandle>,
    /// The one verdict that a step gives, if its input was a hello.
    verdict: Option<Verdict>,
    timer: Option<(Duration, Timer)>,
    /// Lanes that say goodbye.
    farewells: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Opening {
    peer: Option<(NodeId, Option<Endpoint>)>,
    control: Option<Box<dyn ByteStream>>,
    data: Option<Box<dyn ByteStream>>,
}

/// A link that is up.
struct Link {
    peer: Arc<Peer>,
    control: ControlSender,
    data: Arc<DataLane>,
    tasks: Tasks,
    /// What the peer watches here, by its tokens.
    watched: BTreeMap<u64, AbortHandle>,
}

/// What drives the lanes of a link.
struct Tasks {
    data: JoinHandle<()>,
    control_reader: JoinHandle<()>,
    control_writer: JoinHandle<()>,
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
        let peers = Peers::new(self.home.config.peers.clone(), self.home.me.clone())?;
        Ok(Links {
            peers,
            started: Instant::now(),
            opening: BTreeMap::new(),
            up: BTreeMap::new(),
            dials: BTreeMap::new(),
            verdict: None,
            timer: None,
            farewells: Vec::new(),
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

    async fn post_stop(
        &self,
        _: ActorRef<Coordinate>,
        links: &mut Links,
    ) -> Result<(), ActorProcessingErr> {
        for (_, link) in std::mem::take(&mut links.up) {
            link.tear_down();
        }
        for dial in links.dials.values() {
            dial.abort();
        }
        Ok(())
    }
}

/// One message at work.
struct Turn<'a> {
    shell: &'a Coordinator,
    own: Address<Coordinate>,
    links: &'a mut Links,
}

impl Turn<'_> {
    fn take(&mut self, message: Coordinate) {
        match message {
            Coordinate::Join(seeds) => self.step(PeersInput::Join { seeds }),
            Coordinate::Hello(hello, reply) => {
                self.step(PeersInput::HelloReceived { token: 0, hello });
                let verdict = self.links.verdict.take();
                reply.send(verdict.unwrap_or(Verdict::Refused(Refusal::Busy)));
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
            Coordinate::Dialled(link, result) => self.dialled(link, result),
            Coordinate::Control(link, message) => self.control(link, message),
            Coordinate::LaneEnded(link, why) => self.step(PeersInput::LinkDown { link, why }),
            Coordinate::WatchedEnded(link, token, exit) => {
                if let Some(link) = self.links.up.get_mut(&link)
                    && link.watched.remove(&token).is_some()
                {
                    link.control.send(&Control::Ended { token, why: ended(exit) });
                }
            }
            Coordinate::Tick => {
                self.links.timer = None;
                self.step(PeersInput::Tick);
            }
            Coordinate::View(reply) => reply.send(self.links.peers.view()),
            Coordinate::Leave(reply) => {
                self.step(PeersInput::Leave);
                let farewells = std::mem::take(&mut self.links.farewells);
                tokio::spawn(async move {
                    let said = futures_util::future::join_all(farewells);
                    let _ = tokio::time::timeout(FAREWELL, said).await;
                    reply.send(());
                });
            }
        }
    }

    fn opened(&mut self, link: LinkId) {
        let Some(opening) = self.links.opening.get(&link) else { return };
        if let (Some((peer, listen)), Some(_), Some(_)) =
            (&opening.peer, &opening.control, &opening.data)
        {
            let (peer, listen) = (peer.clone(), listen.clone());
            self.step(PeersInput::LinkUp { link, peer, listen });
        }
    }

    fn dialled(&mut self, link: LinkId, result: Result<Dialled, DialError>) {
        self.links.dials.remove(&link);
        match result {
            Ok(Dialled { welcome, control, data }) => {
                let peer = Some((welcome.node, welcome.listen));
                let opening = Opening { peer, control: Some(control), data: Some(data) };
                self.links.opening.insert(link, opening);
                self.opened(link);
            }
            Err(DialError::Refused { by, refusal }) => {
                if !matches!(refusal, Refusal::Crossed | Refusal::AlreadyLinked { .. }) {
                    let why = format!("{by}: {refusal}");
                    self.shell.home.refusals.note("dial-refused", &why);
                }
                self.step(PeersInput::DialRefused { link, by, refusal });
            }
            Err(why) => {
                tracing::debug!(target: "umbel", %why, "dialled in vain");
                if let DialError::Transport(transport) = &why
                    && transport.fault().is_some()
                {
                    self.shell.home.refusals.note("dial-certificate", transport);
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
            Control::Peers(peers) => {
                return self.step(PeersInput::Learned { link: id, peers });
            }
            Control::Goodbye => return self.step(PeersInput::Goodbye { link: id }),
            Control::Registry(message) => home.registry(RegistryInput::Received { from, message }),
            Control::Interest(message) => home.interest(InterestInput::Received { from, message }),
            Control::Watch { actor, token } => {
                self.watch(id, actor, token);
                Ok(())
            }
            Control::Unwatch { token } => {
                if let Some(watch) = link.watched.remove(&token) {
                    watch.abort();
                }
                Ok(())
            }
            Control::Ended { token, why } => {
                link.peer.ended(token, exit(why));
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

    fn watch(&mut self, id: LinkId, actor: u64, token: u64) {
        let Some(link) = self.links.up.get_mut(&id) else { return };
        let actor = self.shell.home.actor(actor);
        let Some(actor) = actor.filter(|_| link.watched.len() < WATCHES_MAX) else {
            return link.control.send(&Control::Ended { token, why: Ended::NoSuchActor });
        };
        let (own, watch) = (self.own.clone(), Deliver::watch(&*actor));
        let task = tokio::spawn(async move {
            let exit = watch.await;
            let _ = own.tell(Coordinate::WatchedEnded(id, token, exit)).await;
        });
        if let Some(former) = link.watched.insert(token, task.abort_handle()) {
            former.abort();
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
            PeersOutput::Dial { link, endpoint, expect, lost } => {
                self.dial(link, endpoint, expect, lost);
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
            PeersOutput::Gossip { link, peers } => {
                if let Some(link) = self.links.up.get(&link) {
                    link.control.send(&Control::Peers(peers));
                }
            }
            PeersOutput::SeedDropped { endpoint, why } => {
                tracing::info!(target: "umbel", %endpoint, %why, "seed dropped");
            }
            PeersOutput::Superseded { by, known } => {
                tracing::error!(
                    target: "umbel", %by, %known,
                    "another life of this node is known: restart it, or stop the other one"
                );
            }
        }
    }

    fn dial(
        &mut self,
        link: LinkId,
        endpoint: Endpoint,
        expect: Option<NodeName>,
        lost: Option<LinkId>,
    ) {
        let home = self.shell.home.clone();
        let (transport, own) = (self.shell.transport.clone(), self.own.clone());
        let dial = tokio::spawn(async move {
            let (terms, within) = (home.terms(), home.config.handshake_deadline);
            let transport = &*transport;
            let dialled =
                greeting::dial(transport, &terms, link, &endpoint, expect.as_ref(), lost, within);
            let dialled = dialled.await;
            let _ = own.tell(Coordinate::Dialled(link, dialled)).await;
        });
        self.links.dials.insert(link, dial.abort_handle());
    }

    fn peer_up(&mut self, id: &NodeId, link: LinkId) {
        let opening = self.links.opening.remove(&link);
        let Some(Opening { control: Some(control), data: Some(data), .. }) = opening else {
            unreachable!("a link comes up when both its lanes are open");
        };
        let home = self.shell.home.clone();
        let peer = home.peer(id);
        let frame_bytes_max = home.config.frame_bytes_max;
        let lane = DataLane::new(home.clone(), id.name.as_str().into(), frame_bytes_max);
        let sender = ControlSender::new();

        let own = self.own.clone();
        let data_task = tokio::spawn({
            let (own, lane) = (own.clone(), lane.clone());
            async move {
                let end = match AssertUnwindSafe(lane.run(data)).catch_unwind().await {
                    Ok(end) => lane_end(&end),
                    Err(_) => LinkEnd::Broken(Reason::cut("the lane's task panicked")),
                };
                let _ = own.tell(Coordinate::LaneEnded(link, end)).await;
            }
        });
        let (reader, writer) = ControlLane::new(control).split();
        let read_task = tokio::spawn(read_control(link, reader, own.clone()));
        let write_task = tokio::spawn({
            let sender = sender.clone();
            async move {
                if let Err(why) = writer.run(sender).await {
                    let why = LinkEnd::Broken(Reason::cut(why.to_string()));
                    let _ = own.tell(Coordinate::LaneEnded(link, why)).await;
                }
            }
        });

        let wire = lane.clone();
        peer.set_link(PeerLink { id: link, control: sender.clone(), data: lane.clone(), wire });
        let tasks =
            Tasks { data: data_task, control_reader: read_task, control_writer: write_task };
        let watched = BTreeMap::new();
        self.links
            .up
            .insert(link, Link { peer, control: sender.clone(), data: lane, tasks, watched });
        home.link_is_up(id, sender);
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
        tracing::info!(target: "umbel", peer = %id, link = %link_id, %why, "link down");
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
        if let Some(dial) = self.links.dials.remove(&id) {
            dial.abort();
        }
        if let Some(link) = self.links.up.remove(&id) {
            metrics::gauge!("umbel_links").set(self.links.up.len() as f64);
            if matches!(why, LinkEnd::Leaving) {
                self.links.farewells.extend(link.say_goodbye());
            } else {
                link.tear_down();
            }
        }
    }

    fn set_timer(&mut self) {
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

impl Link {
    fn tear_down(self) {
        let Tasks { data, control_reader, control_writer } = &self.tasks;
        for task in [data, control_reader, control_writer] {
            task.abort();
        }
        for watch in self.watched.values() {
            watch.abort();
        }
        self.control.close();
        self.data.close();
    }

    /// Lets what waits go out first; the tasks that see to it are returned.
    fn say_goodbye(self) -> [JoinHandle<()>; 2] {
        for watch in self.watched.values() {
            watch.abort();
        }
        self.control.send(&Control::Goodbye);
        self.control.close();
        self.data.close();
        self.tasks.control_reader.abort();
        [self.tasks.data, self.tasks.control_writer]
    }
}

async fn read_control(link: LinkId, mut reader: ControlReader, own: Address<Coordinate>) {
    let end = loop {
        match reader.next().await {
            // A full mailbox makes this peer wait, and TCP makes its writer wait.
            Ok(message) => {
                if own.tell(Coordinate::Control(link, message)).await.is_err() {
                    return;
                }
            }
            Err(why) => break why,
        }
    };
    let reason = Reason::cut(end.to_string());
    let why = if end.is_violation() { LinkEnd::Violation(reason) } else { LinkEnd::Broken(reason) };
    let _ = own.tell(Coordinate::LaneEnded(link, why)).await;
}

fn lane_end(end: &LaneEnd) -> LinkEnd {
    let reason = Reason::cut(end.to_string());
    match end {
        LaneEnd::Closed | LaneEnd::ClosedByPeer | LaneEnd::Broken(_) => LinkEnd::Broken(reason),
        LaneEnd::Malformed(_)
        | LaneEnd::BadCorrelation(_)
        | LaneEnd::CreditExceeded
        | LaneEnd::Overfull => LinkEnd::Violation(reason),
    }
}

fn ended(exit: Exit) -> Ended {
    match exit {
        Exit::Stopped => Ended::Stopped,
        Exit::Failed(why) => Ended::Failed(Reason::cut(why)),
        Exit::NoSuchActor => Ended::NoSuchActor,
        _ => Ended::Killed,
    }
}

fn exit(ended: Ended) -> Exit {
    match ended {
        Ended::Stopped => Exit::Stopped,
        Ended::Failed(why) => Exit::Failed(why.as_str().to_owned()),
        Ended::Killed => Exit::Killed,
        Ended::NoSuchActor => Exit::NoSuchActor,
    }
}
