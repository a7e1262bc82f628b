//! What becomes of messages that lie unread when their actor ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use umbel_actors::supervision::ChildState;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, ChildOptions, DeadLetterReason, Exit,
    Message, Reply, Restart, Strategy, Supervisor, SupervisorRef, System,
};

#[derive(Message)]
enum Note {
    Write(u32),
    Read(Reply<Vec<u32>>),
    /// Fails as soon as the pen is lifted.
    Fail,
}

/// What outlives the writer.
#[derive(Clone)]
struct Desk {
    written: Arc<Mutex<Vec<u32>>>,
    lives: Arc<AtomicU64>,
    pen: Arc<Semaphore>,
    /// Lives that will not get through `pre_start`, from the second on.
    stillborn: u64,
}

impl Desk {
    fn new() -> Self {
        Self {
            written: Arc::default(),
            lives: Arc::default(),
            pen: Arc::new(Semaphore::new(0)),
            stillborn: 0,
        }
    }
}

struct Writer(Desk);

impl Actor for Writer {
    type Msg = Note;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<(), ActorProcessingErr> {
        let life = self.0.lives.fetch_add(1, Ordering::SeqCst);
        if (1..=self.0.stillborn).contains(&life) { Err("stillborn".into()) } else { Ok(()) }
    }

    async fn handle(
        &self,
        _: ActorRef<Note>,
        note: Note,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match note {
            Note::Write(number) => self.0.written.lock().push(number),
            Note::Read(reply) => reply.send(self.0.written.lock().clone()),
            Note::Fail => {
                self.0.pen.acquire().await?.forget();
                return Err("out of ink".into());
            }
        }
        Ok(())
    }
}

async fn writer(
    system: &System,
    desk: &Desk,
    options: ChildOptions,
    restart: Restart,
) -> (SupervisorRef, Address<Note>) {
    let desk = desk.clone();
    let child = system.child_with("writer", options, move || (Writer(desk.clone()), ()));
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .intensity(10, Duration::from_secs(5))
        .child(child.restart(restart));
    (system.supervise(tree).await.unwrap(), address)
}

fn kept() -> ChildOptions {
    ChildOptions { keep_unread: true, ..ChildOptions::default() }
}

/// Has the actor take a message that it will fail at.
async fn fail(address: &Address<Note>) {
    address.tell(Note::Fail).await.unwrap();
    until_depth(address, 0).await;
}

async fn until_depth(address: &Address<Note>, depth: u64) {
    while address.depth() != Some(depth) {
        tokio::task::yield_now().await;
    }
}

async fn write(address: &Address<Note>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        address.tell(Note::Write(number)).await.unwrap();
    }
}

#[tokio::test]
async fn by_default_they_are_lost_counted_and_asks_among_them_end_at_once() {
    let (system, desk) = (System::new("test"), Desk::new());
    let mut letters = system.dead_letters();
    let (_tree, address) =
        writer(&system, &desk, ChildOptions::default(), Restart::Permanent).await;
    fail(&address).await;
    write(&address, 1..=3).await;
    let ask = {
        let address = address.clone();
        tokio::spawn(async move { address.ask(Note::Read).await })
    };
    until_depth(&address, 4).await;
    desk.pen.add_permits(1);
    assert_eq!(ask.await.unwrap(), Err(AskError::Closed));
    let letter = letters.recv().await.unwrap();
    assert_eq!(letter.count, 4);
    assert_eq!(letter.why, DeadLetterReason::Unread(Exit::Failed("out of ink".into())));
    assert_eq!(address.ask(Note::Read).await, Ok(vec![]));
}

#[tokio::test]
async fn where_they_are_kept_the_next_life_reads_them_in_order_and_answers_the_asks() {
    let (system, desk) = (System::new("test"), Desk::new());
    let (tree, address) = writer(&system, &desk, kept(), Restart::Permanent).await;
    write(&address, [1]).await;
    fail(&address).await;
    write(&address, [2, 3]).await;
    address.tell(Note::Fail).await.unwrap();
    write(&address, [4]).await;
    let ask = {
        let address = address.clone();
        tokio::spawn(async move { address.ask(Note::Read).await })
    };
    until_depth(&address, 5).await;
    desk.pen.add_permits(2);
    assert_eq!(ask.await.unwrap(), Ok(vec![1, 2, 3, 4]));
    assert_eq!(desk.lives.load(Ordering::SeqCst), 3);
    assert_eq!(address.depth(), Some(0), "the account of the mailbox is even");
    assert_eq!(tree.which_children().await.unwrap()[0].mailbox, Some(0));
}

