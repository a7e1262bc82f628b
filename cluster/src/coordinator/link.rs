//! A link that is up.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use umbel_actors::wire::Deliver;
use umbel_actors::{Address, Exit};
use umbel_protocol::{Control, Ended, Endpoint, Lane, LinkEnd, LinkId, Reason};

use super::Coordinate;
use super::bulk::BulkDial;
use super::line::Line;
use crate::home::NodeHome;
use crate::lane::{Bulk, BulkThread, ControlLane, ControlReader, ControlSender, DataLane, LaneEnd};
use crate::peer::{Peer, PeerLink, WATCHES_MAX};
use crate::task::OwnedTask;
use crate::transport::ByteStream;

/// How long a link whose end was announced has to carry what was sent before.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many messages of one peer's control lane may wait for the coordinator: each may be as large as a
/// frame, and those of all other peers wait behind them.
const CONTROL_WAITING_MAX: usize = 4;

/// A link that is up: its lanes, what drives them, and what the peer watches here.
pub(super) struct Link {
    id: LinkId,
    pub(super) peer: Arc<Peer>,
    pub(super) control: ControlSender,
    data: Arc<DataLane>,
    tasks: Tasks,
    thread: Arc<BulkThread>,
    /// The connections that its lanes run over.
    pub(super) lines: BTreeMap<Lane, Line>,
    /// Where it was dialled, if it was this node that did.
    pub(super) dialled: Option<Endpoint>,
    /// What the peer watches here, by its tokens.
    watched: BTreeMap<u64, OwnedTask>,
}

/// The connections of a link.
pub(super) struct Streams {
    pub(super) control: Box<dyn ByteStream>,
    pub(super) data: Box<dyn ByteStream>,
}

/// What drives the lanes of a link.
struct Tasks {
    data: OwnedTask,
    control_reader: OwnedTask,
    control_writer: OwnedTask,
    /// Opens the lane, and then drives it. None until the peer has opened it, where that is for it to do.
    bulk: Option<OwnedTask>,
}

impl Link {
    /// Sets the lanes to work; from now on the peer can be sent to. `own` is told what comes.
    pub(super) fn open(
        id: LinkId,
        peer: Arc<Peer>,
        home: &Arc<NodeHome>,
        streams: Streams,
        thread: Arc<BulkThread>,
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
                let (home, to) = (home.clone(), peer.id.clone());
                async move {
                    if let Err(why) = writer.run(sender, || home.room(&to)).await {
                        let why = LinkEnd::Broken(Reason::cut(why.to_string()));
                        let _ = own.tell(Coordinate::LaneEnded(id, why)).await;
                    }
                }
            }),
            bulk: None,
        };
        let wire = data.clone();
        peer.set_link(PeerLink { id, control: control.clone(), data: data.clone(), wire });
        let (lines, watched) = (BTreeMap::new(), BTreeMap::new());
        Self { id, peer, control, data, tasks, thread, lines, dialled: None, watched }
    }

    /// Has the bulk lane opened as soon as either end has something for it; `own` is told then.
    pub(super) fn open_bulk_when_wanted(&mut self, dial: BulkDial, own: &Address<Coordinate>) {
        let (lane, thread, own) = (self.data.clone(), self.thread.clone(), own.clone());
        self.tasks.bulk = Some(OwnedTask::spawn(async move {
            lane.bulk.until_wanted().await;
            // Its runtime reads from the connection, so the connection is made there.
            let dialling = async move {
                let _ = own.tell(dial.run().await).await;
            };
            OwnedTask::spawn_on(thread.runtime().as_ref(), dialling).await;
        }));
    }

    /// The bulk lane is open: sets it to work. `limit` is the peer's, where it has said so already.
    /// Where the peer had opened it before, it has lost that one, and this end hears of it.
    pub(super) fn open_bulk(
        &mut self,
        stream: Box<dyn ByteStream>,
        limit: Option<u64>,
        own: &Address<Coordinate>,
    ) {
        let running = drive(self.id, Bulk::run(self.data.clone(), stream, limit), own.clone());
        self.tasks.bulk = Some(OwnedTask::spawn_on(self.thread.runtime().as_ref(), running));
    }

    pub(super) fn tear_down(self) {
        self.control.close();
        self.data.close();
        self.data.bulk.close();
    }

    /// Ends the link for a reason that the peer is to know. Nothing more is taken from it, and its
    /// connections stay until it has heard, or for [`FAREWELL`].
    pub(super) fn part(self, why: Reason) -> OwnedTask {
        self.control.send(&Control::Parting(why));
        self.control.close();
        self.data.close();
        self.data.bulk.close();
        for lane in [Lane::Data, Lane::Bulk] {
            if let Some(line) = self.lines.get(&lane) {
                line.renewal.halt();
            }
        }
        let Self { tasks, thread, .. } = self;
        let Tasks { data, control_reader, control_writer, bulk } = tasks;
        OwnedTask::spawn(async move {
            let heard = async { tokio::join!(control_reader, control_writer) };
            let _ = tokio::time::timeout(FAREWELL, heard).await;
            // The end of these lanes tells the peer nothing, so it must not come first.
            drop((data, bulk, thread));
        })
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
        let refuse = |why| self.control.send(&Control::Ended { token, why });
        let Some(actor) = actor else { return refuse(Ended::NoSuchActor) };
        if self.watched.len() >= WATCHES_MAX {
            return refuse(Ended::TooManyWatches);
        }
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

/// Ends when the bulk lane has, if it was opened at all.
async fn end_of_bulk(lane: &DataLane, task: Option<OwnedTask>) {
    if lane.bulk.is_open()
        && let Some(task) = task
    {
        task.await;
    }
}

async fn read_control(link: LinkId, mut reader: ControlReader, own: Address<Coordinate>) {
    let places = Arc::new(Semaphore::new(CONTROL_WAITING_MAX));
    let end = loop {
        // Without a place this peer waits, and TCP makes its writer wait.
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        match reader.next().await {
            Ok(message) => {
                if own.tell(Coordinate::Control(link, message, place)).await.is_err() {
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
        Exit::TooManyWatches => Ended::TooManyWatches,
        _ => Ended::Killed,
    }
}

fn exit(ended: Ended) -> Exit {
    match ended {
        Ended::Stopped => Exit::Stopped,
        Ended::Failed(why) => Exit::Failed(why.as_str().to_owned()),
        Ended::Killed => Exit::Killed,
        Ended::NoSuchActor => Exit::NoSuchActor,
        Ended::TooManyWatches => Exit::TooManyWatches,
    }
}
