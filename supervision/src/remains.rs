use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use ractor::{ActorCell, ActorStatus, concurrency::JoinHandle};

/// What may be left of those that one declaration was started as.
///
/// ractor says that an actor has failed, or was killed, before the actor's task drops what it owned:
/// on several threads a successor can be up by then, and find the file locked and the port taken. So
/// who starts a successor waits for the tasks of those before it.
///
/// One declaration may live in several trees at a time: there are as many as these, and one more for
/// each that ended since the last start.
#[derive(Clone, Default)]
pub(crate) struct Remains(Arc<Mutex<Vec<Incarnation>>>);

struct Incarnation {
    actor: ActorCell,
    task: JoinHandle<()>,
}

impl Remains {
    pub(crate) fn add(&self, actor: ActorCell, task: JoinHandle<()>) {
        self.0
            .lock()
            .expect("nothing that is done under this lock panics")
            .push(Incarnation { actor, task });
    }

    /// Returns when nothing is left of those that have ended, or are about to. Nobody is forgotten
    /// if the future is dropped before.
    pub(crate) async fn gone(&self) {
        poll_fn(|cx| {
            let mut all = self.0.lock().expect("nothing that is done under this lock panics");
            let mut ending = false;
            all.retain_mut(|Incarnation { actor, task }| {
                let ends = actor.get_status() >= ActorStatus::Stopping;
                let is_left = !ends || Pin::new(task).poll(cx).is_pending();
                ending |= ends && is_left;
                is_left
            });
            if ending { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}
