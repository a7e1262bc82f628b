//! Ten nodes, each a process of its own, over mutual TLS: they find one another, and who dies, hangs
//! or is cut off is known everywhere in time.
//!
//! Each child is this test binary again, told by its environment to be a node. `UMBEL_MEASURE` makes
//! the tests take longer and tell more; see each.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply};
use umbel_cluster::{
    Authority, ByteStream, Connection, Credentials, Incoming, IssueOptions, Listener, MemberChange,
    Node, NodeConfig, Overwrite, TcpTransport, Transport, TransportError,
};
use umbel_protocol::{Identity, MemberState};

const CHILD: &str = "UMBEL_TEST_MEMBER";

/// Nothing here takes so long, not even on a machine that does much else.
const SOON: Duration = Duration::from_secs(60);

/// Whether the tests take longer and tell more.
fn measures() -> bool {
    std::env::var_os("UMBEL_MEASURE").is_some()
}

/// A member: its name, its life, and how it is.
type Seen = (String, u64, MemberState);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Ask {
    /// Which life this is, and all members.
    Members(Reply<(u64, Vec<Seen>)>),
    /// How often somebody was suspect since the start.
    Suspicions(Reply<u64>),
    /// The processor time that the process has used, in microseconds.
    Cpu(Reply<u64>),
    /// Something, of some size, to be given back.
    Load(Vec<u8>, Reply<Vec<u8>>),
}

struct Witness(Node);

impl Actor for Witness {
    type Msg = Ask;
    type State = Arc<std::sync::atomic::AtomicU64>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let suspicions = Self::State::default();
        let (mut members, counted) = (self.0.watch_members(), suspicions.clone());
        tokio::spawn(async move {
            loop {
                if let MemberChange::Is(event) = members.changed().await
                    && event.state == MemberState::Suspect
                {
                    counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        Ok(suspicions)
    }

    async fn handle(
        &self,
        _: ActorRef<Ask>,
        ask: Ask,
        suspicions: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match ask {
            Ask::Members(reply) => {
                let members = self.0.peers().await?.members.into_iter();
                let members = members.map(|it| {
                    let node = it.member.node;
                    (node.name.to_string(), node.incarnation.0, it.state)
                });
                reply.send((self.0.id().incarnation.0, members.collect()));
            }
            Ask::Suspicions(reply) => {
                reply.send(suspicions.load(std::sync::atomic::Ordering::Relaxed));
            }
            Ask::Cpu(reply) => {
                let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
                reply.send((used.tv_sec * 1_000_000 + used.tv_nsec / 1000).cast_unsigned());
            }
            Ask::Load(bytes, reply) => reply.send(bytes),
        }
        Ok(())
    }
}

/// The child's side; a test that does nothing unless the environment says which node to be.
#[test]
fn child() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let [name, directory, seed] = child.split('|').collect::<Vec<_>>()[..] else { panic!() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (node, _) = start(Path::new(directory), name, Some(seed)).await;
        let closed = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line)
        });
        // Its parent is gone when the pipe's other end is.
        let _ = closed.await;
        node.leave(Duration::from_secs(2)).await;
    });
}

async fn start(directory: &Path, name: &str, seed: Option<&str>) -> (Node, Address<Ask>) {
    let credentials = Credentials::load(
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}-key.pem")),
        directory.join("ca.pem"),
    );
    let transport =
        Severed { tcp: TcpTransport::new(&credentials.unwrap()), cut: Cut::new(directory, name) };
    let node = Node::builder().transport(transport).listen("127.0.0.1:0").join(seed);
    let node = node.role("witness").version("1").start().await.unwrap();
    let witness = node.spawn(Witness(node.clone()), ()).await.unwrap();
    node.register(name, &witness).await.unwrap();
    (node, witness)
}

/// A child that does not outlive its test.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
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

/// Nodes of which the first is this process, and the others are processes of their own.
struct Cluster {
    directory: tempfile::TempDir,
    node: Node,
    _witness: Address<Ask>,
    processes: Vec<Option<Process>>,
}

fn name(number: usize) -> String {
    format!("n{number}")
}

impl Cluster {
    async fn new(nodes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create("ten".parse().unwrap()).unwrap();
        for number in 0..nodes {
            let name = name(number).parse().unwrap();
            let credentials = authority.issue(&name, &IssueOptions::new()).unwrap();
            credentials.save(directory.path(), Overwrite::Replace).unwrap();
        }
        let (node, witness) = start(directory.path(), "n0", None).await;
        Self { directory, node, _witness: witness, processes: vec![None] }
    }

