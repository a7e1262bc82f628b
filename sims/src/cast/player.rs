//! A supervised actor that can be found by all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply};

use super::Recorder;
use crate::mutant::Mutant;
use crate::record::Record;

/// What players are registered as.
pub(crate) const PLAYER: &str = "player";

/// How many each node has.
pub(crate) const PLAYERS: usize = 2;

/// For how long a life goes on with [`Mutant::Lingers`].
const LINGERS: Duration = Duration::from_secs(30);

/// What a player is told.
#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
pub(crate) enum Part {
    /// The next of a sender's numbers for whom it calls so.
    Line { from: String, to: String, number: u64, ballast: String },
    /// Say it back.
    Echo(String, Reply<String>),
    /// Say it back, after a while.
    Muse(String, u64, Reply<String>),
    /// Do not answer.
    Forget(Reply<String>),
    /// Fail.
    Fall,
    /// Do nothing.
    Wait,
}

/// A supervised actor that can be found by all.
pub(super) struct Player {
    pub(super) name: String,
    /// Under which life of its supervisor it was made.
    pub(super) supervisor: String,
    pub(super) billing: Arc<Billing>,
    pub(super) recorder: Recorder,
    pub(super) mutant: Option<Mutant>,
}

/// The names of lives on one node.
#[derive(Debug)]
pub(super) struct Billing {
    node: String,
    houses: AtomicU64,
    casts: AtomicU64,
    nights: AtomicU64,
}

impl Billing {
    pub(super) fn new(node: String) -> Self {
        let none = AtomicU64::default;
        Self { node, houses: none(), casts: none(), nights: none() }
    }

    /// Another life of the tree's root begins.
    pub(super) fn next_house(&self) -> String {
        format!("{}/house#{}", self.node, self.houses.fetch_add(1, Ordering::Relaxed))
    }

    /// Another life of the players' supervisor begins.
    pub(super) fn next_cast(&self) -> String {
        self.cast(self.casts.fetch_add(1, Ordering::Relaxed))
    }

    /// How many lives of the players' supervisor have begun.
    pub(super) fn casts(&self) -> u64 {
        self.casts.load(Ordering::Relaxed)
    }

    /// One life of the players' supervisor, by its number from 0.
    pub(super) fn cast(&self, number: u64) -> String {
        format!("{}/cast#{number}", self.node)
    }

    fn next_night(&self, player: &str) -> String {
        format!("{}/{player}#{}", self.node, self.nights.fetch_add(1, Ordering::Relaxed))
    }
}

/// One life of a player; says so when it is over.
pub(super) struct Life {
    mark: Arc<Mark>,
    /// What [`Mutant::MixedAnswers`] answers.
    before: String,
    /// What [`Mutant::NoDeadlines`] never answers.
    kept: Vec<Reply<String>>,
}

/// Says when the last of a life is gone.
struct Mark {
    actor: String,
    recorder: Recorder,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.recorder.record(Record::Died { actor: self.actor.clone() });
    }
}

impl Actor for Player {
    type Msg = Part;
    type State = Life;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Part>, (): ()) -> Result<Life, ActorProcessingErr> {
        let actor = self.billing.next_night(&self.name);
        let (child, supervisor) = (self.name.clone(), self.supervisor.clone());
        self.recorder.record(Record::Lives { actor: actor.clone(), child, supervisor });
        let mark = Arc::new(Mark { actor, recorder: self.recorder.clone() });
        if self.mutant == Some(Mutant::Lingers) {
            let mark = mark.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LINGERS).await;
                drop(mark);
            });
        }
        Ok(Life { mark, before: String::new(), kept: Vec::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<Part>,
        part: Part,
        life: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        match part {
            Part::Line { from, to, number, ballast: _ } => {
                let life = life.mark.actor.clone();
                self.recorder.record(Record::Received { from, to, number, life });
            }
            Part::Echo(text, reply) if self.mutant == Some(Mutant::MixedAnswers) => {
                reply.send(std::mem::replace(&mut life.before, text));
            }
            Part::Echo(text, reply) => reply.send(text),
            Part::Muse(text, millis, reply) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                reply.send(text);
            }
            Part::Forget(reply) if self.mutant == Some(Mutant::NoDeadlines) => {
                life.kept.push(reply);
            }
            Part::Forget(reply) => drop(reply),
            Part::Wait => {}
            Part::Fall => return Err("fell".into()),
        }
        Ok(())
    }
}
