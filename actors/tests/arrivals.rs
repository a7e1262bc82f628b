//! What comes over a link for an actor that is between two lives.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use umbel_actors::codec::{self, Limits};
use umbel_actors::wire::{Charge, Credit, Deliver, Unanswered};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Backoff, ChildOptions, DeadLetterReason, Exit,
    Message, Strategy, Supervisor, SupervisorRef, System,
};

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Note {
    Write(u32, Vec<u8>),
    Fail,
    /// Casts `Drain` to itself.
    CastDrain,
    /// Drains, and takes a while over it.
    Drain,
    Panic(Panics),
}

/// Panics when it is decoded.
struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(0)
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as it was told to")
    }
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
        myself: ActorRef<Note>,
        note: Note,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match note {
            Note::Write(number, _) => self.0.lock().push(number),
            Note::Fail => return Err("told to".into()),
            Note::CastDrain => myself.cast(Note::Drain)?,
            Note::Drain => {
                myself.drain()?;
                self.0.lock().push(DRAINS);
                tokio::time::sleep(A_WHILE).await;
            }
            Note::Panic(Panics) => unreachable!("it cannot be decoded"),
        }
        Ok(())
    }
}

/// What was given back.
#[derive(Default)]
struct Account(AtomicU32);

impl Account {
    fn released(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Credit for Account {
    fn release(&self, bytes: u32) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
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
/// What is written when it drains.
const DRAINS: u32 = 1000;
const A_WHILE: Duration = Duration::from_secs(1);

impl Bench {
    /// A writer that has just failed.
    async fn between_two_lives() -> Self {
        Self::with_throughput(1).await
    }

    /// Likewise, of one that handles so many messages in a row.
    async fn with_throughput(throughput: usize) -> Self {
        let system = System::new("test");
        let written = Arc::<Mutex<Vec<u32>>>::default();
        let made = written.clone();
        let throughput = NonZeroUsize::new(throughput);
        let options = ChildOptions { throughput, ..ChildOptions::default() };
        let child = system
            .child_with("writer", options, move || (Writer(made.clone()), ()))
            .backoff(Backoff::constant(AWAY));
        let address = child.handle().clone();
        let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
        let tree = system.supervise(tree).await.unwrap();
        let end = address.watch();
        address.tell(Note::Fail).await.unwrap();
        assert_eq!(end.await, Exit::Failed("told to".into()));
        Self { system, tree, address, written }
    }

    /// A writer that has come back.
    async fn in_its_next_life(throughput: usize) -> Self {
        let bench = Self::with_throughput(throughput).await;
        tokio::time::sleep(2 * AWAY).await;
        bench
    }

    /// As a link does.
    fn deliver(&self, number: u32, bytes: usize) -> Result<(), Unanswered> {
        let mut undelivered = self.deliver_run(&[write(number, bytes)], &Arc::default());
        undelivered.pop().map_or(Ok(()), Err)
    }

    /// As a link does. The run owes `account` its number.
    fn deliver_run(&self, run: &[Vec<u8>], account: &Arc<Account>) -> Vec<Unanswered> {
        let slot: Arc<dyn Deliver> = self.address.deliver().expect("it is of this machine");
        let run: Vec<&[u8]> = run.iter().map(Vec::as_slice).collect();
        let charge = Charge::new(account.clone(), run.len() as u32);
        slot.deliver(&run, Note::FINGERPRINT, Limits::default(), charge)
    }

    async fn is_idle(&self) {
        while self.address.depth() != Some(0) {
            tokio::task::yield_now().await;
        }
    }
}

fn encoded(note: &Note) -> Vec<u8> {
    let mut encoded = Vec::new();
    codec::encode(note, &mut encoded, 1 << 20).unwrap();
    encoded
}

fn write(number: u32, bytes: usize) -> Vec<u8> {
    encoded(&Note::Write(number, vec![0; bytes]))
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
    bench.is_idle().await;
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

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_of_a_run_keeps_nothing_else_of_it_back() {
    let good = |number| write(number, 1);
    let panics = || encoded(&Note::Panic(Panics));
    for throughput in [1, 64] {
        for run in [
            vec![good(0), vec![99], good(1), panics(), good(2), good(3)],
            vec![good(0), good(1), good(2), good(3), vec![99], panics()],
        ] {
            let bench = Bench::in_its_next_life(throughput).await;
            let account = Arc::<Account>::default();
            let undelivered = bench.deliver_run(&run, &account);
            assert_eq!(undelivered.len(), 2);
            for why in undelivered {
                assert!(matches!(why, Unanswered::Undecodable(_)), "{why}");
            }
            assert_eq!(account.released(), 0, "it is owed until the last of them is taken");
            bench.is_idle().await;
            assert_eq!(*bench.written.lock(), [0, 1, 2, 3]);
            assert_eq!(account.released(), 6);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_nothing_can_be_decoded_owes_nothing() {
    let bench = Bench::with_throughput(64).await;
    let account = Arc::<Account>::default();
    assert_eq!(bench.deliver_run(&[vec![99], vec![99]], &account).len(), 2);
    assert_eq!(account.released(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_for_the_next_life_as_far_as_there_is_room() {
    for throughput in [1, 64] {
        let bench = Bench::with_throughput(throughput).await;
        let account = Arc::<Account>::default();
        let run: Vec<_> = (0..40).map(|number| write(number, 1000)).collect();
        assert_eq!(bench.deliver_run(&run, &account), []);
        assert_eq!(account.released(), 0, "it is owed while it waits");
        let run: Vec<_> = (40..500).map(|number| write(number, 1000)).collect();
        let beyond = Arc::<Account>::default();
        let undelivered = bench.deliver_run(&run, &beyond);
        assert_eq!(beyond.released(), 460, "its last has no room, and gives its credit back");
        let room = 500 - undelivered.len();
        assert!((440..=1024 * 1024 / 2280).contains(&room), "{room}");
        assert!(undelivered.iter().all(|why| *why == Unanswered::Restarting), "{undelivered:?}");
        tokio::time::sleep(2 * AWAY).await;
        bench.is_idle().await;
        assert_eq!(*bench.written.lock(), (0..room as u32).collect::<Vec<_>>());
        assert_eq!(account.released(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_failure_in_its_run_is_lost_and_what_comes_then_waits() {
    for throughput in [1, 64] {
        let bench = Bench::in_its_next_life(throughput).await;
        // Of those behind the failure, the mailbox is lost; who comes when it has ended waits.
        let account = Arc::<Account>::default();
        let run = [write(0, 1), encoded(&Note::Fail), write(1, 1)];
        assert_eq!(bench.deliver_run(&run, &account), []);
        let end = bench.address.watch();
        assert_eq!(end.await, Exit::Failed("told to".into()));
        assert_eq!(bench.deliver_run(&[write(2, 1), write(3, 1)], &account), []);
        tokio::time::sleep(2 * AWAY).await;
        bench.is_idle().await;
        assert_eq!(*bench.written.lock(), [0, 2, 3]);
        assert_eq!(account.released(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_draining_actor_refuses_waits_for_its_next_life() {
    for throughput in [1, 64] {
        let bench = Bench::in_its_next_life(throughput).await;
        // By a cast, which is in no row: so the run leads, and ractor refuses it.
        bench.address.tell(Note::CastDrain).await.unwrap();
        while *bench.written.lock() != [DRAINS] {
            tokio::task::yield_now().await;
        }
        let account = Arc::<Account>::default();
        assert_eq!(bench.deliver_run(&[write(0, 1), write(1, 1), write(2, 1)], &account), []);
        assert_eq!(bench.address.depth(), Some(0), "nothing of it lies in the mailbox");
        tokio::time::sleep(A_WHILE + 2 * AWAY).await;
        assert_eq!(*bench.written.lock(), [DRAINS, 0, 1, 2]);
        assert_eq!(account.released(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_does_not_make_the_rest_of_a_run_count_for_less() {
    let bench = Bench::with_throughput(64).await;
    let large = |number| [vec![vec![99]; 20], vec![write(number, 600_000)]].concat();
    assert_eq!(bench.deliver_run(&large(0), &Arc::default()).len(), 20);
    let undelivered = bench.deliver_run(&large(1), &Arc::default());
    assert_eq!(undelivered.last(), Some(&Unanswered::Restarting));
}
