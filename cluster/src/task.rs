//! A task that ends with its owner.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A task that ends with its owner: it is aborted when this is dropped.
///
/// Whoever is killed runs no code of its own any more, but what it held is dropped. So no task of a
/// node is left to itself while it holds a connection, or a peer would take a node that is gone for
/// one that is silent.
#[derive(Debug)]
pub(crate) struct OwnedTask(JoinHandle<()>);

impl OwnedTask {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// On another runtime, where one is given.
    pub(crate) fn spawn_on(
        runtime: Option<&Handle>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        match runtime {
            Some(runtime) => Self(runtime.spawn(work)),
            None => Self::spawn(work),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Ready when the task has ended, however it did.
impl Future for OwnedTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
