//! The actors that count, on every node of the demo.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply};
use umbel_cluster::ClusterTopic;

use crate::demo::tally::{Counted, Tally};
use crate::demo::words::words as words_of;

/// The name under which counters are registered.
pub(crate) const COUNTERS: &str = "demo.counters";

/// The topic of [`Progress`].
pub(crate) const PROGRESS: &str = "demo.progress";

/// Asks a counter to take a batch.
///
/// The counts come back in the answer, and the counter keeps nothing: what dies with it is only what
/// nobody has acknowledged, and that is asked again. Were the counts kept until the end, all that
/// a dead node ever took would have to be read and counted again, and input that comes from a pipe
/// would have to be kept for it.
#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
pub(crate) struct CountBatch {
    pub(crate) text: Arc<str>,
    pub(crate) giants: Arc<[String]>,
    pub(crate) reply: Reply<Counted>,
}

/// How far things are. Each message tells all since the start, so that no harm is done where one is
/// lost.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(remote)]
pub(crate) enum Progress {
    /// A counter has counted so much.
    Counted { node: String, counter: String, batches: u64, words: u64 },
    /// The intake has merged the batches that make so many bytes of the input.
    Merged { bytes: u64 },
}

/// Counts the words of batches.
pub(crate) struct Counter {
    pub(crate) topic: ClusterTopic<Progress>,
    pub(crate) node: String,
    pub(crate) name: String,
}

impl Actor for Counter {
    type Msg = CountBatch;
    type State = (u64, u64);
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<CountBatch>,
        (): (),
    ) -> Result<(u64, u64), ActorProcessingErr> {
        Ok((0, 0))
    }

    async fn handle(
        &self,
        _: ActorRef<CountBatch>,
        batch: CountBatch,
        (batches, words): &mut (u64, u64),
    ) -> Result<(), ActorProcessingErr> {
        if batch.reply.is_cancelled() {
            return Ok(());
        }
        let mut tally = Tally::default();
        words_of(&batch.text).for_each(|word| tally.add(word));
        batch.giants.iter().for_each(|giant| tally.add_key(giant));
        *batches += 1;
        *words += tally.words;
        batch.reply.send(tally.into());
        let (node, counter) = (self.node.clone(), self.name.clone());
        let counted = Progress::Counted { node, counter, batches: *batches, words: *words };
        self.topic.publish(counted).await?;
        Ok(())
    }
}