    fn start(&mut self, number: usize) {
        let (directory, seed) = (self.directory.path().display(), self.node.address().unwrap());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, format!("{}|{directory}|{seed}", name(number)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while self.processes.len() <= number {
            self.processes.push(None);
        }
        self.processes[number] = Some(Process(child));
    }

    /// What one of them says of all members.
    async fn members(&self, number: usize) -> Option<(u64, Vec<Seen>)> {
        let witness = self.node.discover::<Ask>(&name(number)).into_iter().next()?;
        witness.address.ask_within(Duration::from_secs(2), Ask::Members).await.ok()
    }

    /// Waits until each of `witnesses` says what `holds` of its members; how long it took.
    async fn until(
        &self,
        what: &str,
        witnesses: &[usize],
        holds: impl Fn(&[Seen]) -> bool,
    ) -> Duration {
        let since = Instant::now();
        for number in witnesses {
            loop {
                let members = self.members(*number).await;
                if members.as_ref().is_some_and(|(_, members)| holds(members)) {
                    break;
                }
                assert!(since.elapsed() < SOON, "{what}, as n{number} sees it: {members:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        since.elapsed()
    }

    /// Cuts those of even numbers off from those of odd ones, or mends that.
    fn cut(&self, cut: bool) {
        let file = self.directory.path().join(CUT);
        if cut { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }
}

fn alive(members: &[Seen]) -> usize {
    members.iter().filter(|(_, _, state)| *state == MemberState::Alive).count()
}

fn is(members: &[Seen], number: usize, state: MemberState) -> bool {
    members.iter().any(|(known, _, how)| *known == name(number) && *how == state)
}

fn life(members: &[Seen], number: usize) -> Option<u64> {
    members.iter().find(|(known, _, _)| *known == name(number)).map(|(_, life, _)| *life)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_find_one_another_and_agree_on_who_is_down() {
    const ALL: [usize; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let mut cluster = Cluster::new(10).await;
    for number in 1..3 {
        cluster.start(number);
    }
    cluster.until("three meet", &ALL[..3], |members| alive(members) == 2).await;
    if measures() {
        println!("idle, among 3: {:.2} ms of processor time a second", idle(&cluster, 1).await);
    }
    for number in 3..10 {
        cluster.start(number);
    }
    let took = cluster.until("all see all", &ALL, |members| alive(members) == 9).await;
    println!("seven join three, and all see all, within {took:?}");
    if measures() {
        println!("idle, among 10: {:.2} ms of processor time a second", idle(&cluster, 1).await);
    }

    cluster.processes[9].as_ref().unwrap().signal(Signal::KILL);
    let down = |members: &[_]| is(members, 9, MemberState::Down);
    let took = cluster.until("a killed one is down", &ALL[..9], down).await;
    println!("SIGKILL is known everywhere after {took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");

    let before = life(&cluster.members(0).await.unwrap().1, 8).unwrap();
    cluster.processes[8].as_ref().unwrap().signal(Signal::STOP);
    let down = |members: &[_]| is(members, 8, MemberState::Down);
    let took = cluster.until("a stopped one is down", &ALL[..8], down).await;
    println!("SIGSTOP is known everywhere after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    cluster.processes[8].as_ref().unwrap().signal(Signal::CONT);
    let back = |members: &[_]| {
        is(members, 8, MemberState::Alive) && life(members, 8).is_some_and(|life| life > before)
    };
    let took = cluster.until("it comes back as a later life", &ALL[..8], back).await;
    println!("SIGCONT brings it back as a new incarnation after {took:?}");

    cluster.start(9);
    let took = cluster.until("all see all again", &ALL, |members| alive(members) == 9).await;
    println!("a restarted one is seen by all after {took:?}");
    let mut lives = Vec::new();
    for number in ALL {
        lives.push(cluster.members(number).await.unwrap().0);
    }
    cluster.cut(true);
    // Nobody can ask the other half, which finds out in the same time.
    let mended = Instant::now() + 2 * NodeConfig::default().peers.silence_max;
    let even = |members: &[_]| {
        alive(members) == 4 && (1..10).step_by(2).all(|odd| is(members, odd, MemberState::Down))
    };
    let took = cluster.until("one half takes the other for down", &[0, 2, 4, 6, 8], even).await;
    println!("a partition of 5/5 is known after {took:?}");
    tokio::time::sleep_until(mended).await;
    cluster.cut(false);
    let took = cluster.until("the partition heals", &ALL, |members| alive(members) == 9).await;
    println!("and heals after {took:?}");
    let mut renewed = 0;
    for number in ALL {
        renewed += usize::from(cluster.members(number).await.unwrap().0 != lives[number]);
    }
    assert_eq!(renewed, 5, "one half has begun anew, and only that");
    for number in ALL {
        let (_, members) = cluster.members(number).await.unwrap();
        assert_eq!(members.len(), 9, "nobody is left over at n{number}: {members:?}");
    }
}

/// The processor time, in milliseconds a second, that a node uses that has nothing to do.
async fn idle(cluster: &Cluster, number: usize) -> f64 {
    let witness = cluster.node.resolve::<Ask>(&name(number)).await.unwrap();
    let (since, before) = (Instant::now(), witness.ask(Ask::Cpu).await.unwrap());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let used = witness.ask(Ask::Cpu).await.unwrap() - before;
    used as f64 / 1000.0 / since.elapsed().as_secs_f64()
}

/// Three seconds, or sixty where it is measured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_suspect_while_the_data_lane_is_saturated_both_ways() {
    let mut cluster = Cluster::new(2).await;
    cluster.start(1);
    cluster.until("two meet", &[0, 1], |members| alive(members) == 1).await;
    let there = cluster.node.resolve::<Ask>("n1").await.unwrap();
    let time = Duration::from_secs(if measures() { 60 } else { 3 });
    let until = Instant::now() + time;
    let callers = (0..64).map(|_| {
        let there = there.clone();
        tokio::spawn(async move {
            let mut answered = 0_u64;
            while Instant::now() < until {
                let load = |reply| Ask::Load(vec![0; 1024], reply);
                assert_eq!(there.ask_within(SOON, load).await.unwrap().len(), 1024);
                answered += 1;
            }
            answered
        })
    });
    let answered = futures_util::future::join_all(callers.collect::<Vec<_>>()).await;
    let answered: u64 = answered.into_iter().map(Result::unwrap).sum();
    println!("{answered} times 1 KiB there and back in {time:?}");
    for number in [0, 1] {
        let witness = cluster.node.resolve::<Ask>(&name(number)).await.unwrap();
        assert_eq!(witness.ask(Ask::Suspicions).await, Ok(0), "n{number} has suspected somebody");
    }
}

const CUT: &str = "cut";

/// Whether a node is cut off from another just now: while a file is there, even numbers from odd ones.
#[derive(Clone)]
struct Cut {
    file: PathBuf,
    me: usize,
}

impl Cut {
    fn new(directory: &Path, name: &str) -> Self {
        Self { file: directory.join(CUT), me: number(name) }
    }

    fn is_cut(&self, other: usize) -> bool {
        self.me % 2 != other % 2 && self.file.exists()
    }
}

fn number(name: &str) -> usize {
    name[1..].parse().unwrap()
}

/// TCP with TLS over which nothing comes through while the nodes are cut off from each other: neither
/// bytes nor the end of the connection.
struct Severed {
    tcp: TcpTransport,
    cut: Cut,
}

impl Transport for Severed {
    fn identity(&self) -> &Identity {
        self.tcp.identity()
    }

    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let (listening, cut) = (self.tcp.listen(address), self.cut.clone());
        Box::pin(async move {
            let listener: Box<dyn Listener> =
                Box::new(SeveredListener { inner: listening.await?, cut });
            Ok(listener)
        })
    }

    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>> {
        let (dialling, cut) = (self.tcp.dial(address), self.cut.clone());
        Box::pin(async move { severed(dialling.await?, cut).await })
    }
}

async fn severed(connection: Connection, cut: Cut) -> Result<Connection, TransportError> {
    let Connection { stream, peer, address, proof } = connection;
    let other = number(peer.node.as_str());
    if cut.is_cut(other) {
        // Whoever waits for this has a deadline.
        std::future::pending::<()>().await;
    }
    let stream = Box::new(SeveredStream { inner: stream, cut, other });
    Ok(Connection { stream, peer, address, proof })
}

struct SeveredListener {
    inner: Box<dyn Listener>,
    cut: Cut,
}

impl Listener for SeveredListener {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Incoming, TransportError>> {
        let cut = self.cut.clone();
        let accepting = self.inner.accept();
        Box::pin(async move {
            let incoming = accepting.await?;
            let from = incoming.from().to_owned();
            let handshake = async move { severed(incoming.handshake().await?, cut).await };
            Ok(Incoming::new(from, Box::pin(handshake)))
        })
    }
}

struct SeveredStream {
    inner: Box<dyn ByteStream>,
    cut: Cut,
    other: usize,
}

impl AsyncRead for SeveredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.is_cut(self.other) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SeveredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cut.is_cut(self.other) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_cut(self.other) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
