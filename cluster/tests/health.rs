//! What becomes of actors that cannot be given work, as other nodes see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Message, Reply, Strategy, Supervisor,
};
use umbel_cluster::{
    Change, Health, HealthCheck, HealthConfig, LeastLoaded, MemoryNetwork, Node, Offer, Query,
    RegisterError, ResolveError,
};
use umbel_protocol::Identity;

/// Time is paused: it passes when all there is to do is done.
const LONG: Duration = Duration::from_secs(600);
/// What the network and the runtime take of it.
const A_MOMENT: Duration = Duration::from_millis(10);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Job {
    Work(Duration),
    Life(Reply<u64>),
}

/// Does nothing else while it works.
struct Worker(u64);

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
            Job::Work(time) => tokio::time::sleep(time).await,
            Job::Life(reply) => reply.send(self.0),
        }
        Ok(())
    }
}

/// Two linked nodes, and a worker on `a`.
struct Pair {
    a: Node,
    b: Node,
    worker: Address<Job>,
}

impl Pair {
    async fn new() -> Self {
        let network = MemoryNetwork::new();
        let a = start(&network, "a", &[]).await;
        let b = start(&network, "b", &["a"]).await;
        assert!(b.wait_for_peers(1, LONG).await);
        let worker = a.spawn(Worker(1), ()).await.unwrap();
        Self { a, b, worker }
    }

    async fn register(&self, offer: Offer) {
        self.a.register_with("worker", &self.worker, offer).await.unwrap();
    }

    /// How `b` sees it, once that is so.
    async fn is_seen(&self, health: Health) {
        let mut all = self.b.watch::<Job>(Query::name("worker").whatever_health());
        let seen = async {
            while all.instances().first().is_none_or(|it| it.health != health) {
                all.changed().await;
            }
        };
        timeout(LONG, seen).await.unwrap_or_else(|_| panic!("never {health}: {all:?}"));
    }

    fn found(&self) -> usize {
        self.b.discover::<Job>("worker").len()
    }
}

