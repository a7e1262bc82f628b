//! Telling, asking, waiting for room, and what becomes of messages when actors end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, DeadLetterReason, Exit, Message,
    Myself, Reply, SpawnError, SpawnOptions, System, TellError,
};

#[derive(Message)]
enum Note {
    Write(u64),
    Read(Reply<Vec<u64>>),
    Hold(Reply<()>),
    Keep(Reply<()>),
    Fail,
    Panic(Reply<()>),
    WhoAmI(Reply<(Address<Note>, System)>),
    ToMyself(u64),
    HandOn(tokio::sync::oneshot::Sender<Reply<()>>, Reply<()>),
    ShutDown,
}

/// Writes down what it is told. Each `Write` waits for a permit of `pace`.
struct Notebook {
    pace: Arc<Semaphore>,
    stop_takes: Duration,
}

impl Notebook {
    fn fast() -> Self {
        Self { pace: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), stop_takes: Duration::ZERO }
    }

    fn paced() -> (Self, Arc<Semaphore>) {
        let pace = Arc::new(Semaphore::new(0));
        (Self { pace: pace.clone(), stop_takes: Duration::ZERO }, pace)
    }
}

#[derive(Default)]
struct Pages {
    written: Vec<u64>,
    kept: Vec<Reply<()>>,
}

