//! Real processes, killed and stopped by real signals.
//!
//! Each child is this test binary again, told by its environment to be a node.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, AskError, Exit, Message, Reply, TellError,
};
use umbel_cluster::{Authority, Credentials, IssueOptions, Node, NodeConfig, Overwrite};

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Probe {
    Pid(Reply<u32>),
    Hang(Reply<()>),
    Idle,
}

struct Prober;

impl Actor for Prober {
    type Msg = Probe;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Probe>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Probe>,
        probe: Probe,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match probe {
            Probe::Pid(reply) => reply.send(std::process::id()),
            Probe::Hang(_reply) => std::future::pending().await,
            Probe::Idle => {}
        }
        Ok(())
    }
}

const SOON: Duration = Duration::from_secs(20);
const CHILD: &str = "UMBEL_TEST_CHILD";

/// Paces that make silence show within a second and a half.
fn quick() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.peers.ping_interval = Duration::from_millis(200);
    config.peers.silence_max = Duration::from_millis(1500);
    config
}

/// The child's side; a test that does nothing unless the environment says which node to be.
#[test]
fn child() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let [name, directory, seed] = child.split('|').collect::<Vec<_>>()[..] else { panic!() };
    let directory = Path::new(directory);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let credentials = load(directory, name);
        let node = Node::builder()
            .credentials(credentials)
            .listen("127.0.0.1:0")
            .join([seed])
            .config(quick())
            .start()
            .await
            .unwrap();
        let prober = node.spawn(Prober, ()).await.unwrap();
        node.register(name, &prober).await.unwrap();
        // Ends with its parent: the pipe's other end is gone then.
        let closed = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)
        });
        let _ = closed.await;
        node.leave(Duration::from_secs(2)).await;
    });
}

fn load(directory: &Path, name: &str) -> Credentials {
    Credentials::load(
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}-key.pem")),
        directory.join("ca.pem"),
    )
    .unwrap()
}

struct Cluster {
    directory: tempfile::TempDir,
    node: Node,
}

impl Cluster {
    async fn new(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create("shop".parse().unwrap()).unwrap();
        let options = IssueOptions::new();
        for name in names.iter().chain(&["watcher"]) {
            let credentials = authority.issue(&name.parse().unwrap(), &options).unwrap();
            credentials.save(directory.path(), Overwrite::Replace).unwrap();
        }
        let node = Node::builder()
            .credentials(load(directory.path(), "watcher"))
            .listen("127.0.0.1:0")
            .config(quick())
            .start()
            .await
            .unwrap();
        Self { directory, node }
    }

