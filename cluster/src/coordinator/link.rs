//! A link that is up.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use umbel_actors::wire::Deliver;
use umbel_actors::{Address, Exit};
use umbel_protocol::{Control, Ended, Endpoint, Lane, LinkEnd, LinkId, NodeName, Reason};

use super::Coordinate;
use crate::greeting;
use crate::home::NodeHome;
use crate::lane::{Bulk, BulkThread, ControlLane, ControlReader, ControlSender, DataLane, LaneEnd};
use crate::peer::{Peer, PeerLink, WATCHES_MAX};
use crate::task::OwnedTask;
use crate::transport::{ByteStream, Transport};

/// How long a link whose end was announced has to carry what was sent before.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a dial for the bulk lane that failed is rested from.
const BULK_REST: Duration = Duration::from_secs(1);

/// A link that is up: its lanes, what drives them, and what the peer watches here.
pub(super) struct Link {
    id: LinkId,
    pub(super) peer: Arc<Peer>,
    pub(super) control: ControlSender,
    data: Arc<DataLane>,
    tasks: Tasks,
    thread: Arc<BulkThread>,
    /// What the peer watches here, by its tokens.
    watched: BTreeMap<u64, OwnedTask>,
}

/// The connections of a link.
pub(super) struct Streams {
    pub(super) control: Box<dyn ByteStream>,
    pub(super) data: Box<dyn ByteStream>,
    pub(super) bulk: BulkLane,
}

/// What a bulk lane is made of when it is wanted.
pub(super) struct BulkLane {
    pub(super) thread: Arc<BulkThread>,
    /// Where the peer was quick to open it.
    pub(super) opened: Option<Box<dyn ByteStream>>,
    /// Where this end is to open it.
    pub(super) dial: Option<(Arc<dyn Transport>, Endpoint)>,
}

/// What drives the lanes of a link.
struct Tasks {
    data: OwnedTask,
    control_reader: OwnedTask,
    control_writer: OwnedTask,
    /// None until the peer has opened the lane.
    bulk: Option<OwnedTask>,
}

impl Link {
    /// Sets the lanes to work; from now on the peer can be sent to. `own` is told what comes.
    pub(super) fn open(
        id: LinkId,
        peer: Arc<Peer>,
        home: &Arc<NodeHome>,
        streams: Streams,
        own: &Address<Coordinate>,
    ) -> Self {
        let bounds = home.config.lane_bounds();
        let data = DataLane::new(home.clone(), peer.id.name.as_str().into(), &bounds);
        let control = ControlSender::new();
        let (reader, writer) = ControlLane::new(streams.control).split();
        let tasks = Tasks {
            data: OwnedTask::spawn(drive(id, data.clone().run(streams.data), own.clone())),
            control_reader: OwnedTask::spawn(read_control(id, reader, own.clone())),
            control_writer: OwnedTask::spawn({
                let (own, sender) = (own.clone(), control.clone());
                async move {
                    if let Err(why) = writer.run(sender).await {
                        let why = LinkEnd::Broken(Reason::cut(why.to_string()));
                        let _ = own.tell(Coordinate::LaneEnded(id, why)).await;
                    }
                }
            }),
            bulk: None,
        };
        let wire = data.clone();
        peer.set_link(PeerLink { id, control: control.clone(), data: data.clone(), wire });
        let BulkLane { thread, opened, dial } = streams.bulk;
        let mut link = Self { id, peer, control, data, tasks, thread, watched: BTreeMap::new() };
        if let Some(opened) = opened {
            link.open_bulk(opened, own);
        } else if let Some((transport, endpoint)) = dial {
            let opening =
                open_bulk(id, link.peer.id.name.clone(), home.clone(), transport, endpoint);
            let (lane, thread, own) = (link.data.clone(), link.thread.clone(), own.clone());
            link.tasks.bulk = Some(OwnedTask::spawn(async move {
                lane.bulk.until_wanted().await;
                let runtime = thread.runtime();
                OwnedTask::spawn_on(runtime.as_ref(), async move {
                    let (stream, limit) = opening.await;
                    drive(id, Bulk::run(lane, stream, Some(limit)), own).await;
                })
                .await;
            }));
        }
        link
    }

    /// The peer has opened the bulk lane. Where it had done so before, it has lost that one, and this
    /// end hears of it.
    pub(super) fn open_bulk(&mut self, stream: Box<dyn ByteStream>, own: &Address<Coordinate>) {
        let running = drive(self.id, Bulk::run(self.data.clone(), stream, None), own.clone());
        self.tasks.bulk = Some(OwnedTask::spawn_on(self.thread.runtime().as_ref(), running));
    }

    pub(super) fn tear_down(self) {
        self.control.close();
        self.data.close();
        self.data.bulk.close();
    }

