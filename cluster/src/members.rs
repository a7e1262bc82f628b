//! Who is a member of the cluster, as users see it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use parking_lot::Mutex;
use umbel_actors::{Overflow, Subscription, Topic};
use umbel_protocol::{MemberEvent, MemberState, NodeId, NodeName};

use crate::home::NodeHome;
use crate::node::Node;

/// The changes that a [`MemberWatch`] holds until they are read. One that falls further behind is
/// told how things stand instead.
const WATCH_CAPACITY: usize = 1024;

/// Who is a member, and who is told of changes.
#[derive(Debug)]
pub(crate) struct Members {
    living: Mutex<BTreeMap<NodeName, MemberEvent>>,
    /// Told under the lock, so that whoever subscribes under it misses nothing.
    pub(crate) topic: Topic<MemberChange>,
}

/// What became of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberChange {
    /// A member has come, or is otherwise than before.
    Is(MemberEvent),
    /// This node was declared down, and goes on as this life: all its links have ended, and the
    /// members are found anew. Addresses that others hold of its actors stay dead; what is registered
    /// here is registered under the new life.
    Renewed(NodeId),
    /// So many changes came at once that some were lost: these are the members now.
    Refreshed(Vec<MemberEvent>),
}

impl Members {
    pub(crate) fn new() -> Self {
        Self { living: Mutex::default(), topic: Topic::new("umbel.members") }
    }

    pub(crate) fn changed(&self, event: MemberEvent) {
        let mut living = self.living.lock();
        let name = &event.member.node.name;
        if !event.state.is_over() {
            living.insert(name.clone(), event.clone());
        } else if living.get(name).is_some_and(|known| known.member.node == event.member.node) {
            living.remove(name);
        }
        self.topic.publish(MemberChange::Is(event));
    }

    pub(crate) fn renew(&self, me: &NodeId) {
        let mut living = self.living.lock();
        living.clear();
        self.topic.publish(MemberChange::Renewed(me.clone()));
    }

    fn now(&self) -> Vec<MemberEvent> {
        self.living.lock().values().cloned().collect()
    }
}

impl Node {
    /// The other members that are not over, by name: those that live, those that are suspect, and
    /// those that are only heard of yet. Who is down is in [`Node::peers`], for as long as it is
    /// remembered.
    #[must_use]
    pub fn members(&self) -> Vec<MemberEvent> {
        self.home().members.now()
    }

    /// The members, and every change among them from now on.
    ///
    /// ```no_run
    /// # async fn follow(node: umbel_cluster::Node) {
    /// use umbel_cluster::MemberChange;
    ///
    /// let mut members = node.watch_members();
    /// loop {
    ///     if let MemberChange::Is(event) = members.changed().await {
    ///         println!("{} is {:?}", event.member.node, event.state);
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn watch_members(&self) -> MemberWatch {
        let home = self.home().clone();
        let living = home.members.living.lock();
        let events = home.members.topic.subscribe_with(WATCH_CAPACITY, Overflow::DropOldest);
        let present = living.values().cloned().map(MemberChange::Is).collect();
        drop(living);
        MemberWatch { home, present, events, lost: 0 }
    }

    /// The changes among the members as a topic of this node, to subscribe to or to forward to an
    /// actor: [`Topic::forward`].
    #[must_use]
    pub fn members_topic(&self) -> &Topic<MemberChange> {
        &self.home().members.topic
    }

    /// Waits until at least `count` other members live and were linked with this node; false where
    /// `deadline` came first.
    pub async fn wait_for_members(&self, count: usize, deadline: Duration) -> bool {
        let mut watch = self.watch_members();
        let alive = |event: &MemberEvent| event.state == MemberState::Alive;
        let enough = async {
            while self.members().iter().filter(|event| alive(event)).count() < count {
                watch.changed().await;
            }
        };
        tokio::time::timeout(deadline, enough).await.is_ok()
    }
}

/// The members of the cluster and every change among them. Begins with those that are there.
pub struct MemberWatch {
    home: Arc<NodeHome>,
    present: VecDeque<MemberChange>,
    events: Subscription<MemberChange>,
    lost: u64,
}

impl MemberWatch {
    /// Waits for the next change. Can be cancelled without losing one.
    pub async fn changed(&mut self) -> MemberChange {
        if let Some(change) = self.present.pop_front() {
            return change;
        }
        let change = self.events.recv().await;
        if self.events.lost() > self.lost {
            let living = self.home.members.living.lock();
            // What is queued is older than what is read here.
            while self.events.try_recv().is_some() {}
            self.lost = self.events.lost();
            return MemberChange::Refreshed(living.values().cloned().collect());
        }
        change.expect("the home that is held here never disconnects its subscribers")
    }

    /// The changes as a stream, which does not end.
    pub fn into_stream(self) -> impl Stream<Item = MemberChange> + Send {
        futures_util::stream::unfold(self, async |mut watch| {
            let change = watch.changed().await;
            Some((change, watch))
        })
    }
}

impl fmt::Debug for MemberWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberWatch").field("lost", &self.lost).finish_non_exhaustive()
    }
}
