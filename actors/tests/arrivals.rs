//! What comes over a link for an actor that is between two lives.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use umbel_actors::codec::{self, Limits};
use umbel_actors::wire::{Deliver, Unanswered};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Backoff, DeadLetterReason, Exit, Message,
    Strategy, Supervisor, SupervisorRef, System,
};

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Note {
    Write(u32, Vec<u8>),
    Fail,
}

struct Writer(Arc<Mutex<Vec<u32>>>);

impl Actor for Writer {
    type Msg = Note;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Note>,
        note: Note,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match note {
            Note::Write(number, _) => self.0.lock().push(number),
            Note::Fail => return Err("told to".into()),
        }
        Ok(())
    }
}

/// A writer that takes a minute to come back.
struct Bench {
    system: System,
    tree: SupervisorRef,
    address: Address<Note>,
    written: Arc<Mutex<Vec<u32>>>,
}

const AWAY: Duration = Duration::from_secs(60);

impl Bench {
    /// A writer that has just failed.
    async fn between_two_lives() -> Self {
        let system = System::new("test");
        let written = Arc::<Mutex<Vec<u32>>>::default();
        let made = written.clone();
        let child = system
            .child("writer", move || (Writer(made.clone()), ()))
            .backoff(Backoff::constant(AWAY));
        let address = child.handle().clone();
        let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
        let tree = system.supervise(tree).await.unwrap();
        let end = address.watch();
        address.tell(Note::Fail).await.unwrap();
        assert_eq!(end.await, Exit::Failed("told to".into()));
        Self { system, tree, address, written }
    }

    /// As a link does.
    fn deliver(&self, number: u32, bytes: usize) -> Result<(), Unanswered> {
        let mut encoded = Vec::new();
        codec::encode(&Note::Write(number, vec![0; bytes]), &mut encoded, 1 << 20).unwrap();
        let slot: Arc<dyn Deliver> = self.address.deliver().expect("it is of this machine");
        slot.deliver(&encoded, Note::FINGERPRINT, Limits::default(), None)
    }
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_next_life_and_nothing_overtakes_it() {
    let bench = Bench::between_two_lives().await;
    for number in 0..100 {
        bench.deliver(number, 10).unwrap();
    }
    assert!(bench.written.lock().is_empty());
    tokio::time::sleep(2 * AWAY).await;
    for number in 100..200 {
        bench.deliver(number, 10).unwrap();
    }
    while bench.address.depth() != Some(0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(*bench.written.lock(), (0..200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn it_is_bounded_and_what_is_beyond_is_refused() {
    let bench = Bench::between_two_lives().await;
    let mut waiting = 0;
    while bench.deliver(waiting, 1000).is_ok() {
        waiting += 1;
        assert!(waiting < 1000, "it grows without a bound");
    }
    // 1 MiB, each message with 1,280 bytes beside its own.
    assert!((440..=1024 * 1024 / 2280).contains(&waiting), "{waiting}");
    assert_eq!(bench.deliver(waiting, 1000), Err(Unanswered::Restarting));
    tokio::time::sleep(2 * AWAY).await;
    assert_eq!(*bench.written.lock(), (0..waiting).collect::<Vec<_>>());
    // The room is there again.
    bench.deliver(waiting, 1000).unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_a_dead_letter_when_there_is_no_next_life() {
    let bench = Bench::between_two_lives().await;
    let mut letters = bench.system.dead_letters();
    for number in 0..3 {
        bench.deliver(number, 10).unwrap();
    }
    bench.tree.stop().await;
    bench.address.watch().await;
    let letter = letters.recv().await.unwrap();
    assert_eq!(letter.count, 3);
    assert_eq!(letter.why, DeadLetterReason::Undeliverable(Unanswered::NoSuchActor));
    assert_eq!(bench.deliver(4, 10), Err(Unanswered::NoSuchActor));
}
