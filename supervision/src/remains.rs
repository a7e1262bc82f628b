use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
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
    task: Task,
}

/// Shared, for a task itself wakes only the one who has asked last, and several trees may wait
/// for it.
type Task = Shared<BoxFuture<'static, ()>>;

impl Remains {
    fn all(&self) -> MutexGuard<'_, Vec<Incarnation>> {
        self.0.lock().expect("nothing that is done under this lock panics")
    }

    pub(crate) fn add(&self, actor: ActorCell, task: JoinHandle<()>) {
        // Whether it panicked is for the supervisor, who hears of it from ractor.
        let task = task.map(drop).boxed().shared();
        self.all().push(Incarnation { actor, task });
    }

    /// Whether something is left of those that have ended, or are about to.
    pub(crate) fn are_there(&self) -> bool {
        self.next().is_some()
    }

    /// Returns when nothing is left of those that have ended, or are about to. Nobody is forgotten
    /// if the future is dropped before.
    pub(crate) async fn gone(&self) {
        while let Some(task) = self.next() {
            task.await;
        }
    }

    /// One of those that have ended, or are about to, of which something may be left.
    fn next(&self) -> Option<Task> {
        let mut all = self.all();
        all.retain(|incarnation| incarnation.task.peek().is_none());
        let ends = |one: &&Incarnation| one.actor.get_status() >= ActorStatus::Stopping;
        all.iter().find(ends).map(|ending| ending.task.clone())
    }
}