async fn start(network: &MemoryNetwork, name: &str, seeds: &[&str]) -> Node {
    let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
    let transport = network.transport(identity);
    let builder = Node::builder().transport(transport).listen(name).join(seeds.iter().copied());
    builder.start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stuck_actor_leaves_discovery_within_two_intervals_and_comes_back_when_it_gets_on() {
    let pair = Pair::new().await;
    pair.register(Offer::default()).await;
    let mut discovery = pair.b.watch::<Job>("worker");
    if discovery.instances().is_empty() {
        assert!(matches!(discovery.changed().await, Change::Added(_)));
    }
    for _ in 0..5 {
        let stuck = Instant::now();
        pair.worker.tell(Job::Work(Duration::from_secs(60))).await.unwrap();
        assert!(matches!(discovery.changed().await, Change::Removed(_)));
        let took = stuck.elapsed();
        assert!(took <= 2 * HealthConfig::default().interval + A_MOMENT, "{took:?}");
        assert_eq!(pair.found(), 0);
        pair.is_seen(Health::Unhealthy).await;
        assert!(matches!(discovery.changed().await, Change::Added(_)));
        let took = stuck.elapsed();
        assert!(took <= Duration::from_secs(60) + HealthConfig::default().interval + A_MOMENT);
        // Another phase of the interval each time.
        tokio::time::sleep(Duration::from_millis(1_700)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_is_busy_for_less_than_its_time_stays() {
    let pair = Pair::new().await;
    pair.register(Offer::default()).await;
    pair.is_seen(Health::Healthy).await;
    let mut discovery = pair.b.watch::<Job>("worker");
    for _ in 0..100 {
        pair.worker.tell(Job::Work(Duration::from_millis(900))).await.unwrap();
    }
    let changed = timeout(Duration::from_secs(80), discovery.changed()).await;
    assert!(changed.is_err(), "{changed:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_name_is_told_that_nobody_there_is_healthy() {
    let pair = Pair::new().await;
    pair.register(Offer::default()).await;
    pair.worker.tell(Job::Work(LONG)).await.unwrap();
    pair.is_seen(Health::Unhealthy).await;
    let waited = Duration::from_secs(1);
    let answer = pair.b.resolve_within::<Job>(waited, "worker").await;
    let why = ResolveError::NotHealthy { name: "worker".into(), registered: 1, waited };
    assert_eq!(answer.err(), Some(why));
}

#[tokio::test(start_paused = true)]
async fn ones_own_check_decides_and_an_actor_is_starting_until_it_passes() {
    let pair = Pair::new().await;
    let is_ready = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU64::new(0));
    let check = HealthCheck::custom({
        let (is_ready, asked) = (is_ready.clone(), asked.clone());
        move || {
            let (is_ready, asked) = (is_ready.clone(), asked.clone());
            async move {
                asked.fetch_add(1, Ordering::Relaxed);
                is_ready.load(Ordering::Relaxed)
            }
        }
    });
    let health = HealthConfig { passes: 2, ..HealthConfig::default() };
    pair.register(Offer { check, health, ..Offer::default() }).await;
    pair.is_seen(Health::Starting).await;
    assert_eq!(pair.found(), 0);
    is_ready.store(true, Ordering::Relaxed);
    pair.is_seen(Health::Healthy).await;
    assert_eq!(pair.found(), 1);
    is_ready.store(false, Ordering::Relaxed);
    pair.is_seen(Health::Unhealthy).await;
    // What is taken back is asked no more.
    pair.a.unregister("worker", &pair.worker).await;
    let before = asked.load(Ordering::Relaxed);
    tokio::time::sleep(LONG).await;
    assert_eq!(asked.load(Ordering::Relaxed), before);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_fails_and_harms_nobody_else() {
    let pair = Pair::new().await;
    let check = HealthCheck::custom(|| async { panic!("on purpose") });
    pair.register(Offer { check, ..Offer::default() }).await;
    pair.is_seen(Health::Unhealthy).await;
    pair.register(Offer::default()).await;
    pair.is_seen(Health::Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_fails_and_is_dropped() {
    let pair = Pair::new().await;
    let running = Arc::new(());
    let check = HealthCheck::custom({
        let running = running.clone();
        move || {
            let running = running.clone();
            async move {
                std::future::pending::<()>().await;
                drop(running);
                true
            }
        }
    });
    pair.register(Offer { check, ..Offer::default() }).await;
    pair.is_seen(Health::Unhealthy).await;
    tokio::time::sleep(LONG).await;
    // Ours, the check's, and at most the one that runs just now.
    assert!(Arc::strong_count(&running) <= 3, "{}", Arc::strong_count(&running));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_is_not_checked_is_healthy_whatever_it_does() {
    let pair = Pair::new().await;
    pair.register(Offer { check: HealthCheck::None, ..Offer::default() }).await;
    pair.is_seen(Health::Healthy).await;
    pair.worker.tell(Job::Work(LONG)).await.unwrap();
    tokio::time::sleep(LONG / 2).await;
    assert_eq!(pair.found(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_child_is_restarted_by_its_supervisor_where_that_is_wanted() {
    let Pair { a, b, .. } = Pair::new().await;
    let lives = Arc::new(AtomicU64::new(0));
    let child = a.system().child("child", {
        let lives = lives.clone();
        move || (Worker(lives.fetch_add(1, Ordering::Relaxed) + 1), ())
    });
    let address = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
    let _tree = a.system().supervise(tree).await.unwrap();
    let health = HealthConfig { restart_unhealthy: true, ..HealthConfig::default() };
    a.register_with("child", &address, Offer { health, ..Offer::default() }).await.unwrap();
    let remote = b.resolve::<Job>("child").await.unwrap();
    let mut discovery = b.watch::<Job>("child");
    let stuck = Instant::now();
    remote.tell(Job::Work(LONG)).await.unwrap();
    assert!(matches!(discovery.changed().await, Change::Removed(_)));
    assert!(matches!(discovery.changed().await, Change::Added(_)));
    assert!(stuck.elapsed() <= 3 * HealthConfig::default().interval + A_MOMENT);
    assert_eq!(remote.ask(Job::Life).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_draining_actor_is_given_no_more_work_and_can_be_seen() {
    let pair = Pair::new().await;
    pair.register(Offer::default()).await;
    let remote = pair.b.resolve::<Job>("worker").await.unwrap();
    assert!(pair.a.drain("worker", &pair.worker).await);
    pair.is_seen(Health::Draining).await;
    assert_eq!(pair.found(), 0);
    let view = pair.b.registry_view();
    assert_eq!(view.entries[0].entry.health(), Health::Draining);
    assert_eq!(remote.ask(Job::Life).await, Ok(1), "what has its address still reaches it");
    tokio::time::sleep(LONG).await;
    assert_eq!(pair.found(), 0, "it stays so");
    pair.register(Offer::default()).await;
    pair.is_seen(Health::Healthy).await;
    assert!(!pair.a.drain("nobody", &pair.worker).await);
    pair.register(Offer { check: HealthCheck::None, ..Offer::default() }).await;
    assert!(pair.a.drain("worker", &pair.worker).await);
    pair.is_seen(Health::Draining).await;
}

#[tokio::test(start_paused = true)]
async fn health_that_cannot_be_checked_so_is_refused_and_nothing_is_registered() {
    let pair = Pair::new().await;
    let health = HealthConfig { failures: 0, ..HealthConfig::default() };
    for check in [HealthCheck::Mailbox, HealthCheck::None] {
        let offer = Offer { check, health: health.clone(), ..Offer::default() };
        let refused = pair.a.register_with("worker", &pair.worker, offer).await;
        assert!(matches!(refused, Err(RegisterError::Health(_))), "{refused:?}");
    }
    let refused = pair.a.register("", &pair.worker).await;
    assert!(matches!(refused, Err(RegisterError::NoName)));
    assert!(pair.a.registry_view().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_goes_to_whoever_has_least_to_do() {
    let Pair { a, b, worker: busy } = Pair::new().await;
    let idle = a.spawn(Worker(2), ()).await.unwrap();
    for worker in [&busy, &idle] {
        // It is to be picked by load alone.
        let offer = Offer { check: HealthCheck::None, ..Offer::default() };
        a.register_with("worker", worker, offer).await.unwrap();
    }
    for _ in 0..100 {
        busy.tell(Job::Work(Duration::from_secs(1))).await.unwrap();
    }
    let mut workers = b.watch::<Job>("worker");
    let loaded = async {
        while b.discover::<Job>("worker").iter().all(|it| it.load.messages_least() < 64) {
            tokio::time::sleep(A_MOMENT).await;
        }
    };
    timeout(LONG, loaded).await.unwrap();
    for _ in 0..20 {
        let address = workers.pick(&mut LeastLoaded).unwrap().address.clone();
        assert_eq!(address.ask(Job::Life).await, Ok(2));
    }
    let evened_out = async {
        while b.discover::<Job>("worker").iter().any(|it| it.load.messages_least() > 0) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(LONG, evened_out).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn checks_end_with_their_node() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let pair = Pair::new().await;
    for name in ["one", "other"] {
        let check = HealthCheck::custom(std::future::pending);
        let offer = Offer { check, ..Offer::default() };
        pair.a.register_with(name, &pair.worker, offer).await.unwrap();
    }
    tokio::time::sleep(A_MOMENT).await;
    pair.a.system().shutdown(Duration::ZERO).await;
    pair.b.leave(Duration::from_secs(1)).await;
    let ended = async {
        while tasks() > before {
            tokio::time::sleep(A_MOMENT).await;
        }
    };
    timeout(LONG, ended).await.expect("every task has ended");
}
