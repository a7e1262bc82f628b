//! Publish and subscribe on one machine.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;

use crate::address::Address;
use crate::message::Message;

/// The messages that a subscription holds unless it is told otherwise.
pub const SUBSCRIPTION_CAPACITY: usize = 1024;

/// A topic: what is published to it reaches everyone who subscribed before, in the publisher's
/// order.
///
/// Get one by name from a [`System`](crate::System::topic), or make one that has no name.
pub struct Topic<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    name: Arc<str>,
    subscribers: Mutex<Vec<(u64, Subscriber<T>)>>,
    next: AtomicU64,
}

enum Subscriber<T> {
    Queue(Arc<Queue<T>>),
    /// Pushes one message; false when the subscriber is gone for good.
    Actor(Box<dyn Fn(T) -> bool + Send>, Arc<AtomicU64>),
}

struct Queue<T> {
    state: Mutex<Waiting<T>>,
    arrived: Notify,
    lost: AtomicU64,
    capacity: usize,
    overflow: Overflow,
}

struct Waiting<T> {
    messages: VecDeque<T>,
    closed: bool,
}

/// A topic carries one type of message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("topic {topic:?} carries messages of another type than {wanted}")]
pub struct TopicTypeError {
    /// The topic's name.
    pub topic: String,
    /// The type that was asked for.
    pub wanted: &'static str,
}

/// What happens to a message for a subscriber whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message in the queue is dropped, and counted.
    #[default]
    DropOldest,
    /// The new message is dropped, and counted.
    DropNewest,
    /// The subscriber is disconnected: it gets what its queue holds, then the end.
    Disconnect,
}

impl<T: Clone + Send + 'static> Topic<T> {
    /// A topic that only those know who are handed it.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                subscribers: Mutex::default(),
                next: AtomicU64::new(0),
            }),
        }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Hands `message` to everyone who subscribed; returns to how many. Never waits.
    pub fn publish(&self, message: T) -> usize {
        // Actors' mailboxes are pushed to under the lock, which keeps one publisher's order. What
        // is dropped for want of room may be the user's: it goes after the lock is released.
        let mut dropped = Vec::new();
        let mut reached = 0;
        let mut subscribers = self.shared.subscribers.lock();
        let gone: Vec<_> = subscribers
            .extract_if(.., |(_, subscriber)| {
                let (delivered, stays) = subscriber.push(message.clone(), &mut dropped);
                reached += usize::from(delivered);
                !stays
            })
            .collect();
        drop(subscribers);
        drop((gone, dropped));
        reached
    }

    /// Subscribes with a queue of [`SUBSCRIPTION_CAPACITY`] messages that drops the oldest.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        self.subscribe_with(SUBSCRIPTION_CAPACITY, Overflow::default())
    }

    /// Subscribes with a queue of `capacity` messages (at least one).
    #[must_use]
    pub fn subscribe_with(&self, capacity: usize, overflow: Overflow) -> Subscription<T> {
        let queue = Arc::new(Queue {
            state: Mutex::new(Waiting { messages: VecDeque::new(), closed: false }),
            arrived: Notify::new(),
            lost: AtomicU64::new(0),
            capacity: capacity.max(1),
            overflow,
        });
        let seat = self.shared.seat(Subscriber::Queue(queue.clone()));
        Subscription { queue, _seat: seat }
    }

    /// Has every message put into an actor's mailbox, as the message that `map` makes of it.
    ///
    /// The mailbox is the queue: where it is full, the new message is dropped and counted. `map` runs
    /// while the topic is locked, and must not publish to it. The subscription ends when the handle is dropped, or when the actor is gone for good.
    #[must_use = "dropping the handle ends the subscription"]
    pub fn forward<M: Message>(
        &self,
        to: &Address<M>,
        map: impl Fn(T) -> M + Send + 'static,
    ) -> Forwarding {
        let lost = Arc::new(AtomicU64::new(0));
        let (to, missed) = (to.clone(), lost.clone());
        let push = move |message| match to.try_tell(map(message)) {
            Ok(()) => true,
            Err(_) => {
                missed.fetch_add(1, Ordering::Relaxed);
                !to.is_gone()
            }
        };
        let seat = self.shared.seat(Subscriber::Actor(Box::new(push), lost.clone()));
        Forwarding { lost, _seat: seat }
    }

    /// How many subscribe.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.shared.subscribers.lock().len()
    }
}

impl<T: Clone + Send + 'static> Shared<T> {
    fn seat(self: &Arc<Self>, subscriber: Subscriber<T>) -> Seat {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.subscribers.lock().push((id, subscriber));
        let shared: Weak<dyn Leave> = Arc::downgrade(&(self.clone() as Arc<dyn Leave>));
        Seat { shared, id }
    }
}

impl<T> Subscriber<T> {
    /// Whether it got the message, and whether it stays.
    fn push(&self, message: T, dropped: &mut Vec<T>) -> (bool, bool) {
        match self {
            Self::Actor(push, lost) => {
                let before = lost.load(Ordering::Relaxed);
                let stays = push(message);
                (lost.load(Ordering::Relaxed) == before, stays)
            }
            Self::Queue(queue) => {
                let mut state = queue.state.lock();
                if state.messages.len() >= queue.capacity {
                    queue.lost.fetch_add(1, Ordering::Relaxed);
                    match queue.overflow {
                        Overflow::DropOldest => dropped.extend(state.messages.pop_front()),
                        Overflow::DropNewest => {
                            dropped.push(message);
                            return (false, true);
                        }
                        Overflow::Disconnect => {
                            state.closed = true;
                            dropped.push(message);
                            drop(state);
                            queue.arrived.notify_one();
                            return (false, false);
                        }
                    }
                }
                state.messages.push_back(message);
                drop(state);
                queue.arrived.notify_one();
                (true, true)
            }
        }
    }
}

/// A queue of what is published to a topic. Dropping it unsubscribes.
pub struct Subscription<T> {
    queue: Arc<Queue<T>>,
    _seat: Seat,
}

impl<T> Subscription<T> {
    /// The next message, or `None` when there will be no more: the subscriber was disconnected.
    ///
    /// Can be cancelled without losing a message.
    pub async fn recv(&mut self) -> Option<T> {
        loop {
            {
                let mut state = self.queue.state.lock();
                if let Some(message) = state.messages.pop_front() {
                    return Some(message);
                }
                if state.closed {
                    return None;
                }
            }
            self.queue.arrived.notified().await;
        }
    }

    /// The next message if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        self.queue.state.lock().messages.pop_front()
    }

    /// How many messages this subscriber lost because its queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }
}

/// A topic's messages on their way into an actor's mailbox. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Forwarding {
    lost: Arc<AtomicU64>,
    _seat: Seat,
}

impl Forwarding {
    /// How many messages were dropped because the mailbox was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

trait Leave: Send + Sync {
    fn leave(&self, id: u64);
}

impl<T: Send> Leave for Shared<T> {
    fn leave(&self, id: u64) {
        let mut subscribers = self.subscribers.lock();
        let left = subscribers
            .iter()
            .position(|(seat, _)| *seat == id)
            .map(|index| subscribers.remove(index));
        drop(subscribers);
        drop(left);
    }
}

struct Seat {
    shared: Weak<dyn Leave>,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.leave(self.id);
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({})", self.id)
    }
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.shared.name).finish()
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("lost", &self.lost()).finish_non_exhaustive()
    }
}
