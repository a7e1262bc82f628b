//! Two nodes of umbel.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply, SpawnOptions};
use umbel_cluster::{Authority, Credentials, IssueOptions, Node, Overwrite};

use super::{Payload, Peer, Tally};

const DIRECTORY: &str = "umbel";
const ACTOR: &str = "counter";
const SINK: &str = "sink";
const ENOUGH: Duration = Duration::from_secs(30);

/// Makes the credentials of both nodes.
pub(crate) fn make_files(directory: &Path) {
    let authority = Authority::create("bench".parse().expect("a name")).expect("it can be made");
    for node in ["server", "client"] {
        let node = node.parse().expect("a name");
        let credentials = authority.issue(&node, &IssueOptions::new()).expect("it can be issued");
        credentials
            .save(directory.join(DIRECTORY), Overwrite::Refuse)
            .expect("they can be written");
    }
}

fn credentials(directory: &Path, node: &str) -> Credentials {
    let file = |name: &str| directory.join(DIRECTORY).join(name);
    Credentials::load(
        file(&format!("{node}.pem")),
        file(&format!("{node}-key.pem")),
        file("ca.pem"),
    )
    .expect("they were written")
}

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Note {
    Tell(Payload),
    Ask(Payload, Reply<Payload>),
    Counted(u64, Reply<()>),
}

#[derive(Default)]
struct State {
    tally: Tally,
    awaited: Option<(u64, Reply<()>)>,
}

impl State {
    fn tell_when_counted(&mut self) {
        if let Some((_, reply)) = self.awaited.take_if(|(tells, _)| *tells <= self.tally.counted())
        {
            reply.send(());
        }
    }
}

struct Counter;

impl Actor for Counter {
    type Msg = Note;
    type State = State;
    type Arguments = Tally;

    async fn pre_start(
        &self,
        _: ActorRef<Note>,
        tally: Tally,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { tally, awaited: None })
    }

    async fn handle(
        &self,
        _: ActorRef<Note>,
        note: Note,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match note {
            Note::Tell(payload) => {
                state.tally.count(&payload);
                state.tell_when_counted();
            }
            Note::Ask(payload, reply) => reply.send(payload),
            Note::Counted(tells, reply) => {
                state.awaited = Some((tells, reply));
                state.tell_when_counted();
            }
        }
        Ok(())
    }
}

/// With an actor that handles so many messages in a row.
#[derive(Clone)]
pub(crate) struct Umbel<const THROUGHPUT: usize = 1> {
    node: Node,
    counter: Address<Note>,
    /// Takes large messages.
    sink: Address<Note>,
}

/// With what goes before it, as large as a message may be by default.
const LARGE_BYTES: usize = (64 << 20) - 64;

impl Umbel {
    /// Tells another actor than the one that is asked something large; waits until it is on its way.
    pub(crate) async fn tell_large(&self) {
        self.sink.tell(Note::Tell(Payload::new(LARGE_BYTES, false))).await.expect("it lives");
    }
}

impl<const THROUGHPUT: usize> Peer for Umbel<THROUGHPUT> {
    const NAME: &'static str = if THROUGHPUT == 1 { "umbel" } else { "umbel_in_a_row" };

    async fn serve(files: &Path, tally: Tally) -> String {
        let node = Node::builder()
            .credentials(credentials(files, "server"))
            .listen("127.0.0.1:0")
            .start()
            .await
            .expect("it starts");
        let options =
            SpawnOptions { throughput: NonZeroUsize::new(THROUGHPUT), ..SpawnOptions::default() };
        let counter = node.system().spawn_with(options, Counter, tally).await.expect("it starts");
        node.register(ACTOR, &counter).await.expect("it is the only one");
        let sink = node.spawn(Counter, Tally::default()).await.expect("it starts");
        node.register(SINK, &sink).await.expect("it is the only one");
        node.address().expect("it listens")
    }

    async fn connect(files: &Path, address: String) -> Self {
        let node = Node::builder()
            .credentials(credentials(files, "client"))
            .join([address])
            .start()
            .await
            .expect("it starts");
        let counter = node.resolve_within(ENOUGH, ACTOR).await.expect("it is registered");
        let sink = node.resolve_within(ENOUGH, SINK).await.expect("it is registered");
        Self { node, counter, sink }
    }

    async fn tell(&self, payload: Payload) {
        self.counter.tell(Note::Tell(payload)).await.expect("it lives");
    }

    async fn ask(&self, payload: Payload) -> Payload {
        self.counter.ask(|reply| Note::Ask(payload, reply)).await.expect("it answers")
    }

    async fn counted(&self, tells: u64) {
        let counted = self.counter.ask_within(ENOUGH, |reply| Note::Counted(tells, reply));
        counted.await.expect("it answers");
    }

    async fn end(self) {
        self.node.leave(ENOUGH).await;
    }
}
