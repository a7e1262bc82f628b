//! Requests that are executed together, each of which has gone through the middleware by itself.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::CallError;
use crate::payload::Payload;
use crate::service::Outcome;

/// Where the requests of a batch meet behind the middleware, to be executed together.
#[derive(Debug, Default)]
pub(crate) struct Gather(Mutex<Vec<Arrived>>);

#[derive(Debug)]
struct Arrived {
    request: Payload,
    told: oneshot::Sender<Outcome>,
}

impl Gather {
    /// A request has gone through the middleware; what comes of it.
    pub(crate) async fn arrive(self: Arc<Self>, request: Payload) -> Outcome {
        let (told, outcome) = oneshot::channel();
        self.0.lock().push(Arrived { request, told });
        drop(self);
        outcome.await.unwrap_or_else(|_| {
            Err(CallError::Panicked { why: "the batch ended without an answer".into() })
        })
    }

    /// Runs the requests, each through the middleware; those that get through are executed together
    /// as soon as none is left on its way. Ends when all of them have, and not later: where nobody
    /// waits for any of them, the execution is dropped. Whether they were executed.
    pub(crate) async fn run<F: Future<Output = ()>>(
        self: Arc<Self>,
        mut requests: FuturesUnordered<F>,
        execute: impl FnOnce(Vec<Payload>) -> BoxFuture<'static, Vec<Outcome>>,
    ) -> bool {
        poll_fn(|cx| {
            while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {}
            let arrived = self.0.lock().len();
            if arrived == requests.len() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let arrived = std::mem::take(&mut *self.0.lock());
        if arrived.is_empty() {
            return false;
        }
        let (requests_of, told): (Vec<_>, Vec<_>) =
            arrived.into_iter().map(|arrived| (arrived.request, arrived.told)).unzip();
        let execution = async {
            let outcomes = execute(requests_of).await;
            for (told, outcome) in told.into_iter().zip(outcomes) {
                // One whose deadline has passed waits no more.
                let _ = told.send(outcome);
            }
        };
        let mut execution = pin!(execution);
        let mut is_executed = false;
        poll_fn(|cx| {
            is_executed = is_executed || execution.as_mut().poll(cx).is_ready();
            while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {}
            if requests.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        is_executed
    }
}
