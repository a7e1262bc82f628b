//! Requests that wait for a worker.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests that wait for a worker: in their order, at most so many and of so many bytes, by method
/// so that those of one that are executed together are at hand.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Notify,
    max: usize,
    bytes_max: usize,
}

struct State<J> {
    lines: Vec<VecDeque<Waiting<J>>>,
    len: usize,
    bytes: usize,
    next: u64,
    /// None has its deadline before this.
    expires: Option<Instant>,
    /// How many workers wait for one.
    idle: usize,
    is_closed: bool,
}

/// A worker that waits, until dropped.
struct Idle<'a, J>(&'a Queue<J>);

impl<J> Drop for Idle<'_, J> {
    fn drop(&mut self) {
        self.0.state.lock().idle -= 1;
    }
}

struct Waiting<J> {
    number: u64,
    ticket: Ticket,
    job: J,
}

/// What the queue knows of one that comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) method: usize,
    /// When it makes room for others.
    pub(crate) deadline: Instant,
    /// How large it is, where it came over a link.
    pub(crate) bytes: usize,
}

/// What a worker takes: the first, and others of its method.
pub(crate) struct Taken<J> {
    pub(crate) method: usize,
    pub(crate) first: J,
    pub(crate) others: Vec<J>,
}

/// What became of one that came.
pub(crate) enum Pushed<J> {
    /// It waits. Those whose deadline has passed have made room.
    Waits(Vec<J>),
    /// There is no room: so many wait. Those whose deadline has passed were not enough.
    Full(J, usize, Vec<J>),
    /// Nothing is taken in any more.
    Closed(J),
}

impl<J> Queue<J> {
    pub(crate) fn new(methods: usize, max: usize, bytes_max: usize) -> Self {
        let state = State {
            lines: (0..methods).map(|_| VecDeque::new()).collect(),
            len: 0,
            bytes: 0,
            next: 0,
            expires: None,
            idle: 0,
            is_closed: false,
        };
        Self { state: Mutex::new(state), ready: Notify::new(), max, bytes_max }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().len
    }

    /// Looks at how many wait for each method.
    pub(crate) fn with_lines<R>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = usize>) -> R,
    ) -> R {
        look(&mut self.state.lock().lines.iter().map(VecDeque::len))
    }

    pub(crate) fn push(&self, now: Instant, ticket: Ticket, job: J) -> Pushed<J> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Pushed::Closed(job);
        }
        // One that a worker waits for does not wait itself.
        let max = self.max.saturating_add(state.idle);
        // One alone may be as large as a message may.
        let has_room = |state: &State<J>| {
            let bytes = state.bytes.saturating_add(ticket.bytes);
            state.len < max && (state.len == 0 || bytes <= self.bytes_max)
        };
        let expired = if has_room(&state) { Vec::new() } else { state.take_expired(now) };
        if !has_room(&state) {
            let waiting = state.len.min(self.max);
            return Pushed::Full(job, waiting, expired);
        }
        let number = state.next;
        state.next += 1;
        state.len += 1;
        state.bytes += ticket.bytes;
        let Ticket { method, deadline, .. } = ticket;
        state.expires = Some(state.expires.map_or(deadline, |earliest| earliest.min(deadline)));
        state.lines[method].push_back(Waiting { number, ticket, job });
        drop(state);
        self.ready.notify_one();
        Pushed::Waits(expired)
    }

    /// The next, with others of its method up to `max(method)` in all; `None` when the queue is
    /// closed and empty. Can be cancelled without losing one.
    pub(crate) async fn pop(&self, max: impl Fn(usize) -> usize) -> Option<Taken<J>> {
        loop {
            let mut ready = std::pin::pin!(self.ready.notified());
            {
                let mut state = self.state.lock();
                if let Some(taken) = state.take(&max) {
                    let is_more = state.len > 0;
                    drop(state);
                    if is_more {
                        // Its own push may have woken nobody, where this one was not waiting yet.
                        self.ready.notify_one();
                    }
                    return Some(taken);
                }
                if state.is_closed {
                    return None;
                }
                ready.as_mut().enable();
                state.idle += 1;
            }
            let _idle = Idle(self);
            ready.await;
        }
    }

    /// Takes nothing in any more. What waits is still handed out.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.ready.notify_waiters();
    }
}

impl<J> State<J> {
    fn take(&mut self, max: impl Fn(usize) -> usize) -> Option<Taken<J>> {
        let first = |line: &VecDeque<Waiting<J>>| line.front().map(|waiting| waiting.number);
        let heads = self.lines.iter().enumerate();
        let heads = heads.filter_map(|(method, line)| Some((first(line)?, method)));
        let (_, method) = heads.min()?;
        let line = &mut self.lines[method];
        let waiting = line.pop_front()?;
        let more = (max(method).max(1) - 1).min(line.len());
        let mut bytes = waiting.ticket.bytes;
        let other = |waiting: Waiting<J>| {
            bytes += waiting.ticket.bytes;
            waiting.job
        };
        let others: Vec<_> = line.drain(..more).map(other).collect();
        self.len -= 1 + others.len();
        self.bytes -= bytes;
        if self.len == 0 {
            self.expires = None;
        }
        Some(Taken { method, first: waiting.job, others })
    }

