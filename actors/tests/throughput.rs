//! Actors that handle several messages in a row.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, ChildOptions, DeadLetterReason, Exit,
    Message, Myself, Reply, SpawnOptions, Strategy, Supervisor, System, TellError,
};

#[derive(Message)]
enum Note {
    Write(u64),
    Read(Reply<Vec<u64>>),
    /// By ractor.
    Stop,
    /// By the address.
    StopAtOnce,
    Fail,
    /// Is told again and again, by itself.
    Again,
}

/// Writes down what it is told. Each `Write` waits for a permit.
struct Notebook(Arc<Semaphore>);

impl Actor for Notebook {
    type Msg = Note;
    type State = Vec<u64>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<Vec<u64>, ActorProcessingErr> {
        Ok(Vec::new())
    }

    async fn handle(
        &self,
        myself: ActorRef<Note>,
        note: Note,
        written: &mut Vec<u64>,
    ) -> Result<(), ActorProcessingErr> {
        match note {
            Note::Write(number) => {
                self.0.acquire().await?.forget();
                written.push(number);
            }
            Note::Read(reply) => reply.send(written.clone()),
            Note::Stop => myself.stop(None),
            Note::StopAtOnce => assert!(myself.address().stop()),
            Note::Again => myself.address().try_tell(Note::Again)?,
            Note::Fail => return Err("asked to fail".into()),
        }
        Ok(())
    }
}

/// A notebook that handles `throughput` messages in a row, and its pace.
async fn notebook(throughput: usize) -> (System, Address<Note>, Arc<Semaphore>) {
    let system = System::builder("test").seed(1).start();
    let pace = Arc::new(Semaphore::new(0));
    let options = SpawnOptions {
        throughput: NonZeroUsize::new(throughput),
        mailbox_capacity: Some(64),
        ..SpawnOptions::default()
    };
    let address = system.spawn_with(options, Notebook(pace.clone()), ()).await.unwrap();
    (system, address, pace)
}

