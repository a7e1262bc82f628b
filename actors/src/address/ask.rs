use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep_until;

use super::error::AskError;
use super::{Address, Place, There};
use crate::message::Message;
use crate::outgoing::{Outgoing, Refused};
use crate::reply::{Reply, ReplyCell};
use crate::slot::{Offer, Slot};

/// A question that is put when it is polled first, and then waits for its answer; dropped, it tells
/// the other side that nobody waits any more.
///
/// Written by hand, as an `async` block would move all that it keeps from one place in itself to
/// another before it waits: a tenth of an ask on one machine.
pub(super) struct Ask<'a, M: Message, T, Q> {
    address: &'a Address<M>,
    within: Duration,
    /// Until it is put.
    question: Option<Q>,
    /// While the answer may come.
    cell: Option<Arc<ReplyCell<T>>>,
    /// All that is left to do, where that is more than to wait. Boxed, so that the usual ask stays small.
    rest: Option<BoxFuture<'a, Result<T, AskError>>>,
}

// What is in it is moved about only before it is polled, or boxed.
impl<M: Message, T, Q> Unpin for Ask<'_, M, T, Q> {}

impl<'a, M, T, Q> Ask<'a, M, T, Q>
where
    M: Message,
    T: Send + 'static,
    Q: FnOnce(Reply<T>) -> M,
{
    #[inline]
    pub(super) fn new(address: &'a Address<M>, within: Duration, question: Q) -> Self {
        Self { address, within, question: Some(question), cell: None, rest: None }
    }

    #[inline]
    fn put(&mut self, question: Q, cx: &mut Context<'_>) -> Poll<Result<T, AskError>> {
        let cell = &*self.cell.insert(ReplyCell::new(self.within, cx));
        let mut message = Outgoing::new(question(Reply::local(cell.clone())));
        match &self.address.place {
            Place::Here(slot) => match slot.offer(&mut message, cell) {
                // The cell has the waker of this very poll.
                Offer::Accepted if !cell.is_settled() => Poll::Pending,
                Offer::Accepted => self.look(cx),
                Offer::Gone => Poll::Ready(Err(AskError::Closed)),
                Offer::Full | Offer::Absent => {
                    let rest = push(slot, message.back(), cell.clone());
                    self.go_on(Box::pin(rest), cx)
                }
            },
            Place::There(there) => {
                let rest = tell(there, message.back(), cell.clone());
                self.go_on(Box::pin(rest), cx)
            }
        }
    }

    fn go_on(
        &mut self,
        rest: BoxFuture<'a, Result<T, AskError>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, AskError>> {
        let outcome = self.rest.insert(rest).as_mut().poll(cx);
        if outcome.is_ready() {
            self.give_up();
        }
        outcome
    }

    /// Looks whether the answer is there.
    #[inline]
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, AskError>> {
        let cell = self.cell.as_ref().expect("who has its answer does not look for it again");
        let outcome = cell.poll(cx);
        if outcome.is_ready() {
            self.cell = None;
        }
        outcome
    }
}

impl<M, T, Q> Future for Ask<'_, M, T, Q>
where
    M: Message,
    T: Send + 'static,
    Q: FnOnce(Reply<T>) -> M,
{
    type Output = Result<T, AskError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(question) = self.question.take() {
            self.put(question, cx)
        } else if let Some(rest) = self.rest.take() {
            self.go_on(rest, cx)
        } else {
            self.look(cx)
        }
    }
}

impl<M: Message, T, Q> Ask<'_, M, T, Q> {
    /// Waits no more.
    #[inline]
    fn give_up(&mut self) {
        if let Some(cell) = self.cell.take()
            && cell.abandon()
            && let Place::Here(slot) = &self.address.place
        {
            slot.gave_up();
        }
    }
}

impl<M: Message, T, Q> Drop for Ask<'_, M, T, Q> {
    #[inline]
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Waits for room in an actor's mailbox, and then for the answer. The actor's docket keeps the deadline,
/// and tells if the actor ends before it takes the question.
async fn push<M: Message, T: Send + 'static>(
    slot: &Slot<M>,
    message: M,
    cell: Arc<ReplyCell<T>>,
) -> Result<T, AskError> {
    let mut message = Outgoing::new(message);
    tokio::select! {
        biased;
        pushed = slot.push(&mut message, &cell) => match pushed {
            Ok(()) => {}
            Err(Refused) => return Err(AskError::Closed),
        },
        () = sleep_until(cell.until()) => return Err(AskError::NoRoom(cell.within())),
    }
    poll_fn(|cx| cell.poll(cx)).await
}

/// Asks over a link. Nobody but the asker itself keeps the deadline there.
async fn tell<M: Message, T: Send + 'static>(
    there: &There,
    message: M,
    cell: Arc<ReplyCell<T>>,
) -> Result<T, AskError> {
    let within = cell.within();
    let mut time_out = pin!(sleep_until(cell.until()));
    tokio::select! {
        biased;
        told = there.tell(message) => told?,
        () = time_out.as_mut() => return Err(AskError::NoRoom(within)),
    }
    tokio::select! {
        biased;
        outcome = poll_fn(|cx| cell.poll(cx)) => outcome,
        () = time_out => Err(AskError::TimedOut(within)),
    }
}
