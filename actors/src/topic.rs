//! Publish and subscribe on one machine.

mod queue;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use futures_util::future::join_all;
use parking_lot::Mutex;
use thiserror::Error;

use self::queue::{Pushed, Queue};
use crate::address::Address;
use crate::message::Message;
use crate::parcel::Charge;

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

/// A subscriber without room, and what is for it.
type NoRoom<T> = (Arc<Queue<T>>, T);

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
#[non_exhaustive]
pub enum Overflow {
    /// The oldest message in the queue is dropped, and counted.
    #[default]
    DropOldest,
    /// The new message is dropped, and counted.
    DropNewest,
    /// The subscriber is disconnected: it gets what its queue holds, then the end. The message that
    /// was too much is counted.
    Disconnect,
    /// The publisher waits for room, if it publishes by [`Topic::publish_wait`]; what is published
    /// without waiting is dropped, and counted.
    ///
    /// What comes from another node is never lost for want of room: beyond the queue's capacity it
    /// holds its link's credit until it is read, which makes the publisher's node wait, with all that
    /// it sends here. So that one subscriber that has stalled does not stop a link for ever, it is
    /// disconnected when it reads nothing for two seconds while it holds credit; it gets what its
    /// queue holds, then the end. For subscribers that may fall behind for longer, choose another.
    Wait,
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

    /// Hands `message` to everyone who subscribed; returns to how many. Never waits: who has no room
    /// and would [have it wait](Overflow::Wait) loses it.
    pub fn publish(&self, message: T) -> usize {
        let (reached, full) = self.hand_out(&message, |queue, message| queue.push(message));
        for (queue, _) in full {
            queue.lose();
        }
        reached
    }

    /// Hands `message` to everyone who subscribed, and waits for room where a subscriber
    /// [wants that](Overflow::Wait); returns to how many. Who publishes one after the other keeps its
    /// order at each subscriber.
    ///
    /// Cancelled, those who had no room yet do not get it, and count it as lost. A subscriber that
    /// waits for what it reads to be published by itself waits for ever.
    pub async fn publish_wait(&self, message: T) -> usize {
        let (reached, full) = self.hand_out(&message, |queue, message| queue.push(message));
        let waited = join_all(full.into_iter().map(|(queue, message)| queue.push_waiting(message)));
        reached + waited.await.into_iter().filter(|reached| *reached).count()
    }

    /// As [`Topic::publish`], for what comes over a link, whose credit `charge` holds: whoever
    /// [has others wait](Overflow::Wait) and has no room holds it until the message is read. For
    /// cluster crates.
    pub fn publish_charged(&self, message: T, charge: Charge) -> usize {
        let (mut charge, mut shared) = (Some(charge), None);
        let (reached, _) = self.hand_out(&message, |queue, message| {
            let pushed = queue.push_from_link(message, || {
                let charge = charge.take().map(Arc::new);
                shared.get_or_insert_with(|| charge.expect("it is shared once")).clone()
            });
            queue.watch();
            pushed
        });
        reached
    }

    /// Pushes to all; returns how many have it, and who has no room yet.
    fn hand_out(
        &self,
        message: &T,
        mut push: impl FnMut(&Arc<Queue<T>>, T) -> Pushed<T>,
    ) -> (usize, Vec<NoRoom<T>>) {
        // Actors' mailboxes are pushed to under the lock, which keeps one publisher's order. What
        // is dropped for want of room may be the user's: it goes after the lock is released.
        let (mut dropped, mut full, mut reached) = (Vec::new(), Vec::new(), 0);
        let mut subscribers = self.shared.subscribers.lock();
        let gone: Vec<_> = subscribers
            .extract_if(.., |(_, subscriber)| match subscriber {
                Subscriber::Actor(push, lost) => {
                    let before = lost.load(Ordering::Relaxed);
                    let stays = push(message.clone());
                    reached += usize::from(lost.load(Ordering::Relaxed) == before);
                    !stays
                }
                Subscriber::Queue(queue) => {
                    let pushed = push(queue, message.clone());
                    reached += usize::from(matches!(pushed, Pushed::Taken | Pushed::Replaced(_)));
                    let gone = matches!(pushed, Pushed::Closed(_));
                    match pushed {
                        Pushed::Taken => {}
                        Pushed::Full(message) => full.push((queue.clone(), message)),
                        Pushed::Replaced(message)
                        | Pushed::Lost(message)
                        | Pushed::Closed(message) => dropped.push(message),
                    }
                    gone
                }
            })
            .collect();
        drop(subscribers);
        drop((gone, dropped));
        (reached, full)
    }

    /// Subscribes with a queue of [`SUBSCRIPTION_CAPACITY`] messages that drops the oldest.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        self.subscribe_with(SUBSCRIPTION_CAPACITY, Overflow::default())
    }

    /// Subscribes with a queue of `capacity` messages (at least one).
    #[must_use]
    pub fn subscribe_with(&self, capacity: usize, overflow: Overflow) -> Subscription<T> {
        let queue = Queue::new(capacity, overflow);
        let seat = self.shared.seat(Subscriber::Queue(queue.clone()));
        Subscription { queue, _seat: seat }
    }

    /// Has every message put into an actor's mailbox, as the message that `map` makes of it.
    ///
    /// The mailbox is the queue: where it is full, the new message is dropped and counted. `map` runs
    /// while the topic is locked, and must not publish to it. The subscription
    /// ends when the handle is dropped, or when the actor is gone for good.
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
        self.queue.recv().await
    }

    /// The next message if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        self.queue.pop().ok()
    }

    /// How many messages this subscriber lost because its queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.queue.close();
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
