//! The actors that a query finds, kept up to date.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use umbel_actors::{Message, RemoteMessage};
use umbel_protocol::Query;

use super::follow::Follow;
use super::instance::Instance;
use super::pick::{Candidate, Pick};
use crate::home::NodeHome;

/// The actors that a [`Query`] finds, kept up to date: by [`Node::watch`](crate::Node::watch).
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # use umbel_actors::{Message, Reply};
/// # #[derive(Message, Serialize, Deserialize)]
/// # #[message(remote)]
/// # enum Order { Count(Reply<u64>) }
/// # async fn shop(node: umbel_cluster::Node) -> Result<(), Box<dyn std::error::Error>> {
/// use umbel_cluster::{ByKey, Query, RoundRobin};
///
/// let mut orders = node.watch::<Order>(Query::name("orders").tag("eu"));
/// let mut turns = RoundRobin::default();
/// if let Some(instance) = orders.pick(&mut turns) {
///     println!("{} has {}", instance.node, instance.address.ask(Order::Count).await?);
/// }
/// let of_ada = orders.pick(&mut ByKey(b"ada"));
/// # Ok(())
/// # }
/// ```
pub struct Discovery<M: RemoteMessage> {
    told: Follow<M>,
    /// What is picked from: always as of now, while `told` is as of what was told.
    present: Option<Box<Present<M>>>,
}

struct Present<M: RemoteMessage> {
    follow: Follow<M>,
    candidates: Vec<Candidate>,
}

/// What became of an actor that is watched.
#[non_exhaustive]
pub enum Change<M: Message> {
    /// It is there now, or can be given work again.
    Added(Instance<M>),
    /// Its tags, its metadata or, where all are watched whatever their health, its health are others
    /// now. A change of the load alone is not told.
    Changed(Instance<M>),
    /// It is gone, by itself or with its node; or it is to be given no work for now; or it is no
    /// longer what is looked for.
    Removed(Instance<M>),
}

impl<M: RemoteMessage> Discovery<M> {
    pub(super) fn new(home: Arc<NodeHome>, query: Query) -> Self {
        Self { told: Follow::new(home, query), present: None }
    }

    /// The actors, as of the last change that was returned; ordered by node and age.
    #[must_use]
    pub fn instances(&self) -> &[Instance<M>] {
        &self.told.instances
    }

    /// Waits for the next change, and brings [`Self::instances`] up to it. Can be cancelled without
    /// losing one.
    ///
    /// Nothing is missed: who takes each change to what was there before has what is there. One who
    /// reads so slowly that more than 1,024 changes wait is told what they come to.
    pub async fn changed(&mut self) -> Change<M> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    /// One of the actors as they are now, by a policy; `None` while there is none.
    ///
    /// What is picked from is newer than [`Self::instances`] may be, and takes nothing away from
    /// [`Self::changed`].
    pub fn pick(&mut self, policy: &mut (impl Pick + ?Sized)) -> Option<&Instance<M>> {
        let present = self.present.get_or_insert_with(|| {
            let follow = self.told.again();
            let candidates = candidates(&follow);
            Box::new(Present { follow, candidates })
        });
        let mut cx = Context::from_waker(Waker::noop());
        let mut is_new = false;
        while present.follow.poll_change(&mut cx).is_ready() {
            is_new = true;
        }
        if is_new {
            present.candidates = candidates(&present.follow);
        }
        let system = &present.follow.home().system;
        let picked = policy.pick(&present.candidates, &mut || system.random())?;
        present.follow.instances.get(picked)
    }

    /// All that are there now as [`Change::Added`], and then each change, as a stream without an end.
    #[must_use]
    pub fn into_changes(self) -> Changes<M> {
        let begin = self.told.instances.iter().cloned().collect();
        Changes { begin, discovery: self }
    }

    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Change<M>> {
        loop {
            if let Some(change) = std::task::ready!(self.told.poll_change(cx)) {
                return Poll::Ready(change);
            }
        }
    }
}

fn candidates<M: RemoteMessage>(follow: &Follow<M>) -> Vec<Candidate> {
    let me = follow.home().me();
    follow.instances.iter().map(|it| it.candidate(it.node == *me)).collect()
}

/// The present actors, then each change: by [`Discovery::into_changes`].
pub struct Changes<M: RemoteMessage> {
    begin: VecDeque<Instance<M>>,
    discovery: Discovery<M>,
}

impl<M: RemoteMessage> Stream for Changes<M> {
    type Item = Change<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change<M>>> {
        let this = self.get_mut();
        match this.begin.pop_front() {
            Some(instance) => Poll::Ready(Some(Change::Added(instance))),
            None => this.discovery.poll_changed(cx).map(Some),
        }
    }
}

/// Whatever the messages: no `Debug` is asked of them.
impl<M: Message> fmt::Debug for Change<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, instance) = match self {
            Self::Added(instance) => ("Added", instance),
            Self::Changed(instance) => ("Changed", instance),
            Self::Removed(instance) => ("Removed", instance),
        };
        f.debug_tuple(what).field(instance).finish()
    }
}

impl<M: RemoteMessage> fmt::Debug for Discovery<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("query", self.told.query())
            .field("instances", &self.told.instances)
            .finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> fmt::Debug for Changes<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Changes").field(&self.discovery).finish()
    }
}
