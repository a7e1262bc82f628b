//! Questions that nobody waits for any more, and what a handler knows of who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, ChildOptions, Exit, Message, Reply,
    Strategy, Supervisor, System,
};

#[derive(Message)]
enum Work {
    /// Begun when the door is opened.
    Wait,
    Told(Option<Reply<u64>>),
    Asked(Reply<u64>),
    /// Asks for two.
    Both(Reply<u64>, Reply<u64>),
    TimeLeft(Reply<(Option<Instant>, Option<Duration>)>),
    /// Asks itself through another, for as long as its own asker waits.
    Through(Address<Work>, Reply<Result<u64, AskError>>),
    Fail,
}

/// Counts what it begins.
#[derive(Clone)]
struct Worker {
    door: Arc<Semaphore>,
    begun: Arc<AtomicU64>,
}

impl Worker {
    fn new() -> Self {
        Self { door: Arc::new(Semaphore::new(0)), begun: Arc::default() }
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    fn open(&self) {
        self.door.add_permits(1);
    }
}

impl Actor for Worker {
    type Msg = Work;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Work>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Work>,
        work: Work,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match work {
            Work::Wait => {
                self.door.acquire().await?.forget();
                return Ok(());
            }
            Work::Fail => {
                self.door.acquire().await?.forget();
                return Err("told to".into());
            }
            Work::Through(other, reply) => {
                let within = reply.remaining().expect("it is of this machine");
                reply.send(other.ask_within(within, Work::Asked).await);
                return Ok(());
            }
            Work::TimeLeft(reply) => {
                let left = (reply.deadline(), reply.remaining());
                reply.send(left);
                return Ok(());
            }
            Work::Asked(reply) => reply.send(self.begun() + 1),
            Work::Told(reply) => drop(reply),
            Work::Both(one, other) => {
                one.send(1);
                other.send(2);
            }
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(60);

async fn busy() -> (System, Worker, Address<Work>) {
    let system = System::new("test");
    let worker = Worker::new();
    let address = system.spawn(worker.clone(), ()).await.unwrap();
    address.tell(Work::Wait).await.unwrap();
    holds(&address, 0).await;
    (system, worker, address)
}

/// Waits until so many messages are in the mailbox.
async fn holds(address: &Address<Work>, messages: u64) {
    while address.depth() != Some(messages) {
        tokio::task::yield_now().await;
    }
}

/// Lets the worker come to the end of what it was sent.
async fn finish(worker: &Worker, address: &Address<Work>) {
    worker.open();
    address.ask_within(LONG, Work::TimeLeft).await.unwrap();
}

/// Asks in a task of its own, and sees the question into the mailbox.
async fn ask(
    address: &Address<Work>,
    within: Duration,
    question: impl FnOnce(Reply<u64>) -> Work + Send + 'static,
) -> tokio::task::JoinHandle<Result<u64, AskError>> {
    let (depth, asking) = (address.depth().unwrap(), address.clone());
    let asked = tokio::spawn(async move { asking.ask_within(within, question).await });
    holds(address, depth + 1).await;
    asked
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_late_is_not_begun_and_those_around_it_are() {
    let (_system, worker, address) = busy().await;
    let before = ask(&address, LONG, Work::Asked).await;
    let late = ask(&address, SHORT, Work::Asked).await;
    let after = ask(&address, LONG, Work::Asked).await;
    assert_eq!(late.await.unwrap(), Err(AskError::TimedOut(SHORT)));
    finish(&worker, &address).await;
    assert_eq!((before.await.unwrap(), after.await.unwrap()), (Ok(1), Ok(2)));
    assert_eq!(worker.begun(), 2);
    // And what is asked later is begun as ever.
    assert_eq!(address.ask(Work::Asked).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_asker_is_gone_is_not_begun() {
    let (_system, worker, address) = busy().await;
    let gone = ask(&address, LONG, Work::Asked).await;
    let stays = ask(&address, LONG, Work::Asked).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    finish(&worker, &address).await;
    assert_eq!(stays.await.unwrap(), Ok(1));
    assert_eq!(worker.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_told_is_begun_whoever_waits() {
    let (_system, worker, address) = busy().await;
    address.tell(Work::Told(None)).await.unwrap();
    let gone = ask(&address, SHORT, Work::Asked).await;
    address.tell(Work::Told(None)).await.unwrap();
    gone.await.unwrap().unwrap_err();
    finish(&worker, &address).await;
    assert_eq!(worker.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_reply_in_a_question_that_is_dropped_says_that_it_came_too_late() {
    let (_system, worker, address) = busy().await;
    let (other, helper) = (Worker::new(), System::new("helper"));
    let asked = helper.spawn(other, ()).await.unwrap();
    let to = address.clone();
    // One question holds the reply to another one.
    let outer = tokio::spawn(async move {
        let inner = Mutex::new(None);
        let outer = asked.ask_within(LONG, |one| {
            *inner.lock() = Some(one);
            Work::Told(None)
        });
        let mut outer = std::pin::pin!(outer);
        assert!(futures_util::poll!(outer.as_mut()).is_pending());
        let one = inner.lock().take().expect("the question was made");
        let both = to.ask_within(SHORT, |two| Work::Both(one, two));
        assert_eq!(both.await, Err(AskError::TimedOut(SHORT)));
        outer.await
    });
    holds(&address, 1).await;
    advance(2 * SHORT).await;
    finish(&worker, &address).await;
    assert_eq!(outer.await.unwrap(), Err(AskError::TimedOut(LONG)));
    assert_eq!(worker.begun(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_how_long_its_asker_waits_and_bounds_by_it_what_it_asks() {
    let system = System::new("test");
    let address = system.spawn(Worker::new(), ()).await.unwrap();
    let left = address.ask_within(LONG, Work::TimeLeft).await;
    assert_eq!(left, Ok((Some(Instant::now() + LONG), Some(LONG))));
    let (_other_system, _other, hung) = busy().await;
    let begun = Instant::now();
    let asked = address.ask_within(SHORT, |reply| Work::Through(hung.clone(), reply)).await;
    assert!(asked.is_err() || asked == Ok(Err(AskError::TimedOut(SHORT))), "{asked:?}");
    // The handler is through with it as soon as its asker is.
    address.ask(Work::Asked).await.unwrap();
    assert!(begun.elapsed() <= 2 * SHORT, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_kept_for_the_next_life_is_not_begun_there_once_it_is_late() {
    let system = System::new("test");
    let worker = Worker::new();
    let made = worker.clone();
    let options = ChildOptions { keep_unread: true, ..ChildOptions::default() };
    let child = system.child_with("worker", options, move || (made.clone(), ()));
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
    let _tree = system.supervise(tree).await.unwrap();
    address.tell(Work::Fail).await.unwrap();
    address.tell(Work::Wait).await.unwrap();
    holds(&address, 1).await;
    let late = ask(&address, SHORT, Work::Asked).await;
    let stays = ask(&address, LONG, Work::Asked).await;
    let end = address.watch();
    worker.open();
    assert_eq!(end.await, Exit::Failed("told to".into()));
    // Late only when it lies in the mailbox of the second life.
    holds(&address, 2).await;
    assert_eq!(late.await.unwrap(), Err(AskError::TimedOut(SHORT)));
    finish(&worker, &address).await;
    assert_eq!(stays.await.unwrap(), Ok(1));
    assert_eq!(worker.begun(), 1);
}

#[test]
fn questions_that_are_not_begun_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (_system, worker, address) = busy().await;
            for _ in 0..3 {
                ask(&address, SHORT, Work::Asked).await;
            }
            advance(2 * SHORT).await;
            finish(&worker, &address).await;
        });
    });
    let skipped = snapshotter.snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| {
        let DebugValue::Counter(count) = value else { return None };
        (key.key().name() == "umbel_questions_skipped_total").then_some(count)
    });
    assert_eq!(skipped, Some(3));
}