    /// Ends the link so that all arrives that either end has sent: this one before it says goodbye,
    /// the other before it hears it. Done within [`FAREWELL`].
    ///
    /// The peer closes both lanes when it has heard the goodbye, or says one itself. The end of its
    /// control lane says so; only then does this end of the data lane close.
    pub(super) fn say_goodbye(self) -> OwnedTask {
        self.control.send(&Control::Goodbye);
        self.control.close();
        self.data.close_after_peer();
        self.data.bulk.close_after_peer();
        let Self { data: lane, tasks, thread, .. } = self;
        let Tasks { data, control_reader, control_writer, bulk } = tasks;
        OwnedTask::spawn(async move {
            let done = async {
                control_reader.await;
                lane.close();
                lane.bulk.close();
                tokio::join!(data, control_writer, end_of_bulk(&lane, bulk));
            };
            let _ = tokio::time::timeout(FAREWELL, done).await;
            // The bulk lane is driven as long as there is a thread.
            drop(thread);
        })
    }

    /// The other end of a goodbye.
    pub(super) fn hear_goodbye(self) -> OwnedTask {
        self.control.close();
        self.data.close();
        self.data.bulk.close();
        let Self { data: lane, tasks, thread, .. } = self;
        let Tasks { data, control_reader, control_writer, bulk } = tasks;
        OwnedTask::spawn(async move {
            let bulk = end_of_bulk(&lane, bulk);
            let done = async { tokio::join!(data, control_reader, control_writer, bulk) };
            let _ = tokio::time::timeout(FAREWELL, done).await;
            drop(thread);
        })
    }

    /// The peer watches an actor of this node, if there is one: its end is told to `own`.
    pub(super) fn watch(
        &mut self,
        actor: Option<Arc<dyn Deliver>>,
        token: u64,
        own: &Address<Coordinate>,
    ) {
        let Some(actor) = actor.filter(|_| self.watched.len() < WATCHES_MAX) else {
            return self.control.send(&Control::Ended { token, why: Ended::NoSuchActor });
        };
        let (id, own, watch) = (self.id, own.clone(), actor.watch());
        let watch = OwnedTask::spawn(async move {
            let exit = watch.await;
            let _ = own.tell(Coordinate::WatchedEnded(id, token, exit)).await;
        });
        self.watched.insert(token, watch);
    }

    /// The peer has lost interest.
    pub(super) fn unwatch(&mut self, token: u64) {
        self.watched.remove(&token);
    }

    /// What the peer watches has ended.
    pub(super) fn watched_ended(&mut self, token: u64, exit: Exit) {
        if self.watched.remove(&token).is_some() {
            self.control.send(&Control::Ended { token, why: ended(exit) });
        }
    }

    /// What is watched at the peer has ended.
    pub(super) fn ended(&self, token: u64, why: Ended) {
        self.peer.ended(token, exit(why));
    }
}

/// Drives one of the lanes of actors, and says when it has ended.
async fn drive(
    link: LinkId,
    running: impl Future<Output = LaneEnd> + Send,
    own: Address<Coordinate>,
) {
    let end = match AssertUnwindSafe(running).catch_unwind().await {
        Ok(end) => lane_end(&end),
        Err(_) => LinkEnd::Broken(Reason::cut("the lane's task panicked")),
    };
    let _ = own.tell(Coordinate::LaneEnded(link, end)).await;
}

/// Dials until the bulk lane is open. What it is for waits meanwhile; the link is as good as before.
async fn open_bulk(
    link: LinkId,
    peer: NodeName,
    home: Arc<NodeHome>,
    transport: Arc<dyn Transport>,
    endpoint: Endpoint,
) -> (Box<dyn ByteStream>, u64) {
    loop {
        let terms = home.terms();
        let (transport, expect) = (&*transport, Some(&peer));
        let opening = async {
            let opening =
                greeting::open(transport, &terms, Lane::Bulk, link, &endpoint, expect, None);
            let (_, mut stream) = opening.await.map_err(|why| why.to_string())?;
            let limit = Bulk::first_word(&mut stream).await.map_err(|why| why.to_string())?;
            Ok((stream, limit))
        };
        let why = match tokio::time::timeout(home.config.handshake_deadline, opening).await {
            Ok(Ok(opened)) => return opened,
            Ok(Err(why)) => why,
            Err(_) => "it took too long".to_owned(),
        };
        home.refusals.note("bulk-lane", &format!("{endpoint}: {why}"));
        tokio::time::sleep(BULK_REST).await;
    }
}

/// Ends when the bulk lane has, if it was opened at all.
async fn end_of_bulk(lane: &DataLane, task: Option<OwnedTask>) {
    if lane.bulk.is_open()
        && let Some(task) = task
    {
        task.await;
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
        | LaneEnd::TooManyPaused
        | LaneEnd::Disorder(_)
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
