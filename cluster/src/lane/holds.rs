//! To whom nothing may be sent over a lane just now, though there is credit.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::inbound::{LENT_BYTES_MAX, SHARE_BYTES, WINDOW_BYTES};

/// To whom nothing may be sent over a lane just now, though there is credit: actors whose share of
/// the lane is used up, and, for one who has sent a large message that is under way still, its
/// receiver.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    state: Mutex<State>,
    /// How many there are: that there are none is all that most senders look at.
    count: AtomicUsize,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    paused: BTreeSet<u64>,
    /// At most as many as large messages may be under way: a handful.
    ordered: Vec<Ordered>,
}

/// To whom something is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Actor(u64),
    Topic(Arc<str>),
}

/// Whose messages to one receiver keep their order: those of a task, which is what an actor runs in,
/// or of a thread outside of all tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Task(tokio::task::Id),
    Thread(ThreadId),
}

/// A sender and a receiver between which a large message is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ordered {
    sender: Sender,
    target: Target,
}

impl Ordered {
    /// What is sent by whoever runs on this thread just now.
    pub(crate) fn now(target: Target) -> Self {
        let task = tokio::task::try_id().map(Sender::Task);
        let sender = task.unwrap_or_else(|| Sender::Thread(std::thread::current().id()));
        Self { sender, target }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

/// The actors that a peer may have paused at once. What it may hold in mailboxes is enough for a sixth of
/// that (see [`super::inbound`]): some eighty, of which each holds half a share at least.
pub(crate) const PAUSED_MAX: usize = 512;

const _: () = assert!((WINDOW_BYTES + LENT_BYTES_MAX) / (SHARE_BYTES / 2) <= PAUSED_MAX as u64 / 6);

/// The peer has paused more actors than can hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPaused;

impl Holds {
    /// Whether whoever runs on this thread just now may not send there.
    #[inline]
    pub(crate) fn bar(&self, target: impl FnOnce() -> Target) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.bar_among(target())
    }

    #[cold]
    fn bar_among(&self, target: Target) -> bool {
        let state = self.state.lock();
        if let Target::Actor(actor) = &target
            && state.paused.contains(actor)
        {
            return true;
        }
        !state.ordered.is_empty() && state.ordered.contains(&Ordered::now(target))
    }

    /// Ends when whoever runs on this thread just now may send there, or `closed` says that it is of
    /// no use to wait.
    pub(crate) async fn wait(&self, target: &Target, closed: impl Fn() -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if closed() || !self.bar(|| target.clone()) {
                return;
            }
            changed.await;
        }
    }

    /// The peer says that an actor's share is used up.
    pub(crate) fn pause(&self, actor: u64) -> Result<(), TooManyPaused> {
        let mut state = self.state.lock();
        if state.paused.len() == PAUSED_MAX {
            return Err(TooManyPaused);
        }
        state.paused.insert(actor);
        self.count(&state);
        Ok(())
    }

    /// The peer says that there is room again.
    pub(crate) fn resume(&self, actor: u64) {
        let mut state = self.state.lock();
        state.paused.remove(&actor);
        self.count(&state);
        drop(state);
        self.changed.notify_waiters();
    }

    /// A large message is under way.
    pub(crate) fn order(&self, ordered: Ordered) {
        let mut state = self.state.lock();
        state.ordered.push(ordered);
        self.count(&state);
    }

    /// It is delivered, or will not be.
    pub(crate) fn release(&self, ordered: &Ordered) {
        let mut state = self.state.lock();
        if let Some(place) = state.ordered.iter().position(|one| one == ordered) {
            state.ordered.swap_remove(place);
        }
        self.count(&state);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Has all who wait look again.
    pub(crate) fn wake_all(&self) {
        self.changed.notify_waiters();
    }

    fn count(&self, state: &State) {
        self.count.store(state.paused.len() + state.ordered.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_actor_bars_all_senders_and_no_other_receiver() {
        let holds = Holds::default();
        holds.pause(1).unwrap();
        assert!(holds.bar(|| Target::Actor(1)));
        assert!(!holds.bar(|| Target::Actor(2)));
        holds.resume(1);
        assert!(!holds.bar(|| Target::Actor(1)));
    }

    #[tokio::test]
    async fn a_large_message_bars_its_sender_from_its_receiver_and_nobody_else() {
        let holds = Arc::new(Holds::default());
        let ordered = Ordered::now(Target::Actor(1));
        holds.order(ordered.clone());
        assert!(holds.bar(|| Target::Actor(1)));
        assert!(!holds.bar(|| Target::Actor(2)));
        assert!(!holds.bar(|| Target::Topic("1".into())));
        let other = {
            let holds = holds.clone();
            tokio::spawn(async move { holds.bar(|| Target::Actor(1)) })
        };
        assert!(!other.await.unwrap(), "another sender is kept out");
        holds.release(&ordered);
        assert!(!holds.bar(|| Target::Actor(1)));
    }

    #[tokio::test]
    async fn all_who_wait_for_a_paused_actor_go_on_when_it_is_resumed() {
        let holds = Arc::new(Holds::default());
        holds.pause(1).unwrap();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let holds = holds.clone();
                tokio::spawn(async move { holds.wait(&Target::Actor(1), || false).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        holds.resume(1);
        for waiter in waiters {
            waiter.await.unwrap();
        }
    }

    #[test]
    fn a_peer_cannot_pause_without_bound() {
        let holds = Holds::default();
        let paused = (0..).take_while(|actor| holds.pause(*actor).is_ok()).count();
        assert_eq!(paused, PAUSED_MAX);
    }
}
