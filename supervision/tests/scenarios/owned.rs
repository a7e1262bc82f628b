//! What an incarnation owns is its alone.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef, Message};
use tokio::sync::watch;
use umbel_supervision::{ChildSpec, Event, Happening, Observed, Strategy, Supervisor};

use crate::probe::{SECOND, until};

/// Something that only one may have at a time, such as a file that is locked.
#[derive(Clone, Default)]
struct Treasure {
    owners: Arc<AtomicUsize>,
    shared: Arc<AtomicUsize>,
    lives: Arc<Mutex<Vec<ActorRef<End>>>>,
}

/// An owner of it, who takes a while to give it back.
struct Owned(Treasure);

impl Drop for Owned {
    fn drop(&mut self) {
        let (_keep, nothing) = mpsc::channel::<()>();
        let _ = nothing.recv_timeout(Duration::from_millis(20));
        self.0.owners.fetch_sub(1, Ordering::SeqCst);
    }
}

enum End {
    Fail,
    Panic,
}

impl Message for End {}

impl Actor for Treasure {
    type Msg = End;
    type State = Owned;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<End>, (): ()) -> Result<Owned, ActorProcessingErr> {
        let others = self.owners.fetch_add(1, Ordering::SeqCst);
        self.shared.fetch_add(others, Ordering::SeqCst);
        self.lives.lock().unwrap().push(myself);
        Ok(Owned(self.clone()))
    }

    async fn handle(
        &self,
        _: ActorRef<End>,
        end: End,
        _: &mut Owned,
    ) -> Result<(), ActorProcessingErr> {
        match end {
            End::Fail => Err("as was asked for".into()),
            End::Panic => panic!("as was asked for"),
        }
    }
}

// With threads, the end of an actor can be known before what it owned is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incarnation_begins_only_when_all_that_the_last_one_owned_is_gone() {
    let treasure = Treasure::default();
    let it = ChildSpec::actor("it", {
        let treasure = treasure.clone();
        move || (treasure.clone(), ())
    });
    // Each second end is the inner supervisor's, too: its successor's child comes after the same.
    let inner = Supervisor::new("inner", Strategy::OneForOne).intensity(1, 60 * SECOND).child(it);
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(u32::MAX, SECOND)
        .child(ChildSpec::supervisor("inner", move || inner.clone()))
        .start()
        .await
        .unwrap();
    for ends in 1..=12 {
        let it = treasure.lives.lock().unwrap().last().unwrap().clone();
        match ends % 3 {
            0 => it.send_message(End::Panic).unwrap(),
            1 => it.send_message(End::Fail).unwrap(),
            _ => it.kill(),
        }
        until("its successor is up", async || treasure.lives.lock().unwrap().len() > ends).await;
    }
    root.stop().await;
    assert_eq!(treasure.shared.load(Ordering::SeqCst), 0, "two have had it at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_trees_of_one_declaration_do_not_wait_for_each_other() {
    let treasure = Treasure::default();
    let it = ChildSpec::actor("it", {
        let treasure = treasure.clone();
        move || (treasure.clone(), ())
    });
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(it);
    let (one, other) = (tree.clone().start().await.unwrap(), tree.start().await.unwrap());
    assert_eq!(treasure.owners.load(Ordering::SeqCst), 2);
    one.stop().await;
    other.stop().await;
}

/// An actor whose task goes on after its end, until it is `let_go`.
fn held(treasure: &Treasure, let_go: &watch::Sender<bool>) -> ChildSpec {
    let (treasure, let_go) = (treasure.clone(), let_go.clone());
    ChildSpec::spawned("it", move |supervisor| {
        let (treasure, mut let_go) = (treasure.clone(), let_go.subscribe());
        async move {
            let (it, task) = Actor::spawn_linked(None, treasure, (), supervisor).await?;
            let held = tokio::spawn(async move {
                task.await.unwrap();
                let_go.wait_for(|gone| *gone).await.unwrap();
            });
            Ok((it.get_cell(), held))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn all_trees_of_one_declaration_that_wait_for_the_same_end_hear_of_it() {
    let (treasure, let_go) = (Treasure::default(), watch::Sender::new(false));
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(held(&treasure, &let_go));
    let one = tree.clone().start().await.unwrap();
    let it = treasure.lives.lock().unwrap()[0].clone();
    it.send_message(End::Fail).unwrap();
    // The clock is paused: time passes when all wait.
    tokio::time::sleep(SECOND).await;
    let others = [(); 2].map(|()| tokio::spawn(tree.clone().start()));
    tokio::time::sleep(SECOND).await;
    assert_eq!(treasure.lives.lock().unwrap().len(), 1);
    let_go.send_replace(true);
    until("all are up", async || treasure.lives.lock().unwrap().len() == 4).await;
    one.stop().await;
    for other in others {
        other.await.unwrap().unwrap().stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_for_what_is_left_is_told_once_and_goes_on_when_it_is_gone() {
    let (treasure, let_go) = (Treasure::default(), watch::Sender::new(false));
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(held(&treasure, &let_go));
    let mut events = tree.events();
    let tree = tree.start().await.unwrap();
    treasure.lives.lock().unwrap()[0].send_message(End::Fail).unwrap();
    let mut of_the_child = async || loop {
        match events.next().await {
            Some(Observed::Event(Event { at, child: Some(_), what, .. })) => return (at, what),
            Some(_) => {}
            None => panic!("the tree is up"),
        }
    };
    assert_eq!(of_the_child().await.1, Happening::Started);
    assert!(matches!(of_the_child().await.1, Happening::Ended { .. }));
    let waited = 5 * SECOND;
    assert_eq!(of_the_child().await, (waited, Happening::Lingering { waited }));
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(treasure.lives.lock().unwrap().len(), 1);
    let_go.send_replace(true);
    assert_eq!(of_the_child().await, (105 * SECOND, Happening::Restarted { restarts: 1 }));
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_stops_though_a_start_waits_for_what_is_never_gone() {
    let (treasure, let_go) = (Treasure::default(), watch::Sender::new(false));
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(held(&treasure, &let_go));
    let tree = tree.start().await.unwrap();
    treasure.lives.lock().unwrap()[0].send_message(End::Fail).unwrap();
    tokio::time::sleep(SECOND).await;
    tokio::time::timeout(SECOND, tree.stop()).await.unwrap();
    assert_eq!(treasure.lives.lock().unwrap().len(), 1);
}
