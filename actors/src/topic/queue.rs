//! What one subscriber has not read yet.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use super::Overflow;
use crate::parcel::Charge;

/// How long a subscriber that [has others wait](Overflow::Wait) may read nothing while it holds what a
/// link would be given back. Shorter than [`ASK_DEADLINE`](crate::ASK_DEADLINE), so that questions over
/// the same link outlast it.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(2);

/// What one subscriber has not read yet, and what becomes of more than that.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Notify,
    pub(super) lost: AtomicU64,
    capacity: usize,
    overflow: Overflow,
    /// The places, where publishers wait for them: first in, first out.
    room: Semaphore,
}

struct State<T> {
    messages: VecDeque<Item<T>>,
    closed: bool,
    /// How many were read.
    read: u64,
    /// How many hold a link's credit.
    holding: usize,
    /// Whether a task looks after those.
    is_watched: bool,
}

struct Item<T> {
    message: T,
    place: Place,
}

/// What a message gives back when it is read.
enum Place {
    /// Nothing: the length of the queue is all.
    Counted,
    /// A place that others may wait for.
    Taken,
    /// It lies beyond the places, and holds the credit of the link that it came by.
    Beyond { _charge: Arc<Charge> },
}

/// What became of a message that was pushed.
pub(super) enum Pushed<T> {
    Taken,
    /// It is in the queue, and the oldest went for it.
    Replaced(T),
    /// There was no room: it was dropped, and counted.
    Lost(T),
    /// There is no room, and the publisher is to wait for it.
    Full(T),
    /// The subscriber gets no more.
    Closed(T),
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize, overflow: Overflow) -> Arc<Self> {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            state: Mutex::new(State {
                messages: VecDeque::new(),
                closed: false,
                read: 0,
                holding: 0,
                is_watched: false,
            }),
            arrived: Notify::new(),
            lost: AtomicU64::new(0),
            capacity,
            overflow,
            room: Semaphore::new(capacity),
        })
    }

    /// Pushes a message without waiting.
    pub(super) fn push(&self, message: T) -> Pushed<T> {
        if self.overflow == Overflow::Wait {
            return match self.room.try_acquire() {
                Ok(place) => {
                    place.forget();
                    self.put(message, Place::Taken)
                }
                Err(_) if self.is_closed() => Pushed::Closed(message),
                Err(_) => Pushed::Full(message),
            };
        }
        let mut state = self.state.lock();
        if state.closed {
            return Pushed::Closed(message);
        }
        let mut oldest = None;
        if state.messages.len() >= self.capacity {
            self.lost.fetch_add(1, Ordering::Relaxed);
            match self.overflow {
                Overflow::DropOldest => oldest = state.messages.pop_front(),
                Overflow::DropNewest | Overflow::Wait => return Pushed::Lost(message),
                Overflow::Disconnect => {
                    drop(state);
                    self.close();
                    return Pushed::Closed(message);
                }
            }
        }
        state.messages.push_back(Item { message, place: Place::Counted });
        drop(state);
        self.arrived.notify_one();
        oldest.map_or(Pushed::Taken, |oldest| Pushed::Replaced(oldest.message))
    }

    /// Pushes a message that came over a link, which cannot wait: where there is no place for it, it
    /// lies beyond them and holds the link's credit.
    pub(super) fn push_from_link(
        self: &Arc<Self>,
        message: T,
        charge: impl FnOnce() -> Arc<Charge>,
    ) -> Pushed<T>
    where
        T: Send + 'static,
    {
        match self.push(message) {
            Pushed::Full(message) => self.put(message, Place::Beyond { _charge: charge() }),
            pushed => pushed,
        }
    }

    fn put(&self, message: T, place: Place) -> Pushed<T> {
        let mut state = self.state.lock();
        if state.closed {
            return Pushed::Closed(message);
        }
        state.holding += usize::from(matches!(place, Place::Beyond { .. }));
        state.messages.push_back(Item { message, place });
        drop(state);
        self.arrived.notify_one();
        Pushed::Taken
    }

    /// Waits for a place, and pushes. False where the subscriber gets no more.
    ///
    /// Cancelled, it counts the message as lost.
    pub(super) async fn push_waiting(self: Arc<Self>, message: T) -> bool {
        let cancelled = CountsAsLost(&self.lost);
        let place = self.room.acquire().await;
        std::mem::forget(cancelled);
        let Ok(place) = place else { return false };
        place.forget();
        matches!(self.put(message, Place::Taken), Pushed::Taken)
    }

    /// Counts a message as lost that could have waited for room, and was not to.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// The next message; `None` where none is there, and whether none will come.
    pub(super) fn pop(&self) -> Result<T, bool> {
        let mut state = self.state.lock();
        let Some(Item { message, place }) = state.messages.pop_front() else {
            return Err(state.closed);
        };
        state.read += 1;
        state.holding -= usize::from(matches!(place, Place::Beyond { .. }));
        drop(state);
        if matches!(place, Place::Taken) {
            self.room.add_permits(1);
        }
        Ok(message)
    }

    pub(super) async fn recv(&self) -> Option<T> {
        loop {
            match self.pop() {
                Ok(message) => return Some(message),
                Err(true) => return None,
                Err(false) => self.arrived.notified().await,
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Takes no more; who waits for room waits no more, and no link's credit is held.
    pub(super) fn close(&self) {
        let mut given_back = Vec::new();
        let mut state = self.state.lock();
        state.closed = true;
        state.holding = 0;
        for item in &mut state.messages {
            given_back.push(std::mem::replace(&mut item.place, Place::Counted));
        }
        drop(state);
        drop(given_back);
        self.room.close();
        self.arrived.notify_one();
    }
}

impl<T: Send + 'static> Queue<T> {
    /// Sees to it that a subscriber that has stalled does not hold a link's credit for ever.
    pub(super) fn watch(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.holding == 0 || state.is_watched {
            return;
        }
        // Without a runtime there is no link either.
        let Ok(runtime) = Handle::try_current() else { return };
        state.is_watched = true;
        runtime.spawn(Self::end_if_stalled(Arc::downgrade(self), state.read));
    }

    async fn end_if_stalled(queue: Weak<Self>, mut read: u64) {
        loop {
            sleep(STALLED_AFTER).await;
            let Some(queue) = queue.upgrade() else { return };
            let mut state = queue.state.lock();
            if state.holding == 0 {
                state.is_watched = false;
                return;
            }
            if state.read == read {
                drop(state);
                return queue.close();
            }
            read = state.read;
        }
    }
}

struct CountsAsLost<'a>(&'a AtomicU64);

impl Drop for CountsAsLost<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
