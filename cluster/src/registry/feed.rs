//! How changes of the registry come to those who watch.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use umbel_protocol::{Query, RegistryEvent, ReplicaEventKind};

/// The changes that a feed holds until they are read. One that falls further behind starts over from
/// the present state, so it never misses how things stand.
const FEED_CAPACITY: usize = 1024;

/// All who watch the registry of a node. Told under the registry's lock, so whoever subscribes under
/// it misses nothing.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<Weak<Feed>>>);

/// The changes that may matter to one who watches.
pub(super) struct Feed {
    query: Query,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: VecDeque<RegistryEvent>,
    overflowed: bool,
    waker: Option<Waker>,
}

/// What comes out of a feed.
pub(super) enum News {
    Event(RegistryEvent),
    /// More than the feed holds has happened: look at the registry.
    Overflow,
}

impl Watchers {
    pub(super) fn subscribe(&self, query: Query) -> Arc<Feed> {
        let feed = Arc::new(Feed { query, state: Mutex::default() });
        let mut feeds = self.0.lock();
        if feeds.len() == feeds.capacity() {
            feeds.retain(|feed| feed.strong_count() > 0);
        }
        feeds.push(Arc::downgrade(&feed));
        feed
    }

    pub(crate) fn publish(&self, event: &RegistryEvent) {
        self.0.lock().retain(|feed| {
            let Some(feed) = feed.upgrade() else { return false };
            if feed.concerns(event) {
                feed.push(event);
            }
            true
        });
    }
}

impl Feed {
    /// Whether the entry is looked for now, or was before.
    fn concerns(&self, event: &RegistryEvent) -> bool {
        let (is, was) = match &event.kind {
            ReplicaEventKind::Added { value } => (Some(value), None),
            ReplicaEventKind::Changed { value, was } => (Some(value), Some(was)),
            ReplicaEventKind::Removed { was } => (None, Some(was)),
        };
        [is, was].into_iter().flatten().any(|it| self.query.matches(&event.key.name, it))
    }

    fn push(&self, event: &RegistryEvent) {
        let mut state = self.state.lock();
        if state.events.len() >= FEED_CAPACITY {
            state.events.clear();
            state.overflowed = true;
        }
        // What comes after an overflow is in what will be read then.
        if !state.overflowed {
            state.events.push_back(event.clone());
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// The next of them. The registry is read under its lock after an overflow, and this is
    /// [cleared](Self::start_over) there.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<News> {
        let mut state = self.state.lock();
        if state.overflowed {
            return Poll::Ready(News::Overflow);
        }
        match state.events.pop_front() {
            Some(event) => Poll::Ready(News::Event(event)),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// All that has happened is known by other means.
    pub(super) fn start_over(&self) {
        let mut state = self.state.lock();
        state.events.clear();
        state.overflowed = false;
    }
}