async fn write(notebook: &Address<Note>, numbers: Range<u64>) {
    for number in numbers {
        notebook.tell(Note::Write(number)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_sender_tells_arrives_once_and_in_order() {
    let (_system, notebook, pace) = notebook(7).await;
    pace.add_permits(Semaphore::MAX_PERMITS / 2);
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let notebook = notebook.clone();
            tokio::spawn(async move {
                for number in 0..5_000 {
                    notebook.tell(Note::Write(sender * 5_000 + number)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let written = notebook.ask(Note::Read).await.unwrap();
    let mut rows = vec![Vec::new(); 4];
    for number in written {
        rows[usize::try_from(number / 5_000).unwrap()].push(number);
    }
    assert_eq!(rows.concat(), (0..20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_waits_behind_others_takes_places_in_the_mailbox() {
    let (_system, notebook, pace) = notebook(8).await;
    for number in 0..=64 {
        notebook.tell(Note::Write(number)).await.unwrap();
        while number == 0 && notebook.depth() != Some(0) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(notebook.depth(), Some(64));
    assert!(matches!(notebook.try_tell(Note::Write(99)), Err(TellError::Full(Note::Write(99)))));
    pace.add_permits(65);
    assert_eq!(notebook.ask(Note::Read).await.unwrap(), (0..=64).collect::<Vec<_>>());
    assert_eq!(notebook.depth(), Some(0));
}

#[tokio::test]
async fn a_stop_by_the_address_takes_effect_after_the_message_in_hands() {
    let (system, notebook, pace) = notebook(64).await;
    let (mut letters, end) = (system.dead_letters(), notebook.watch());
    notebook.tell(Note::Write(0)).await.unwrap();
    notebook.tell(Note::StopAtOnce).await.unwrap();
    write(&notebook, 1..5).await;
    pace.add_permits(5);
    assert_eq!(end.await, Exit::Stopped);
    assert_eq!(pace.available_permits(), 4, "it went on after its stop");
    let letter = letters.recv().await.unwrap();
    assert_eq!((letter.count, letter.why), (4, DeadLetterReason::Unread(Exit::Stopped)));
}

#[tokio::test]
async fn it_is_the_systems_where_nothing_is_said() {
    let four = NonZeroUsize::new(4).unwrap();
    let system = System::builder("test").throughput(four).start();
    for (throughput, handled) in [(None, 3), (Some(NonZeroUsize::MIN), 0)] {
        let pace = Arc::new(Semaphore::new(5));
        let options = SpawnOptions { throughput, ..SpawnOptions::default() };
        let notebook = system.spawn_with(options, Notebook(pace.clone()), ()).await.unwrap();
        let end = notebook.watch();
        notebook.tell(Note::Stop).await.unwrap();
        write(&notebook, 0..5).await;
        assert_eq!(end.await, Exit::Stopped);
        assert_eq!(pace.available_permits(), 5 - handled, "{throughput:?}");
    }
}

#[tokio::test]
async fn a_stop_by_the_address_ends_a_row_that_is_under_way() {
    let (_system, notebook, pace) = notebook(64).await;
    let end = notebook.watch();
    write(&notebook, 0..5).await;
    while notebook.depth() != Some(4) {
        tokio::task::yield_now().await;
    }
    assert!(notebook.stop());
    pace.add_permits(5);
    assert_eq!(end.await, Exit::Stopped);
    assert_eq!(pace.available_permits(), 4, "it went on after its stop");
}

#[tokio::test]
async fn a_stop_by_ractor_takes_effect_when_the_row_is_done() {
    let (system, notebook, pace) = notebook(4).await;
    let (mut letters, end) = (system.dead_letters(), notebook.watch());
    notebook.tell(Note::Stop).await.unwrap();
    write(&notebook, 0..5).await;
    pace.add_permits(5);
    assert_eq!(end.await, Exit::Stopped);
    assert_eq!(pace.available_permits(), 2, "three were in the row of the stop");
    let letter = letters.recv().await.unwrap();
    assert_eq!((letter.count, letter.why), (2, DeadLetterReason::Unread(Exit::Stopped)));
}

#[tokio::test]
async fn what_waits_in_the_row_of_a_crash_is_lost_and_whoever_asked_is_told() {
    let (system, notebook, _pace) = notebook(64).await;
    let (mut letters, end) = (system.dead_letters(), notebook.watch());
    notebook.tell(Note::Fail).await.unwrap();
    write(&notebook, 0..3).await;
    let answer = notebook.ask_within(Duration::from_secs(60), Note::Read).await;
    assert_eq!(answer, Err(AskError::Closed));
    let failed = Exit::Failed("asked to fail".into());
    assert_eq!(end.await, failed);
    let letter = letters.recv().await.unwrap();
    assert_eq!((letter.count, letter.why), (4, DeadLetterReason::Unread(failed)));
    assert!(matches!(notebook.tell(Note::Fail).await, Err(TellError::Closed(Note::Fail))));
}

#[tokio::test]
async fn a_kill_ends_the_row_at_once() {
    let (system, notebook, _pace) = notebook(64).await;
    let end = notebook.watch();
    write(&notebook, 0..3).await;
    let ask = notebook.ask_within(Duration::from_secs(60), Note::Read);
    let kill = async {
        while notebook.depth() != Some(3) {
            tokio::task::yield_now().await;
        }
        system.shutdown(Duration::ZERO).await;
    };
    let (answer, ()) = tokio::join!(ask, kill);
    assert_eq!((answer, end.await), (Err(AskError::Closed), Exit::Killed));
}

#[tokio::test]
async fn a_row_that_never_waits_keeps_neither_its_thread_nor_a_kill_waiting() {
    for throughput in [2, 16, 17, usize::MAX] {
        let (system, notebook, _pace) = notebook(throughput).await;
        let end = notebook.watch();
        notebook.tell(Note::Again).await.unwrap();
        tokio::task::yield_now().await;
        system.shutdown(Duration::ZERO).await;
        let end = end.await;
        // Between two rows it sees that it was told to stop before.
        let is_told = end == Exit::Stopped && throughput < usize::MAX;
        assert!(end == Exit::Killed || is_told, "{throughput}: {end:?}");
    }
}

#[tokio::test]
async fn a_restarted_actor_starts_with_an_empty_row() {
    let system = System::builder("test").seed(1).start();
    let pace = Arc::new(Semaphore::new(0));
    let options = ChildOptions { throughput: NonZeroUsize::new(64), ..ChildOptions::default() };
    let child = system.child_with("notebook", options, {
        let pace = pace.clone();
        move || (Notebook(pace.clone()), ())
    });
    system.supervise(Supervisor::new("tree", Strategy::OneForOne).child(child)).await.unwrap();
    let notebook = system.whereis::<Note>("notebook").unwrap();
    notebook.tell(Note::Fail).await.unwrap();
    notebook.tell(Note::Write(1)).await.unwrap();
    pace.add_permits(1);
    let answer = notebook.ask(Note::Read).await;
    assert!(matches!(answer, Err(AskError::Closed)), "{answer:?}");
    notebook.tell(Note::Write(2)).await.unwrap();
    assert_eq!(notebook.ask(Note::Read).await, Ok(vec![2]));
}
