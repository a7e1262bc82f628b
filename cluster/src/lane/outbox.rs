//! What waits to be written to a lane.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;
pub(crate) use umbel_actors::wire::MESSAGE_COSTS_BYTES;

/// What waits to be written to a lane: callers append whole frames, the lane's task takes all at
/// once.
///
/// Messages are charged against the receiver's credit. What answers the peer's own messages
/// (answers, refusals, credit) is exempt, and bounded by `backlog_max`: beyond it answers are to be
/// refused, and beyond twice as much the outbox overflows, which is its end.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    overflowed: AtomicBool,
    /// Bytes charged since the lane opened. Written under the lock.
    charged: AtomicU64,
    /// Bytes that the receiver has granted since the lane opened.
    granted: AtomicU64,
    room: Notify,
    backlog_max: usize,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// Of the lane's task, while it has nothing to write.
    waker: Option<Waker>,
    /// Of the lane's task, since it last could not write.
    blocked: Option<Waker>,
    closed: bool,
}

/// The lane is closed: nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneClosed;

/// The buffer keeps at most this much room between bursts.
const KEPT_BYTES: usize = 256 * 1024;

impl Outbox {
    pub(crate) fn new(backlog_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            overflowed: AtomicBool::new(false),
            charged: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            room: Notify::new(),
            backlog_max,
        }
    }

    /// The bytes that were charged since the lane opened.
    pub(crate) fn charged(&self) -> u64 {
        self.charged.load(Ordering::Acquire)
    }

    /// Whether the receiver's credit allows another message.
    pub(crate) fn has_room(&self) -> bool {
        self.charged.load(Ordering::Relaxed) < self.granted.load(Ordering::Acquire)
    }

    /// Appends what `write` writes, charged to the receiver's credit. The caller has seen that there
    /// [is room](Self::has_room); several who saw it at once all go through, so the credit is
    /// exceeded by at most one frame a thread.
    pub(crate) fn send(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), LaneClosed> {
        self.append(true, write).map(|_| ())
    }

    /// Appends what `write` writes, exempt from credit. Returns the bytes that now wait.
    pub(crate) fn send_exempt(
        &self,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<usize, LaneClosed> {
        self.append(false, write)
    }

    fn append(&self, charge: bool, write: impl FnOnce(&mut Vec<u8>)) -> Result<usize, LaneClosed> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LaneClosed);
        }
        let before = state.buffer.len();
        write(&mut state.buffer);
        let bytes = state.buffer.len();
        if charge {
            self.charged
                .fetch_add((bytes - before) as u64 + MESSAGE_COSTS_BYTES, Ordering::Relaxed);
        }
        let mut waker = state.waker.take();
        // With what a peer may grant, messages come to half as much again; one that grants on and on,
        // and reads nothing, comes beyond it.
        let most = if charge { 4 * self.backlog_max } else { 2 * self.backlog_max };
        if bytes > most {
            state.closed = true;
            self.overflowed.store(true, Ordering::Release);
            waker = waker.or_else(|| state.blocked.take());
            self.room.notify_waiters();
            self.room.notify_one();
        }
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(bytes)
    }

    /// Whether the peer has left so much unread that the lane must end.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Acquire)
    }

    /// The lane's task cannot write just now: leaves `waker` to be woken at an overflow. Whoever
    /// calls this looks for one afterwards.
    pub(crate) fn is_blocked(&self, waker: &Waker) {
        match &mut self.state.lock().blocked {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Whether so much waits that exempt frames must be refused.
    pub(crate) fn is_overfull(&self) -> bool {
        self.state.lock().buffer.len() > self.backlog_max
    }

    /// Takes all that waits, leaving `empty` in its place; or leaves `waker` to be woken.
    pub(crate) fn take(&self, empty: &mut Vec<u8>, waker: &Waker) -> bool {
        debug_assert!(empty.is_empty());
        let mut state = self.state.lock();
        if state.buffer.is_empty() {
            match &mut state.waker {
                Some(kept) => kept.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
            return false;
        }
        if empty.capacity() > KEPT_BYTES {
            *empty = Vec::new();
        }
        std::mem::swap(&mut state.buffer, empty);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().buffer.is_empty()
    }

    /// The bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().buffer.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// The receiver has granted so many bytes in all. It never takes back. What it grants beyond
    /// the backlog's bound does not count: a peer that promises to take everything and reads
    /// nothing must not fill our memory.
    pub(crate) fn grant(&self, total: u64) {
        let most = self.charged.load(Ordering::Relaxed).saturating_add(self.backlog_max as u64);
        self.granted.fetch_max(total.min(most), Ordering::AcqRel);
        self.room.notify_one();
    }

    /// Ends when it is worth looking for room again, or the lane is closed.
    pub(crate) async fn wait_for_room(&self) {
        let mut room = std::pin::pin!(self.room.notified());
        room.as_mut().enable();
        if !self.has_room() && !self.is_closed() {
            room.await;
        }
        // Those who wait are woken one after the other, each by the one before, while there is room.
        if self.has_room() || self.is_closed() {
            self.room.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.closed = true;
            state.waker.take()
        };
        self.room.notify_waiters();
        self.room.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_charged_and_answers_are_not() {
        let outbox = Outbox::new(1 << 20);
        assert!(!outbox.has_room());
        outbox.grant(10);
        assert!(outbox.has_room());
        outbox.send_exempt(|buffer| buffer.extend([0; 100])).unwrap();
        assert!(outbox.has_room());
        outbox.send(|buffer| buffer.extend([0; 10])).unwrap();
        assert!(!outbox.has_room());
        outbox.grant(5);
        assert!(!outbox.has_room(), "a grant was taken back");
        outbox.grant(10 + MESSAGE_COSTS_BYTES);
        assert!(!outbox.has_room(), "a message costs more than its bytes");
        outbox.grant(11 + MESSAGE_COSTS_BYTES);
        assert!(outbox.has_room());
    }

    #[test]
    fn a_grant_beyond_the_bound_is_cut() {
        let outbox = Outbox::new(1000);
        outbox.grant(u64::MAX);
        let mut sent = 0;
        while outbox.has_room() {
            outbox.send(|buffer| buffer.extend([0; 100])).unwrap();
            sent += 1;
        }
        assert_eq!(sent, 1000_u64.div_ceil(100 + MESSAGE_COSTS_BYTES));
    }

    #[test]
    fn beyond_twice_its_bound_it_overflows_and_wakes_a_blocked_task() {
        let outbox = Outbox::new(1000);
        let woken = std::sync::Arc::new(Woken::default());
        outbox.is_blocked(&woken.clone().into());
        outbox.send_exempt(|buffer| buffer.extend([0; 2000])).unwrap();
        assert!(outbox.is_overfull() && !outbox.has_overflowed());
        outbox.send_exempt(|buffer| buffer.push(0)).unwrap();
        assert!(outbox.has_overflowed() && woken.0.load(Ordering::Relaxed));
        assert_eq!(outbox.send_exempt(|buffer| buffer.push(0)), Err(LaneClosed));
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_peer_that_grants_on_and_on_and_reads_nothing_ends_it() {
        let outbox = Outbox::new(1000);
        let mut sent = 0;
        while !outbox.has_overflowed() {
            outbox.grant(u64::MAX);
            assert!(outbox.has_room() && sent < 100, "nothing bounds what waits");
            outbox.send(|buffer| buffer.extend([0; 100])).unwrap();
            sent += 1;
        }
        assert!(outbox.bytes() <= 4 * 1000 + 100);
        assert_eq!(outbox.send(|_| ()), Err(LaneClosed));
    }

    #[test]
    fn all_that_waits_is_taken_at_once_and_in_order() {
        let outbox = Outbox::new(1 << 20);
        for byte in 0..10 {
            outbox.send(|buffer| buffer.push(byte)).unwrap();
        }
        let mut taken = Vec::new();
        assert!(outbox.take(&mut taken, Waker::noop()));
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
        taken.clear();
        assert!(!outbox.take(&mut taken, Waker::noop()));
    }

    #[tokio::test]
    async fn a_grant_wakes_all_who_wait_one_after_the_other() {
        let outbox = std::sync::Arc::new(Outbox::new(1 << 20));
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let outbox = outbox.clone();
                tokio::spawn(async move { outbox.wait_for_room().await })
            })
            .collect();
        tokio::task::yield_now().await;
        outbox.grant(1);
        for waiter in waiters {
            waiter.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_closed_outbox_takes_nothing_and_keeps_nobody_waiting() {
        let outbox = std::sync::Arc::new(Outbox::new(1 << 20));
        let waiter = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.wait_for_room().await }
        });
        tokio::task::yield_now().await;
        outbox.close();
        waiter.await.unwrap();
        assert_eq!(outbox.send(|_| ()), Err(LaneClosed));
        outbox.wait_for_room().await;
    }
}
