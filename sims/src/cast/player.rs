//! A supervised actor that can be found by all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply};

use super::Recorder;
use crate::record::Record;

/// What players are registered as.
pub(crate) const PLAYER: &str = "player";

/// How many each node has.
pub(crate) const PLAYERS: usize = 2;

/// What a player is told.
#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
pub(crate) enum Part {
    /// The next of a sender's numbers.
    Line { from: String, number: u64 },
    /// Say it back.
    Echo(String, Reply<String>),
    /// Say it back, after a while.
    Muse(String, u64, Reply<String>),
    /// Do not answer.
    Forget(Reply<String>),
    /// Fail.
    Fall,
}

/// A supervised actor that can be found by all.
pub(super) struct Player {
    pub(super) name: String,
    pub(super) supervisor: Arc<Billing>,
    pub(super) recorder: Recorder,
}

/// The names of lives: of the supervisor that runs now, and of players so far.
#[derive(Debug)]
pub(super) struct Billing {
    pub(super) node: String,
    pub(super) seasons: AtomicU64,
    pub(super) nights: AtomicU64,
}

impl Billing {
    /// The supervisor's life.
    pub(super) fn season(&self) -> String {
        format!("{}/cast#{}", self.node, self.seasons.load(Ordering::Relaxed))
    }

    fn night(&self, player: &str) -> String {
        format!("{}/{player}#{}", self.node, self.nights.fetch_add(1, Ordering::Relaxed))
    }
}

/// One life of a player; says so when it is over.
pub(super) struct Life {
    actor: String,
    recorder: Recorder,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.recorder.record(Record::Died { actor: self.actor.clone() });
    }
}

impl Actor for Player {
    type Msg = Part;
    type State = Life;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Part>, (): ()) -> Result<Life, ActorProcessingErr> {
        let actor = self.supervisor.night(&self.name);
        let supervisor = self.supervisor.season();
        self.recorder.record(Record::Lives { actor: actor.clone(), supervisor });
        Ok(Life { actor, recorder: self.recorder.clone() })
    }

    async fn handle(
        &self,
        _: ActorRef<Part>,
        part: Part,
        life: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        match part {
            Part::Line { from, number } => {
                let to = life.actor.clone();
                self.recorder.record(Record::Received { from, to, number });
            }
            Part::Echo(text, reply) => reply.send(text),
            Part::Muse(text, millis, reply) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                reply.send(text);
            }
            Part::Forget(reply) => drop(reply),
            Part::Fall => return Err("fell".into()),
        }
        Ok(())
    }
}
