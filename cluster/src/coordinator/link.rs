//! A link that is up.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use umbel_actors::wire::Deliver;
use umbel_actors::{Address, Exit};
use umbel_protocol::{Control, Ended, LinkEnd, LinkId, Reason};

use super::Coordinate;
use crate::home::NodeHome;
use crate::lane::{ControlLane, ControlReader, ControlSender, DataLane, LaneEnd};
use crate::peer::{Peer, PeerLink, WATCHES_MAX};
use crate::task::OwnedTask;
use crate::transport::ByteStream;

/// How long a link whose end was announced has to carry what was sent before.
const FAREWELL: Duration = Duration::from_secs(1);

/// A link that is up: its two lanes, what drives them, and what the peer watches here.
pub(super) struct Link {
    id: LinkId,
    pub(super) peer: Arc<Peer>,
    pub(super) control: ControlSender,
    data: Arc<DataLane>,
    tasks: Tasks,
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
        let frame_bytes_max = home.config.frame_bytes_max;
        let data = DataLane::new(home.clone(), peer.id.name.as_str().into(), frame_bytes_max);
        let control = ControlSender::new();
        let (reader, writer) = ControlLane::new(streams.control).split();
        let tasks = Tasks {
            data: OwnedTask::spawn({
                let (own, running) = (own.clone(), data.clone().run(streams.data));
                async move {
                    let end = match AssertUnwindSafe(running).catch_unwind().await {
                        Ok(end) => lane_end(&end),
                        Err(_) => LinkEnd::Broken(Reason::cut("the lane's task panicked")),
                    };
                    let _ = own.tell(Coordinate::LaneEnded(id, end)).await;
                }
            }),
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
        };
        let wire = data.clone();
        peer.set_link(PeerLink { id, control: control.clone(), data: data.clone(), wire });
        Self { id, peer, control, data, tasks, watched: BTreeMap::new() }
    }

    pub(super) fn tear_down(self) {
        self.control.close();
        self.data.close();
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
        let Self { data: lane, tasks: Tasks { data, control_reader, control_writer }, .. } = self;
        OwnedTask::spawn(async move {
            let done = async {
                control_reader.await;
                lane.close();
                tokio::join!(data, control_writer);
            };
            let _ = tokio::time::timeout(FAREWELL, done).await;
        })
    }

    /// The other end of a goodbye.
    pub(super) fn hear_goodbye(self) -> OwnedTask {
        self.control.close();
        self.data.close();
        let Tasks { data, control_reader, control_writer } = self.tasks;
        OwnedTask::spawn(async move {
            let done = async { tokio::join!(data, control_reader, control_writer) };
            let _ = tokio::time::timeout(FAREWELL, done).await;
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
