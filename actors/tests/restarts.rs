//! Addresses over restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, AskError, Backoff, Exit, Message, Reply, Restart,
    Strategy, Supervisor, System, TellError,
    supervision::{Happening, Observed},
};

#[derive(Message)]
enum Order {
    Life(Reply<u64>),
    Crash,
    CrashOn(Reply<()>),
}

/// Knows which of its lives this is.
struct Phoenix(Arc<AtomicU64>);

impl Actor for Phoenix {
    type Msg = Order;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    async fn handle(
        &self,
        _: ActorRef<Order>,
        order: Order,
        life: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Life(reply) => reply.send(*life),
            Order::Crash => return Err("told to".into()),
            Order::CrashOn(_reply) => panic!("told to"),
        }
        Ok(())
    }
}

fn phoenix() -> impl Fn() -> (Phoenix, ()) + Send + Sync + 'static {
    let lives = Arc::new(AtomicU64::new(0));
    move || (Phoenix(lives.clone()), ())
}

#[tokio::test]
async fn an_address_works_on_after_its_actor_was_restarted() {
    let system = System::new("test");
    let child = system.child("phoenix", phoenix());
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .intensity(10, Duration::from_secs(5))
        .child(child);
    let _tree = system.supervise(tree).await.unwrap();
    for life in 1..=5 {
        assert_eq!(address.ask(Order::Life).await, Ok(life));
        let end = address.watch();
        address.tell(Order::Crash).await.unwrap();
        assert_eq!(end.await, Exit::Failed("told to".into()));
    }
    assert_eq!(system.whereis::<Order>("phoenix"), Some(address));
    let report = system.shutdown(Duration::from_secs(5)).await;
    assert!(report.killed.is_empty());
}

#[tokio::test]
async fn an_ask_in_the_hands_of_a_crashing_actor_ends_at_once_and_the_next_one_is_answered() {
    let system = System::new("test");
    let child = system.child("phoenix", phoenix());
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
    let _tree = system.supervise(tree).await.unwrap();
    let asked = tokio::time::Instant::now();
    let answer = address.ask_within(Duration::from_secs(60), Order::CrashOn).await;
    assert_eq!(answer, Err(AskError::Dropped));
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(address.ask(Order::Life).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn between_two_lives_tell_waits_and_try_tell_says_so() {
    let system = System::new("test");
    let child =
        system.child("phoenix", phoenix()).backoff(Backoff::constant(Duration::from_secs(3)));
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
    let _tree = system.supervise(tree).await.unwrap();
    let end = address.watch();
    address.tell(Order::Crash).await.unwrap();
    end.await;
    assert!(matches!(address.try_tell(Order::Crash), Err(TellError::Restarting(_))));
    let within = Duration::from_secs(1);
    let early = address.ask_within(within, Order::Life).await;
    assert_eq!(early, Err(AskError::NoRoom(within)));
    assert_eq!(address.ask(Order::Life).await, Ok(2));
}

#[tokio::test]
async fn a_child_that_is_not_restarted_leaves_a_closed_address() {
    let system = System::new("test");
    let child = system.child("phoenix", phoenix()).restart(Restart::Temporary);
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
    let _tree = system.supervise(tree).await.unwrap();
    address.tell(Order::Crash).await.unwrap();
    // The second one waits, as the child might come back, until it is known that it will not.
    let mut told = address.tell(Order::Crash).await;
    while told.is_ok() {
        told = address.tell(Order::Crash).await;
    }
    assert!(matches!(told, Err(TellError::Closed(Order::Crash))));
    assert!(address.is_gone());
}

#[tokio::test]
async fn a_supervisor_that_gives_up_closes_its_childrens_addresses() {
    let system = System::new("test");
    let child = system.child("phoenix", phoenix());
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .intensity(0, Duration::from_secs(5))
        .child(child);
    let _tree = system.supervise(tree).await.unwrap();
    address.tell(Order::Crash).await.unwrap();
    let answer = address.ask_within(Duration::from_secs(60), Order::Life).await;
    assert!(matches!(answer, Err(AskError::Closed | AskError::Dropped)), "{answer:?}");
    while system.whereis::<Order>("phoenix").is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_child_whose_name_is_taken_does_not_start_and_the_supervisor_says_so() {
    let system = System::new("test");
    let first = system.child("phoenix", phoenix());
    let second = system.child("phoenix", phoenix());
    assert!(second.handle().is_gone());
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(second);
    let failed = system.supervise(tree).await.unwrap_err();
    let mut text = failed.to_string();
    let mut source = std::error::Error::source(&failed);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert!(text.contains("phoenix") && text.contains("already registered"), "{text}");
    drop(first);
}

#[tokio::test]
async fn what_happens_under_a_system_can_be_seen_from_the_first_start() {
    let system = System::new("test");
    let _first = system.child("taken", phoenix());
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .child(system.child("phoenix", phoenix()))
        .child(system.child("taken", phoenix()));
    let mut events = tree.events();
    let failed = system.supervise(tree).await;
    assert!(failed.is_err(), "the name is taken");
    let mut seen = Vec::new();
    while let Some(Observed::Event(event)) = events.next().await {
        seen.push(event.what);
    }
    let [Happening::Started, Happening::StartFailed { reason }, rest @ ..] = &*seen else {
        panic!("{seen:?}");
    };
    assert!(reason.contains("taken"), "{reason}");
    let stopped = Happening::Stopped { killed: false };
    assert_eq!(rest, [stopped.clone(), stopped]);
    system.shutdown(Duration::from_secs(10)).await;
}

/// Something that only one may have at a time, and whose owner takes a while to give it back.
struct Owned(Arc<AtomicUsize>);

impl Drop for Owned {
    fn drop(&mut self) {
        let (_keep, nothing) = std::sync::mpsc::channel::<()>();
        let _ = nothing.recv_timeout(Duration::from_millis(20));
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Message)]
struct GiveUp;

struct Owner {
    owners: Arc<AtomicUsize>,
    lives: tokio::sync::mpsc::UnboundedSender<usize>,
}

impl Actor for Owner {
    type Msg = GiveUp;
    type State = Owned;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<GiveUp>, (): ()) -> Result<Owned, ActorProcessingErr> {
        let others = self.owners.fetch_add(1, Ordering::SeqCst);
        self.lives.send(others).unwrap();
        Ok(Owned(self.owners.clone()))
    }

    async fn handle(
        &self,
        _: ActorRef<GiveUp>,
        GiveUp: GiveUp,
        _: &mut Owned,
    ) -> Result<(), ActorProcessingErr> {
        Err("as was asked for".into())
    }
}

// With threads, the end of an actor can be known before what it owned is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_begins_only_when_all_that_the_last_one_owned_is_gone() {
    let system = System::new("owners");
    let (owners, (lives, mut begun)) = (Arc::default(), tokio::sync::mpsc::unbounded_channel());
    let child = system.child("it", move || {
        let (owners, lives) = (Arc::clone(&owners), lives.clone());
        (Owner { owners, lives }, ())
    });
    let it = child.handle().clone();
    let root = Supervisor::new("root", Strategy::OneForOne);
    system.supervise(root.intensity(u32::MAX, Duration::from_secs(1)).child(child)).await.unwrap();
    for _ in 0..12 {
        assert_eq!(begun.recv().await, Some(0), "two have had it at a time");
        it.tell(GiveUp).await.unwrap();
    }
    system.shutdown(Duration::from_secs(5)).await;
}
