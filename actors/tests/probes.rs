//! Actors that are asked by their supervisor whether they get on with their work.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Message, Probe, Reply, Strategy, Supervisor,
    SupervisorRef, System,
};

#[derive(Message)]
enum Job {
    Work(Duration),
    Hang,
    Done(Reply<()>),
}

struct Worker;

impl Actor for Worker {
    type Msg = Job;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Job>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Job>,
        job: Job,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match job {
            Job::Work(time) => sleep(time).await,
            Job::Hang => pending().await,
            Job::Done(reply) => reply.send(()),
        }
        Ok(())
    }
}

async fn worker(system: &System, probe: Option<Probe>) -> (SupervisorRef, Address<Job>) {
    let mut child = system.child("worker", || (Worker, ()));
    if let Some(probe) = probe {
        child = child.probe(probe);
    }
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
    (system.supervise(tree).await.unwrap(), address)
}

const PROBE: Probe = Probe::within(Duration::from_secs(2)).every(Duration::from_secs(1));

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_restarted_after_the_stated_time() {
    let system = System::new("test");
    let (tree, address) = worker(&system, Some(PROBE)).await;
    let (begun, life) = (Instant::now(), address.watch());
    address.tell(Job::Hang).await.unwrap();
    life.await;
    let took = begun.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&took), "{took:?}");
    address.ask(Job::Done).await.unwrap();
    let child = &tree.which_children().await.unwrap()[0];
    assert_eq!(child.restarts, 1);
    assert!(child.last_failure.as_deref().is_some_and(|why| why.contains("2s")), "{child}");
}

#[tokio::test(start_paused = true)]
async fn one_that_works_off_a_long_queue_and_one_that_has_nothing_to_do_are_left_alone() {
    let system = System::new("test");
    let (tree, address) = worker(&system, Some(PROBE)).await;
    for _ in 0..60 {
        address.tell(Job::Work(Duration::from_millis(1_500))).await.unwrap();
    }
    address.ask_within(Duration::from_secs(100), Job::Done).await.unwrap();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(tree.which_children().await.unwrap()[0].restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn unless_a_probe_is_declared_one_that_hangs_is_left_alone() {
    let system = System::new("test");
    let (tree, address) = worker(&system, None).await;
    address.tell(Job::Hang).await.unwrap();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(tree.which_children().await.unwrap()[0].restarts, 0);
}
