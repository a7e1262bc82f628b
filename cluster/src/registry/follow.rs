//! A view of some instances that is brought up to date change by change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use umbel_actors::RemoteMessage;
use umbel_protocol::{Found, Query, RegistryEvent, ReplicaEventKind};

use super::discovery::Change;
use super::feed::{Feed, News};
use super::instance::{Instance, Place};
use crate::home::NodeHome;

/// The instances that a query finds, as of the last change that was taken.
pub(super) struct Follow<M: RemoteMessage> {
    home: Arc<NodeHome>,
    query: Query,
    feed: Arc<Feed>,
    pub(super) instances: Vec<Instance<M>>,
    /// What has changed over an overflow, and was not taken yet.
    pending: VecDeque<Change<M>>,
}

impl<M: RemoteMessage> Follow<M> {
    pub(super) fn new(home: Arc<NodeHome>, query: Query) -> Self {
        // Under one lock: no change falls between the state and the subscription.
        let (instances, feed) = home.with_registry(|registry| {
            let feed = home.watchers.subscribe(query.clone());
            (instances(&home, registry.find(&query)), feed)
        });
        Self { home, query, feed, instances, pending: VecDeque::new() }
    }

    pub(super) fn again(&self) -> Self {
        Self::new(self.home.clone(), self.query.clone())
    }

    pub(super) fn home(&self) -> &NodeHome {
        &self.home
    }

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// Takes the next change. `None` is one that nobody needs to be told of: the load.
    pub(super) fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change<M>>> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                self.settle(&change);
                return Poll::Ready(Some(change));
            }
            let event = match std::task::ready!(self.feed.poll_next(cx)) {
                News::Event(event) => event,
                News::Overflow => {
                    self.look_again();
                    continue;
                }
            };
            if let Some(taken) = self.take(event) {
                return Poll::Ready(taken);
            }
        }
    }

    /// What an event comes to; nothing where it is about other messages.
    fn take(&mut self, event: RegistryEvent) -> Option<Option<Change<M>>> {
        let (name, node, actor) = (&event.key.name, &event.origin, event.key.actor);
        let found = match &event.kind {
            ReplicaEventKind::Added { value } | ReplicaEventKind::Changed { value, .. }
                if self.query.matches(name, value) =>
            {
                let found = Found { name, node, actor, entry: value };
                Instance::new(&self.home, found)
            }
            _ => None,
        };
        let known = self.index((node, actor, name));
        let change = match (found, known) {
            (None, Err(_)) => return None,
            (None, Ok(known)) => Change::Removed(self.instances[known].clone()),
            (Some(found), Err(_)) => Change::Added(found),
            (Some(found), Ok(known)) if found.is_as(&self.instances[known]) => {
                self.instances[known] = found;
                return Some(None);
            }
            (Some(found), Ok(_)) => Change::Changed(found),
        };
        self.settle(&change);
        Some(Some(change))
    }

    fn index(&self, place: Place<'_>) -> Result<usize, usize> {
        self.instances.binary_search_by(|known| known.place().cmp(&place))
    }

    fn settle(&mut self, change: &Change<M>) {
        match change {
            Change::Added(instance) | Change::Changed(instance) => {
                match self.index(instance.place()) {
                    Ok(known) => self.instances[known] = instance.clone(),
                    Err(place) => self.instances.insert(place, instance.clone()),
                }
            }
            Change::Removed(instance) => {
                if let Ok(known) = self.index(instance.place()) {
                    self.instances.remove(known);
                }
            }
        }
    }

    /// Finds out what differs between what is known and how things stand.
    fn look_again(&mut self) {
        let now = self.home.with_registry(|registry| {
            // What is queued is older than what is read here.
            self.feed.start_over();
            instances::<M>(&self.home, registry.find(&self.query))
        });
        self.pending.clear();
        let among = |all: &[Instance<M>], one: &Instance<M>| {
            all.binary_search_by(|other| other.place().cmp(&one.place())).ok()
        };
        for known in &self.instances {
            if among(&now, known).is_none() {
                self.pending.push_back(Change::Removed(known.clone()));
            }
        }
        for instance in now {
            match among(&self.instances, &instance) {
                None => self.pending.push_back(Change::Added(instance)),
                Some(known) if instance.is_as(&self.instances[known]) => {
                    self.instances[known] = instance;
                }
                Some(_) => self.pending.push_back(Change::Changed(instance)),
            }
        }
    }
}

pub(super) fn instances<M: RemoteMessage>(
    home: &NodeHome,
    found: Vec<Found<'_>>,
) -> Vec<Instance<M>> {
    found.into_iter().filter_map(|found| Instance::new(home, found)).collect()
}