impl Actor for Notebook {
    type Msg = Note;
    type State = Pages;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<Pages, ActorProcessingErr> {
        Ok(Pages::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Note>,
        note: Note,
        pages: &mut Pages,
    ) -> Result<(), ActorProcessingErr> {
        match note {
            Note::Write(number) => {
                self.pace.acquire().await?.forget();
                pages.written.push(number);
            }
            Note::Read(reply) => reply.send(pages.written.clone()),
            Note::Hold(_reply) => std::future::pending().await,
            Note::Keep(reply) => pages.kept.push(reply),
            Note::Fail => return Err("asked to fail".into()),
            Note::Panic(_reply) => panic!("asked to panic"),
            Note::WhoAmI(reply) => reply.send((myself.address(), myself.system())),
            Note::HandOn(to, reply) => drop(to.send(reply)),
            Note::ShutDown => drop(myself.system().shutdown(Duration::from_secs(10)).await),
            Note::ToMyself(number) => {
                myself.cast(Note::Write(number))?;
                myself.address().try_tell(Note::Write(number + 1))?;
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Note>, _: &mut Pages) -> Result<(), ActorProcessingErr> {
        tokio::time::sleep(self.stop_takes).await;
        Ok(())
    }
}

async fn notebook(capacity: usize) -> (System, Address<Note>, Arc<Semaphore>) {
    let system = System::builder("test").seed(1).start();
    let (actor, pace) = Notebook::paced();
    let options = SpawnOptions { mailbox_capacity: Some(capacity), ..SpawnOptions::default() };
    let address = system.spawn_with(options, actor, ()).await.unwrap();
    (system, address, pace)
}

/// Fills the mailbox of a paced notebook: one in hands, `capacity` waiting.
async fn fill(address: &Address<Note>, capacity: u64) {
    address.tell(Note::Write(0)).await.unwrap();
    while address.depth() != Some(0) {
        tokio::task::yield_now().await;
    }
    for number in 1..=capacity {
        address.try_tell(Note::Write(number)).unwrap();
    }
    assert_eq!(address.depth(), Some(capacity));
}

#[tokio::test]
async fn messages_arrive_in_the_order_in_which_they_were_told() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    for number in 0..5_000 {
        notebook.tell(Note::Write(number)).await.unwrap();
    }
    assert_eq!(notebook.ask(Note::Read).await.unwrap(), (0..5_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_mailbox_hands_the_message_back_to_try_tell() {
    let (_system, notebook, _pace) = notebook(4).await;
    fill(&notebook, 4).await;
    match notebook.try_tell(Note::Write(99)) {
        Err(TellError::Full(Note::Write(99))) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tell_waits_for_room_and_loses_nothing() {
    let (_system, notebook, pace) = notebook(4).await;
    fill(&notebook, 4).await;
    let sender = tokio::spawn({
        let notebook = notebook.clone();
        async move { notebook.tell(Note::Write(5)).await }
    });
    tokio::task::yield_now().await;
    assert!(!sender.is_finished());
    pace.add_permits(100);
    sender.await.unwrap().unwrap();
    assert_eq!(notebook.ask(Note::Read).await.unwrap(), vec![0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn raw_casts_neither_take_nor_free_places_in_the_mailbox() {
    let (_system, notebook, pace) = notebook(4).await;
    notebook.tell(Note::ToMyself(10)).await.unwrap();
    pace.add_permits(2);
    while notebook.ask(Note::Read).await.unwrap().len() < 2 {}
    assert_eq!(notebook.depth(), Some(0));
    fill(&notebook, 4).await;
    assert!(matches!(notebook.try_tell(Note::Write(0)), Err(TellError::Full(_))));
}

#[tokio::test]
async fn an_actor_that_suspends_lets_senders_use_what_room_there_is() {
    // Capacity 4, three waiting: more than half full, yet there is room for one.
    let (_system, notebook, pace) = notebook(4).await;
    fill(&notebook, 4).await;
    let sender = tokio::spawn({
        let notebook = notebook.clone();
        async move { notebook.tell(Note::Write(5)).await }
    });
    tokio::task::yield_now().await;
    pace.add_permits(1);
    tokio::time::timeout(Duration::from_secs(5), sender).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_ask_whose_actor_panics_on_it_ends_at_once() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let asked = Instant::now();
    let answer = notebook.ask_within(Duration::from_secs(60), Note::Panic).await;
    assert_eq!(answer, Err(AskError::Dropped));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn asks_still_in_the_mailbox_of_a_crashing_actor_end_at_once() {
    let (_system, notebook, pace) = notebook(4).await;
    notebook.tell(Note::Write(0)).await.unwrap();
    notebook.tell(Note::Fail).await.unwrap();
    let ask = notebook.ask_within(Duration::from_secs(60), Note::Read);
    let crash = async { pace.add_permits(1) };
    let (answer, ()) = tokio::join!(ask, crash);
    assert!(matches!(answer, Err(AskError::Closed | AskError::Dropped)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn an_ask_in_the_mailbox_of_a_stopping_actor_does_not_wait_for_post_stop() {
    let system = System::new("test");
    let slow_end = Notebook { stop_takes: Duration::from_secs(3), ..Notebook::paced().0 };
    let pace = slow_end.pace.clone();
    let notebook = system.spawn(slow_end, ()).await.unwrap();
    notebook.tell(Note::Write(0)).await.unwrap();
    let asked = Instant::now();
    let ask = notebook.ask_within(Duration::from_secs(60), Note::Read);
    let stop = async {
        notebook.stop();
        pace.add_permits(1);
    };
    let (answer, ()) = tokio::join!(ask, stop);
    assert_eq!(answer, Err(AskError::Closed));
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_ask_ends_at_its_deadline_and_the_actor_can_see_it() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let within = Duration::from_millis(300);
    let asked = Instant::now();
    let answer = notebook.ask_within(within, Note::Keep).await;
    assert_eq!(answer, Err(AskError::TimedOut(within)));
    assert_eq!(asked.elapsed(), within);
    let (told, reply) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn({
        let notebook = notebook.clone();
        async move {
            notebook
                .ask(|reply: Reply<()>| {
                    told.send(reply).unwrap();
                    Note::Write(1)
                })
                .await
        }
    });
    let reply = reply.await.unwrap();
    assert!(!reply.is_cancelled());
    waiting.abort();
    let _ = waiting.await;
    assert!(reply.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_room_counts_against_the_deadline_of_an_ask() {
    let (_system, notebook, _pace) = notebook(1).await;
    fill(&notebook, 1).await;
    let within = Duration::from_secs(1);
    assert_eq!(notebook.ask_within(within, Note::Read).await, Err(AskError::NoRoom(within)));
}

#[tokio::test]
async fn a_dead_actor_hands_every_message_back() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let end = notebook.watch();
    notebook.stop();
    assert_eq!(end.await, Exit::Stopped);
    assert!(matches!(notebook.tell(Note::Write(7)).await, Err(TellError::Closed(Note::Write(7)))));
    assert!(matches!(notebook.try_tell(Note::Write(8)), Err(TellError::Closed(Note::Write(8)))));
    assert_eq!(notebook.ask(Note::Read).await, Err(AskError::Closed));
    assert_eq!(notebook.watch().await, Exit::NoSuchActor);
    assert!(notebook.is_gone());
}

#[tokio::test]
async fn a_watch_says_why_the_actor_ended() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let end = notebook.watch();
    notebook.tell(Note::Fail).await.unwrap();
    assert_eq!(end.await, Exit::Failed("asked to fail".into()));

    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let end = notebook.watch();
    let _ = notebook.ask(Note::Panic).await;
    assert_eq!(end.await, Exit::Failed("panicked: asked to panic".into()));
}

#[tokio::test]
async fn what_lay_unread_in_a_mailbox_is_reported_as_dead_letters() {
    let (system, notebook, pace) = notebook(8).await;
    let mut letters = system.dead_letters();
    notebook.tell(Note::Write(0)).await.unwrap();
    notebook.tell(Note::Fail).await.unwrap();
    for number in 0..3 {
        notebook.tell(Note::Write(number)).await.unwrap();
    }
    pace.add_permits(1);
    let letter = letters.recv().await.unwrap();
    assert_eq!((letter.count, &*letter.message), (3, "Note"));
    assert_eq!(letter.why, DeadLetterReason::Unread(Exit::Failed("asked to fail".into())));
}

#[tokio::test]
async fn an_actor_knows_its_own_address_and_system_in_its_hooks_only() {
    let system = System::new("home");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let (address, own) = notebook.ask(Note::WhoAmI).await.unwrap();
    assert_eq!(address, notebook);
    assert_eq!(own.name(), "home");
    let (stranger, _task) = Actor::spawn(None, Notebook::fast(), ()).await.unwrap();
    assert!(stranger.try_address().is_none());
    stranger.stop(None);
}

#[tokio::test]
async fn a_name_is_unique_while_its_actor_lives_and_free_afterwards() {
    let system = System::new("test");
    let named = || SpawnOptions { name: Some("notes".into()), ..SpawnOptions::default() };
    let first = system.spawn_with(named(), Notebook::fast(), ()).await.unwrap();
    assert_eq!(system.whereis::<Note>("notes"), Some(first.clone()));
    let taken = system.spawn_with(named(), Notebook::fast(), ()).await;
    assert!(matches!(taken, Err(SpawnError::NameTaken(name)) if name == "notes"));
    let end = first.watch();
    first.stop();
    end.await;
    while system.whereis::<Note>("notes").is_some() {
        tokio::task::yield_now().await;
    }
    system.spawn_with(named(), Notebook::fast(), ()).await.unwrap();
}

struct Stillborn;

impl Actor for Stillborn {
    type Msg = Note;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<(), ActorProcessingErr> {
        Err("no".into())
    }
}

#[tokio::test]
async fn a_failed_start_is_an_error_and_leaves_nothing_behind() {
    let system = System::new("test");
    let named = SpawnOptions { name: Some("stillborn".into()), ..SpawnOptions::default() };
    let failed = system.spawn_with(named, Stillborn, ()).await;
    assert!(matches!(failed, Err(SpawnError::Failed(_))));
    assert!(system.whereis::<Note>("stillborn").is_none());
    assert_eq!(system.top_level_actors(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_and_an_interval_until_it_is_cancelled() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let _once = system.send_after(Duration::from_millis(150), &notebook, Note::Write(100));
    let mut number = 0;
    let often = system.send_interval(Duration::from_millis(100), &notebook, move || {
        number += 1;
        Note::Write(number)
    });
    tokio::time::sleep(Duration::from_millis(350)).await;
    often.cancel();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(notebook.ask(Note::Read).await.unwrap(), vec![1, 100, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_sends_nothing_and_a_timer_ends_with_its_actor() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let cancelled = system.send_after(Duration::from_secs(1), &notebook, Note::Write(1));
    let orphan = system.send_after(Duration::from_secs(3600), &notebook, Note::Write(2));
    cancelled.cancel();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(notebook.ask(Note::Read).await.unwrap(), Vec::<u64>::new());
    notebook.stop();
    while !orphan.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_the_youngest_first_and_kills_who_does_not_stop_in_time() {
    let system = System::new("test");
    let first = system.spawn(Notebook::fast(), ()).await.unwrap();
    let stuck = system.spawn(Notebook::fast(), ()).await.unwrap();
    let last = system.spawn(Notebook::fast(), ()).await.unwrap();
    let _never = tokio::spawn({
        let stuck = stuck.clone();
        async move { stuck.ask_within(Duration::from_secs(600), Note::Hold).await }
    });
    while stuck.depth() != Some(0) {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    let (order, mut ended) = mpsc::unbounded_channel();
    for (name, address) in [("first", &first), ("stuck", &stuck), ("last", &last)] {
        let (order, end) = (order.clone(), address.watch());
        tokio::spawn(async move { order.send((name, end.await)) });
    }
    let report = system.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.stopped, report.killed.len()), (2, 1));
    assert_eq!(ended.recv().await.unwrap(), ("last", Exit::Stopped));
    assert_eq!(ended.recv().await.unwrap(), ("stuck", Exit::Killed));
    assert_eq!(ended.recv().await.unwrap(), ("first", Exit::Stopped));
    let late = system.spawn(Notebook::fast(), ()).await;
    assert!(matches!(late, Err(SpawnError::ShuttingDown(_))));
    system.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_when_the_actor_that_took_the_question_has_ended() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    // The actor takes it and hands the reply on; then it ends, and nobody answers.
    let (hand_on, handed) = tokio::sync::oneshot::channel();
    let within = Duration::from_secs(30);
    let asking = tokio::spawn({
        let notebook = notebook.clone();
        async move { notebook.ask_within(within, |reply| Note::HandOn(hand_on, reply)).await }
    });
    let reply: Reply<()> = handed.await.unwrap();
    let asked = Instant::now();
    let end = notebook.watch();
    notebook.stop();
    end.await;
    assert_eq!(asking.await.unwrap(), Err(AskError::TimedOut(within)));
    assert_eq!(asked.elapsed(), within);
    assert!(reply.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_handed_on_arrives_after_its_actor_has_ended() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let (hand_on, handed) = tokio::sync::oneshot::channel();
    let asking = tokio::spawn({
        let notebook = notebook.clone();
        async move { notebook.ask(|reply| Note::HandOn(hand_on, reply)).await }
    });
    let reply: Reply<()> = handed.await.unwrap();
    let end = notebook.watch();
    notebook.stop();
    end.await;
    reply.send(());
    assert_eq!(asking.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_an_actor_asks_for_goes_on_after_that_actor() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let other = system.spawn(Notebook::fast(), ()).await.unwrap();
    other.tell(Note::ShutDown).await.unwrap();
    system.stopped().await;
    assert!(notebook.is_gone() && other.is_gone());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_that_mix_tells_casts_and_cancelled_tells_leave_an_even_account() {
    let system = System::new("test");
    let notebook = system.spawn(Notebook::fast(), ()).await.unwrap();
    let producers: Vec<_> = (0..8)
        .map(|_| {
            let notebook = notebook.clone();
            tokio::spawn(async move {
                let mut sent = 0;
                for number in 0..10_000 {
                    if number % 5 == 0 {
                        let told = notebook.tell(Note::Write(number));
                        if tokio::time::timeout(Duration::ZERO, told).await.is_ok() {
                            sent += 1;
                        }
                    } else {
                        notebook.tell(Note::Write(number)).await.unwrap();
                        sent += 1;
                    }
                }
                sent
            })
        })
        .collect();
    let mut sent = 0;
    for producer in producers {
        sent += producer.await.unwrap();
    }
    let read = notebook.ask_within(Duration::from_secs(60), Note::Read).await.unwrap();
    assert_eq!(read.len(), sent);
    assert_eq!(notebook.depth(), Some(0));
}
