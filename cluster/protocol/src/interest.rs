//! Which nodes want to hear of which topics.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{NodeId, Replica, ReplicaError, ReplicaEvent, ReplicaEventKind, ReplicaInput};
use crate::{ReplicaLimits, ReplicaMessage, ReplicaOutput, Text};

/// A topic: at most 255 bytes.
pub type Topic = Text<255>;

/// What nodes say to one another of their topics.
pub type InterestMessage = ReplicaMessage<Topic, ()>;

/// Something to be done, in the order given.
pub type InterestOutput = ReplicaOutput<Topic, ()>;

/// Knows for each topic which nodes have subscribers, so that what is published goes once to each of
/// those and to no other. Only a node's first and last subscriber of a topic are news to others.
///
/// ```
/// use umbel_protocol::{Incarnation, Interest, InterestInput, NodeId, ReplicaLimits};
///
/// let me = NodeId { name: "a".parse()?, incarnation: Incarnation(1) };
/// let mut interest = Interest::new(me, ReplicaLimits::default());
/// let subscribe = InterestInput::Subscribe { topic: "prices".try_into()? };
/// assert!(!interest.step(subscribe.clone())?.is_empty(), "the first is news");
/// assert!(interest.step(subscribe)?.is_empty(), "the second is not");
/// assert_eq!(interest.subscribers_here("prices"), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Interest {
    replica: Replica<Topic, ()>,
    here: BTreeMap<Topic, u64>,
    /// The peers with subscribers of each topic. **Invariant:** what `replica` holds of peers.
    elsewhere: BTreeMap<Topic, BTreeSet<NodeId>>,
}

/// Something that happened, for [`Interest::step`] to take note of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterestInput {
    /// This node has one more subscriber of the topic.
    Subscribe {
        /// The topic.
        topic: Topic,
    },
    /// This node has one subscriber of the topic less.
    Unsubscribe {
        /// The topic.
        topic: Topic,
    },
    /// [`PeersOutput::PeerUp`](crate::PeersOutput::PeerUp).
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// [`PeersOutput::PeerDown`](crate::PeersOutput::PeerDown): it is interested in nothing more.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// [`ReplicaInput::Room`](crate::ReplicaInput::Room).
    Room {
        /// Who.
        peer: NodeId,
    },
    /// A [`Control::Interest`](crate::Control::Interest) has arrived.
    Received {
        /// From the peer at the other end of the link, as authenticated by the link.
        from: NodeId,
        /// The message.
        message: InterestMessage,
    },
    /// [`PeersOutput::Renewed`](crate::PeersOutput::Renewed).
    Renewed {
        /// Which life this is now.
        me: NodeId,
    },
}

impl Interest {
    /// No topics yet. Of `limits`, `entries_max` is how many topics each node may subscribe to.
    #[must_use]
    pub fn new(me: NodeId, limits: ReplicaLimits) -> Self {
        let (here, elsewhere) = (BTreeMap::new(), BTreeMap::new());
        Self { replica: Replica::new(me, limits), here, elsewhere }
    }

    /// Takes note of `input` and says what to do.
    ///
    /// # Errors
    /// [`ReplicaError`], with nothing changed; each variant says who is to be told.
    pub fn step(&mut self, input: InterestInput) -> Result<Vec<InterestOutput>, ReplicaError> {
        match input {
            InterestInput::Subscribe { topic } => self.subscribe(topic),
            InterestInput::Unsubscribe { topic } => self.unsubscribe(topic),
            InterestInput::PeerUp { peer } => self.replicate(ReplicaInput::PeerUp { peer }),
            InterestInput::PeerDown { peer } => self.replicate(ReplicaInput::PeerDown { peer }),
            InterestInput::Room { peer } => self.replicate(ReplicaInput::Room { peer }),
            InterestInput::Received { from, message } => {
                self.replicate(ReplicaInput::Received { from, message })
            }
            // Its own topics are in no index that names it.
            InterestInput::Renewed { me } => {
                self.replica.step(ReplicaInput::Renewed { me })?;
                Ok(Vec::new())
            }
        }
    }

    /// The peers with subscribers of `topic`, in order. This node itself is not among them.
    pub fn interested(&self, topic: &str) -> impl Iterator<Item = &NodeId> {
        self.elsewhere.get(topic).into_iter().flatten()
    }

    /// How many subscribers of `topic` this node has.
    #[must_use]
    pub fn subscribers_here(&self, topic: &str) -> u64 {
        self.here.get(topic).copied().unwrap_or(0)
    }

    /// What there is to see: each topic that anybody subscribes to, in order.
    #[must_use]
    pub fn view(&self) -> InterestView {
        let names: BTreeSet<&Topic> = self.here.keys().chain(self.elsewhere.keys()).collect();
        let view = |topic: &Topic| TopicView {
            topic: topic.clone(),
            subscribers_here: self.subscribers_here(topic.as_str()),
            interested: self.interested(topic.as_str()).cloned().collect(),
        };
        InterestView { topics: names.into_iter().map(view).collect() }
    }

    fn subscribe(&mut self, topic: Topic) -> Result<Vec<InterestOutput>, ReplicaError> {
        let outputs = self.replicate(ReplicaInput::Put { key: topic.clone(), value: () })?;
        *self.here.entry(topic).or_default() += 1;
        Ok(outputs)
    }

    fn unsubscribe(&mut self, topic: Topic) -> Result<Vec<InterestOutput>, ReplicaError> {
        match self.here.get_mut(&topic) {
            Some(count) if *count > 1 => {
                *count -= 1;
                Ok(Vec::new())
            }
            Some(_) => {
                self.here.remove(&topic);
                self.replicate(ReplicaInput::Remove { key: topic })
            }
            None => Ok(Vec::new()),
        }
    }

    fn replicate(
        &mut self,
        input: ReplicaInput<Topic, ()>,
    ) -> Result<Vec<InterestOutput>, ReplicaError> {
        let outputs = self.replica.step(input)?;
        for output in &outputs {
            if let ReplicaOutput::Event(event) = output
                && event.origin != *self.replica.me()
            {
                self.index(event);
            }
        }
        Ok(outputs)
    }

    fn index(&mut self, ReplicaEvent { origin, key, kind }: &ReplicaEvent<Topic, ()>) {
        match kind {
            ReplicaEventKind::Added { .. } => {
                self.elsewhere.entry(key.clone()).or_default().insert(origin.clone());
            }
            ReplicaEventKind::Changed { .. } => {}
            ReplicaEventKind::Removed { .. } => {
                if let Some(nodes) = self.elsewhere.get_mut(key) {
                    nodes.remove(origin);
                    if nodes.is_empty() {
                        self.elsewhere.remove(key);
                    }
                }
            }
        }
    }
}

/// All topics as one node sees them at one moment, for the command line, the dashboard and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterestView {
    /// The topics, in order.
    pub topics: Vec<TopicView>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicView {
    /// The topic.
    pub topic: Topic,
    /// How many subscribers this node has.
    pub subscribers_here: u64,
    /// The peers that have some.
    pub interested: Vec<NodeId>,
}

#[cfg(test)]
#[path = "interest/tests.rs"]
mod tests;