#[tokio::test]
async fn they_outlive_lives_that_do_not_even_start() {
    let system = System::new("test");
    let desk = Desk { stillborn: 3, ..Desk::new() };
    let (_tree, address) = writer(&system, &desk, kept(), Restart::Permanent).await;
    fail(&address).await;
    write(&address, 1..=100).await;
    desk.pen.add_permits(1);
    assert_eq!(address.ask(Note::Read).await, Ok((1..=100).collect()));
    assert_eq!(desk.lives.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn the_mailbox_keeps_its_bound_over_a_restart() {
    let (system, desk) = (System::new("test"), Desk::new());
    let options = ChildOptions { mailbox_capacity: Some(4), ..kept() };
    let (_tree, address) = writer(&system, &desk, options, Restart::Permanent).await;
    fail(&address).await;
    address.tell(Note::Fail).await.unwrap();
    write(&address, 1..=3).await;
    assert!(address.try_tell(Note::Write(4)).is_err());
    let waiting = {
        let address = address.clone();
        tokio::spawn(async move { write(&address, 4..=10).await })
    };
    desk.pen.add_permits(1);
    while desk.lives.load(Ordering::SeqCst) < 2 || address.depth() != Some(4) {
        tokio::task::yield_now().await;
    }
    desk.pen.add_permits(1);
    waiting.await.unwrap();
    assert_eq!(address.ask(Note::Read).await, Ok((1..=10).collect()));
    assert_eq!(address.depth(), Some(0));
}

#[tokio::test]
async fn what_no_life_will_read_is_lost_and_its_asks_are_told() {
    let (system, desk) = (System::new("test"), Desk::new());
    let mut letters = system.dead_letters();
    let (_tree, address) = writer(&system, &desk, kept(), Restart::Temporary).await;
    fail(&address).await;
    write(&address, 1..=3).await;
    let ask = {
        let address = address.clone();
        tokio::spawn(async move { address.ask(Note::Read).await })
    };
    until_depth(&address, 4).await;
    desk.pen.add_permits(1);
    assert_eq!(ask.await.unwrap(), Err(AskError::Closed));
    let letter = letters.recv().await.unwrap();
    assert_eq!(letter.count, 4);
    assert_eq!(letter.why, DeadLetterReason::Unread(Exit::Failed("out of ink".into())));
    assert!(address.is_gone());
}

#[tokio::test(start_paused = true)]
async fn a_kept_ask_still_ends_at_its_deadline() {
    let (system, desk) = (System::new("test"), Desk::new());
    let (tree, address) = writer(&system, &desk, kept(), Restart::Permanent).await;
    fail(&address).await;
    let deadline = Duration::from_secs(1);
    let ask = {
        let address = address.clone();
        tokio::spawn(async move { address.ask_within(deadline, Note::Read).await })
    };
    until_depth(&address, 1).await;
    let stopped = {
        let tree = tree.clone();
        tokio::spawn(async move { tree.terminate_child("writer").await })
    };
    while tree.which_children().await.unwrap()[0].state != ChildState::Stopping {
        tokio::task::yield_now().await;
    }
    desk.pen.add_permits(1);
    stopped.await.unwrap().unwrap();
    assert_eq!(address.depth(), Some(1), "it is kept while nobody reads");
    assert_eq!(ask.await.unwrap(), Err(AskError::TimedOut(deadline)));
    tree.restart_child("writer").await.unwrap();
    assert_eq!(address.ask(Note::Read).await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_crashes_every_told_message_is_read_once_but_those_in_the_actors_hands() {
    const SENDERS: u32 = 4;
    const EACH: u32 = 2_000;
    let (system, desk) = (System::new("test"), Desk::new());
    let options = ChildOptions { mailbox_capacity: Some(64), ..kept() };
    let child = {
        let desk = desk.clone();
        system.child_with("writer", options, move || (Writer(desk.clone()), ()))
    };
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .intensity(1_000, Duration::from_secs(5))
        .child(child);
    let _tree = system.supervise(tree).await.unwrap();
    desk.pen.add_permits(100);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let address = address.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    address.tell(Note::Write(sender * EACH + number)).await.unwrap();
                    if number % 100 == 99 {
                        address.tell(Note::Fail).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let written = address.ask(Note::Read).await.unwrap();
    assert_eq!(written.len(), (SENDERS * EACH) as usize);
    for sender in 0..SENDERS {
        let from = sender * EACH..(sender + 1) * EACH;
        let own: Vec<_> = written.iter().copied().filter(|number| from.contains(number)).collect();
        assert_eq!(own, from.collect::<Vec<_>>(), "in the order of their sender");
    }
    assert_eq!(desk.lives.load(Ordering::SeqCst), 81);
    assert_eq!(address.depth(), Some(0));
}
