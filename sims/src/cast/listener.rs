//! An actor that hears a topic.

use serde::{Deserialize, Serialize};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply};

use super::Recorder;
use crate::record::Record;

/// The topic of all talkers.
pub(super) const NEWS: &str = "news";

/// What is published.
#[derive(Clone, Message, Serialize, Deserialize)]
#[message(remote)]
pub(super) struct News {
    pub(super) publisher: String,
    pub(super) number: u64,
}

/// What a listener is told.
#[derive(Message)]
pub(super) enum Hear {
    News(News),
    /// Say when all that came before was heard.
    Rest(Reply<()>),
}

/// An actor that hears a topic.
pub(super) struct Listener {
    pub(super) subscription: String,
    pub(super) recorder: Recorder,
}

impl Actor for Listener {
    type Msg = Hear;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Hear>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Hear>,
        hear: Hear,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match hear {
            Hear::News(News { publisher, number }) => {
                let subscription = self.subscription.clone();
                self.recorder.record(Record::Heard { subscription, publisher, number });
            }
            Hear::Rest(reply) => reply.send(()),
        }
        Ok(())
    }
}