    fn take_expired(&mut self, now: Instant) -> Vec<J> {
        if self.expires.is_none_or(|expires| expires > now) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for line in &mut self.lines {
            let (gone, left): (VecDeque<_>, VecDeque<_>) = std::mem::take(line)
                .into_iter()
                .partition(|waiting| waiting.ticket.deadline <= now);
            *line = left;
            self.bytes -= gone.iter().map(|waiting| waiting.ticket.bytes).sum::<usize>();
            expired.extend(gone.into_iter().map(|waiting| waiting.job));
        }
        self.len -= expired.len();
        self.expires = self.lines.iter().flatten().map(|waiting| waiting.ticket.deadline).min();
        expired
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    const BYTES: usize = 100;

    fn ticket(method: usize, deadline: Instant) -> Ticket {
        Ticket { method, deadline, bytes: 0 }
    }

    fn push(queue: &Queue<u32>, method: usize, job: u32) {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(60);
        assert!(matches!(queue.push(now, ticket(method, deadline), job), Pushed::Waits(_)));
    }

    fn pop(queue: &Queue<u32>, max: usize) -> Option<(u32, Vec<u32>)> {
        let taken = queue.pop(|_| max).now_or_never()??;
        Some((taken.first, taken.others))
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_than_may_wait_is_refused_and_told_how_many_do() {
        let queue = Queue::new(1, 2, BYTES);
        push(&queue, 0, 1);
        push(&queue, 0, 2);
        let now = Instant::now();
        assert!(matches!(queue.push(now, ticket(0, now), 3), Pushed::Full(3, 2, _)));
    }

    #[tokio::test]
    async fn one_that_a_worker_waits_for_takes_no_place() {
        let queue = std::sync::Arc::new(Queue::new(1, 1, BYTES));
        let worker = queue.clone();
        let worker = tokio::spawn(async move { worker.pop(|_| 1).await.map(|taken| taken.first) });
        tokio::task::yield_now().await;
        push(&queue, 0, 1);
        push(&queue, 0, 2);
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        assert!(matches!(queue.push(now, ticket(0, later), 3), Pushed::Full(3, 1, _)));
        assert_eq!(worker.await.unwrap(), Some(1));
        assert!(matches!(queue.push(now, ticket(0, later), 3), Pushed::Full(3, 1, _)));
    }

    #[tokio::test(start_paused = true)]
    async fn those_whose_deadline_has_passed_make_room() {
        let queue = Queue::new(2, 3, BYTES);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        for (job, deadline) in [(1, 1), (2, 9), (3, 1)] {
            queue.push(now, ticket(job % 2, at(deadline)), job);
        }
        assert!(matches!(queue.push(at(0), ticket(0, at(9)), 4), Pushed::Full(4, 3, _)));
        let Pushed::Waits(mut expired) = queue.push(at(2), ticket(0, at(9)), 4) else { panic!() };
        expired.sort_unstable();
        assert_eq!((expired, queue.len()), (vec![1, 3], 2));
    }

    #[tokio::test]
    async fn what_came_over_links_has_a_bound_in_bytes_but_for_one_alone() {
        let queue = Queue::new(1, 10, BYTES);
        let now = Instant::now();
        let push = |bytes| {
            let ticket = Ticket { bytes, ..ticket(0, now + Duration::from_secs(9)) };
            matches!(queue.push(now, ticket, 1), Pushed::Waits(_))
        };
        assert!(push(1_000) && !push(1));
        assert_eq!(pop(&queue, 1), Some((1, vec![])));
        assert!(push(60) && !push(41) && push(40) && push(0) && !push(1));
        assert_eq!(pop(&queue, 2), Some((1, vec![1])));
        assert!(push(100) && !push(1));
    }

    #[tokio::test]
    async fn a_batch_is_of_one_method_and_the_rest_keeps_its_order() {
        let queue = Queue::new(2, 10, BYTES);
        for (method, job) in [(0, 1), (1, 2), (0, 3), (0, 4), (1, 5)] {
            push(&queue, method, job);
        }
        assert_eq!(pop(&queue, 2), Some((1, vec![3])));
        assert_eq!(pop(&queue, 9), Some((2, vec![5])));
        assert_eq!(pop(&queue, 9), Some((4, vec![])));
        assert_eq!(pop(&queue, 9), None);
    }

    #[tokio::test]
    async fn a_closed_queue_hands_out_what_it_has_and_then_the_end() {
        let queue = Queue::new(1, 10, BYTES);
        push(&queue, 0, 1);
        queue.close();
        let now = Instant::now();
        assert!(matches!(queue.push(now, ticket(0, now), 2), Pushed::Closed(2)));
        assert_eq!(pop(&queue, 1), Some((1, vec![])));
        assert!(queue.pop(|_| 1).await.is_none());
    }

    #[tokio::test]
    async fn every_worker_that_waits_gets_one() {
        let queue = std::sync::Arc::new(Queue::new(1, 100, BYTES));
        let workers: Vec<_> = (0..10)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.pop(|_| 1).await.map(|taken| taken.first) })
            })
            .collect();
        tokio::task::yield_now().await;
        for job in 0..10 {
            push(&queue, 0, job);
        }
        let mut got = Vec::new();
        for worker in workers {
            got.extend(worker.await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, (0..10).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn all_come_out_once_and_those_of_a_method_in_order(
            methods in prop::collection::vec(0_usize..4, 0..60),
            max in 1_usize..5,
        ) {
            let queue = Queue::new(4, 60, BYTES);
            for (job, method) in methods.iter().enumerate() {
                push(&queue, *method, job as u32);
            }
            let mut out: Vec<Vec<u32>> = vec![Vec::new(); 4];
            let mut heads = Vec::new();
            while let Some((first, others)) = pop(&queue, max) {
                prop_assert!(others.len() < max);
                heads.push(first);
                for job in std::iter::once(first).chain(others) {
                    out[methods[job as usize]].push(job);
                }
            }
            prop_assert!(heads.is_sorted());
            prop_assert!(out.iter().all(|line| line.is_sorted()));
            prop_assert_eq!(out.iter().map(Vec::len).sum::<usize>(), methods.len());
        }
    }
}
