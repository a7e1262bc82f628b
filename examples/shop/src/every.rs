//! Something that is done again and again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message};

/// An actor that does something at once, and then again after a pause, for as long as it lives.
pub(crate) struct Every<F> {
    pub(crate) pause: Duration,
    pub(crate) work: Arc<F>,
}

/// It is told nothing.
#[derive(Message)]
pub(crate) struct Nothing;

impl<F, W> Actor for Every<F>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    type Msg = Nothing;
    type State = Mutex<JoinSet<()>>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Nothing>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let (pause, work) = (self.pause, self.work.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                work().await;
                tokio::time::sleep(pause).await;
            }
        });
        Ok(Mutex::new(tasks))
    }
}