    fn start(&self, name: &str) -> Process {
        let (directory, seed) = (self.directory.path().display(), self.node.address().unwrap());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, format!("{name}|{directory}|{seed}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Process(child)
    }

    async fn until_linked(&self, count: usize) {
        self.until("links", || self.node.linked().len() == count).await;
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let waited = tokio::time::timeout(SOON, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain: {what}; {:?}", self.node.peers().await);
    }
}

/// A child that does not outlive its test.
struct Process(Child);

impl Process {
    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_killed_node_is_down_at_once_and_all_that_was_asked_of_it_ends() {
    let cluster = Cluster::new(&["b"]).await;
    let process = cluster.start("b");
    let prober = cluster.node.resolve_within::<Probe>(SOON, "b").await.unwrap();
    assert_eq!(prober.ask(Probe::Pid).await, Ok(process.0.id()));
    let (asking, end) = (prober.clone(), prober.watch());
    let asking = tokio::spawn(async move { asking.ask_within(SOON, Probe::Hang).await });
    assert!(prober.tell(Probe::Idle).await.is_ok());

    let killed = Instant::now();
    process.signal(rustix::process::Signal::KILL);
    assert_eq!(asking.await.unwrap(), Err(AskError::LinkLost("b".into())));
    assert_eq!(end.await, Exit::NodeDown);
    cluster.until_linked(0).await;
    assert!(killed.elapsed() < Duration::from_millis(1500), "{:?}", killed.elapsed());
    assert!(cluster.node.discover::<Probe>("b").is_empty());
    let told = prober.tell(Probe::Idle).await;
    assert!(matches!(told, Err(TellError::Unreachable { message: Probe::Idle, .. })));
}

#[tokio::test]
async fn a_restarted_node_is_another_incarnation_and_the_old_address_stays_dead() {
    let cluster = Cluster::new(&["b"]).await;
    let first = cluster.start("b");
    let old = cluster.node.resolve_within::<Probe>(SOON, "b").await.unwrap();
    assert_eq!(old.ask(Probe::Pid).await, Ok(first.0.id()));
    let old_life = cluster.node.linked()[0].clone();
    drop(first);
    cluster.until_linked(0).await;
    let second = cluster.start("b");
    cluster.until_linked(1).await;
    let new_life = cluster.node.linked()[0].clone();
    assert!(new_life.incarnation > old_life.incarnation);
    let new = cluster.node.resolve_within::<Probe>(SOON, "b").await.unwrap();
    assert_eq!(new.ask(Probe::Pid).await, Ok(second.0.id()));
    assert_ne!(new, old);
    assert_eq!(old.ask(Probe::Pid).await, Err(AskError::Unreachable("b".into())));
}

#[tokio::test]
async fn a_stopped_process_is_found_silent_within_the_bound_and_links_again_when_it_goes_on() {
    let cluster = Cluster::new(&["b"]).await;
    let process = cluster.start("b");
    let prober = cluster.node.resolve_within::<Probe>(SOON, "b").await.unwrap();
    assert_eq!(prober.ask(Probe::Pid).await, Ok(process.0.id()));
    let stopped = Instant::now();
    process.signal(rustix::process::Signal::STOP);
    cluster.until_linked(0).await;
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    process.signal(rustix::process::Signal::CONT);
    cluster.until_linked(1).await;
    let again = cluster.node.resolve_within::<Probe>(SOON, "b").await.unwrap();
    assert_eq!(again.ask(Probe::Pid).await, Ok(process.0.id()));
}

#[tokio::test]
async fn a_sender_to_a_stopped_process_waits_and_its_memory_stays_flat() {
    let cluster = Cluster::new(&["b"]).await;
    let process = cluster.start("b");
    let prober = cluster.node.resolve_within::<Probe>(SOON, "b").await.unwrap();
    assert_eq!(prober.ask(Probe::Pid).await, Ok(process.0.id()));
    // It hangs in a handler: what is told now lies in its mailbox and uses up the credit.
    let asking = prober.clone();
    let _asking = tokio::spawn(async move { asking.ask_within(SOON, Probe::Hang).await });
    let mut sent = 0_u64;
    let end = loop {
        match prober.try_tell(Probe::Idle) {
            Ok(()) => sent += 1,
            Err(why) => break why,
        }
        // Well beyond the window of 4 MiB, at more than a kibibyte a message.
        assert!(sent < 1_000_000, "nothing bounds what is in flight");
        if sent.is_multiple_of(1024) {
            tokio::task::yield_now().await;
        }
    };
    assert!(matches!(end, TellError::Full(Probe::Idle)), "{end:?}");
    let waiting = prober.clone();
    let waiting = tokio::spawn(async move { waiting.tell(Probe::Idle).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    process.signal(rustix::process::Signal::KILL);
    assert!(matches!(waiting.await.unwrap(), Err(TellError::Unreachable { .. })));
}

#[tokio::test]
async fn fifty_restarts_leave_one_link_and_one_entry() {
    let cluster = Cluster::new(&["b"]).await;
    for round in 0..50 {
        let process = cluster.start("b");
        let id = process.0.id();
        let answered = async {
            // Until the entry of this life is there, the one of the last may be.
            loop {
                let prober = cluster.node.resolve_within::<Probe>(SOON, "b").await.unwrap();
                match prober.ask(Probe::Pid).await {
                    Ok(pid) if pid == id => break,
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        assert!(tokio::time::timeout(SOON, answered).await.is_ok(), "round {round}");
        assert_eq!(cluster.node.linked().len(), 1);
        assert_eq!(cluster.node.discover::<Probe>("b").len(), 1);
        process.signal(rustix::process::Signal::KILL);
    }
    cluster.until_linked(0).await;
    assert!(cluster.node.registry_view().entries.is_empty());
    let report = cluster.node.leave(Duration::from_secs(5)).await;
    assert!(report.killed.is_empty(), "{report:?}");
}
