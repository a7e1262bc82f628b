//! Certificates change, are revoked and expire, and connections grow old, while nodes work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply};
use umbel_cluster::{
    Authority, CertificateView, CertsError, Credentials, IssueOptions, ListDates, MemoryNetwork,
    Node, NodeConfig, StartError,
};
use umbel_protocol::{Identity, LinkId, PeerState};

const SOON: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Count {
    Next(u64),
    Total(Reply<u64>),
    Slow(Duration, Reply<u64>),
    Echo(Vec<u8>, Reply<Vec<u8>>),
}

/// Counts what comes in order; what is out of order stops it.
struct Counter;

impl Actor for Counter {
    type Msg = Count;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Count>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Count>,
        message: Count,
        total: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Count::Next(number) if number == *total => *total += 1,
            Count::Next(number) => return Err(format!("{number} after {total}").into()),
            Count::Total(reply) => reply.send(*total),
            Count::Echo(bytes, reply) => reply.send(bytes),
            Count::Slow(wait, reply) => {
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    reply.send(7);
                });
            }
        }
        Ok(())
    }
}

fn authority() -> Authority {
    Authority::create("shop".parse().unwrap()).unwrap()
}

fn issue(authority: &Authority, name: &str) -> Credentials {
    authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap()
}

async fn start(credentials: Credentials, seeds: &[&Node], config: NodeConfig) -> Node {
    Node::builder()
        .credentials(credentials)
        .listen("127.0.0.1:0")
        .join(seeds.iter().map(|seed| seed.address().unwrap()))
        .config(config)
        .start()
        .await
        .unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// The link between two nodes, as the first sees it.
async fn link(node: &Node, peer: &Node) -> Option<LinkId> {
    let view = node.peers().await.unwrap();
    let peer = view.peers.into_iter().find(|one| one.name == peer.id().name)?;
    match peer.state {
        PeerState::Linked { link, .. } => Some(link),
        _ => None,
    }
}

/// Why the last link with a peer ended, as a node tells it.
async fn told(node: &Node, peer: &Node) -> String {
    let view = node.peers().await.unwrap();
    let peer = view.peers.into_iter().find(|one| one.name == peer.id().name);
    peer.and_then(|peer| peer.last_error).map(|why| why.to_string()).unwrap_or_default()
}

/// Tells numbers in order and asks, without a pause, until it is stopped; how many it told.
struct Traffic {
    stop: Arc<AtomicBool>,
    told: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn start(counter: &Address<Count>) -> Self {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let teller = tokio::spawn({
            let (stop, told, counter) = (stop.clone(), told.clone(), counter.clone());
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = told.fetch_add(1, Ordering::Relaxed);
                    counter.tell(Count::Next(number)).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        let asker = tokio::spawn({
            let (stop, counter) = (stop.clone(), counter.clone());
            async move {
                while !stop.load(Ordering::Relaxed) {
                    counter.ask(Count::Total).await.unwrap();
                }
            }
        });
        // Many records of TLS, both ways, so that connections end in the middle of it.
        let echoing = (0..2_u8).map(|number| {
            let (stop, counter) = (stop.clone(), counter.clone());
            tokio::spawn(async move {
                let bytes = vec![number; 100 * 1024];
                while !stop.load(Ordering::Relaxed) {
                    let echo = counter.ask(|reply| Count::Echo(bytes.clone(), reply)).await;
                    assert!(echo.unwrap() == bytes);
                }
            })
        });
        let tasks = echoing.chain([teller, asker]).collect();
        Self { stop, told, tasks }
    }

    fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Ends it, and sees that all that was told has arrived, each once and in order.
    async fn end(self, counter: &Address<Count>) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no tell and no ask has failed");
        }
        let told = self.told.load(Ordering::Relaxed);
        assert_eq!(counter.ask(Count::Total).await.unwrap(), told);
        told
    }
}

/// Two nodes, a counter on the first, and its address at the second.
async fn pair(authority: &Authority, config: &NodeConfig) -> (Node, Node, Address<Count>) {
    let a = start(issue(authority, "a"), &[], config.clone()).await;
    let counter = a.spawn(Counter, ()).await.unwrap();
    a.register("counter", &counter).await.unwrap();
    let b = start(issue(authority, "b"), &[&a], config.clone()).await;
    let counter = b.resolve::<Count>("counter").await.unwrap();
    (a, b, counter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_replaced_at_their_age_and_nothing_is_lost_or_interrupted() {
    let shop = authority();
    let config = NodeConfig { link_age_max: Duration::from_secs(2), ..NodeConfig::default() };
    let (a, b, counter) = pair(&shop, &config).await;
    let (first, watch) = (link(&b, &a).await, counter.watch());
    assert!(first.is_some());
    let traffic = Traffic::start(&counter);
    until("each lane is replaced some times", async || b.renewals() >= 6).await;
    assert_eq!(
        link(&b, &a).await,
        first,
        "{} {:?} {:?}",
        told(&b, &a).await,
        a.refusals(),
        b.refusals()
    );
    let told = traffic.end(&counter).await;
    assert!(told > 0);
    assert_eq!(link(&a, &b).await, first);
    assert!(tokio::time::timeout(Duration::from_millis(50), watch).await.is_err());
    assert_eq!((a.refusals().len(), b.refusals().len()), (0, 0), "{:?}", b.refusals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_in_flight_outlives_the_connection_that_it_went_over() {
    let shop = authority();
    let config = NodeConfig { link_age_max: Duration::from_secs(1), ..NodeConfig::default() };
    let (_a, b, counter) = pair(&shop, &config).await;
    let wait = Duration::from_secs(3);
    let asked = counter.ask_within(SOON, |reply| Count::Slow(wait, reply)).await;
    assert_eq!(asked.unwrap(), 7);
    assert!(b.renewals() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_that_did_not_dial_has_its_connections_replaced_too() {
    let shop = authority();
    let young = NodeConfig { link_age_max: Duration::from_secs(2), ..NodeConfig::default() };
    let a = start(issue(&shop, "a"), &[], young).await;
    let b = start(issue(&shop, "b"), &[&a], NodeConfig::default()).await;
    assert!(b.wait_for_peers(1, SOON).await);
    let first = link(&b, &a).await;
    until("b replaces what a finds old", async || b.renewals() >= 4).await;
    assert_eq!(link(&a, &b).await, first);
}

/// Passes connections on to a node until it is closed; those that it has passed on stay.
async fn door(to: &str) -> (String, tokio::sync::oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (listener.local_addr().unwrap().to_string(), to.to_owned());
    let (close, mut closed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut passing = JoinSet::new();
        loop {
            let (mut from, _) = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                _ = &mut closed => break,
            };
            let mut on = TcpStream::connect(&to).await.unwrap();
            passing.spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut on).await });
        }
        drop(listener);
        while passing.join_next().await.is_some() {}
    });
    (address, close)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_cannot_be_replaced_ends_at_its_age_and_both_ends_say_so() {
    let shop = authority();
    let config = NodeConfig { link_age_max: Duration::from_secs(2), ..NodeConfig::default() };
    let a = start(issue(&shop, "a"), &[], config.clone()).await;
    let (through, close) = door(&a.address().unwrap()).await;
    let b = Node::builder().credentials(issue(&shop, "b")).join([through]).config(config);
    let b = b.start().await.unwrap();
    assert!(b.wait_for_peers(1, SOON).await && a.wait_for_peers(1, SOON).await);
    close.send(()).unwrap();
    until("the link ends", async || b.linked().is_empty() && a.linked().is_empty()).await;
    let reasons = [told(&a, &b).await, b.refusals().contains_key("renewal").to_string()];
    assert!(reasons[0].contains("too old"), "{reasons:?}");
    assert_eq!(reasons[1], "true", "each attempt in vain is counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_rotate_under_traffic_without_a_message_lost() {
    let shop = authority();
    let (a, b, counter) = pair(&shop, &NodeConfig::default()).await;
    let first = link(&b, &a).await;
    let traffic = Traffic::start(&counter);
    for round in 1..=3 {
        let (before, of_b) = (b.renewals(), issue(&shop, "b"));
        b.rotate(of_b.clone()).await.unwrap();
        a.rotate(issue(&shop, "a")).await.unwrap();
        assert_eq!(b.credentials().unwrap().certificate_pem(), of_b.certificate_pem());
        until("both lanes are replaced", async || b.renewals() >= before + 2).await;
        let told = traffic.told();
        until("the traffic goes on", async || traffic.told() > told + 10 * round).await;
    }
    traffic.end(&counter).await;
    assert_eq!(link(&b, &a).await, first, "the link has outlived three certificates");
    assert_eq!((a.refusals().len(), b.refusals().len()), (0, 0), "{:?}", b.refusals());
}

#[tokio::test]
async fn a_node_cannot_be_rotated_into_another_nor_where_there_are_no_certificates() {
    let shop = authority();
    let a = start(issue(&shop, "a"), &[], NodeConfig::default()).await;
    let before = a.credentials().unwrap();
    let another = a.rotate(issue(&shop, "c")).await.unwrap_err();
    assert!(matches!(another, CertsError::OtherIdentity { .. }), "{another}");
    let bank = Authority::create("bank".parse().unwrap()).unwrap();
    let elsewhere = a.rotate(issue(&bank, "a")).await.unwrap_err();
    assert!(matches!(elsewhere, CertsError::OtherIdentity { .. }), "{elsewhere}");
    assert_eq!(a.credentials().unwrap().certificate_pem(), before.certificate_pem());

    let identity = Identity::new("shop".parse().unwrap(), "m".parse().unwrap());
    let memory = Node::builder().transport(MemoryNetwork::new().transport(identity));
    let memory = memory.start().await.unwrap();
    assert!(memory.credentials().is_none());
    let unused = memory.rotate(issue(&shop, "m")).await.unwrap_err();
    assert!(matches!(unused, CertsError::NotUsed), "{unused}");
    assert!(matches!(memory.revoke("x.pem").await, Err(CertsError::NotUsed)));
}

fn serial(directory: &TempDir, credentials: &Credentials) -> String {
    let file = directory.path().join("shown.pem");
    std::fs::write(&file, credentials.certificate_pem()).unwrap();
    CertificateView::read(file).unwrap().remove(0).serial
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_loses_its_links_at_once_and_both_ends_say_why() {
    let (shop, directory) = (authority(), TempDir::new().unwrap());
    let (a, b, counter) = pair(&shop, &NodeConfig::default()).await;
    let of_c = issue(&shop, "c");
    let c = start(of_c.clone(), &[&a], NodeConfig::default()).await;
    assert!(a.wait_for_peers(2, SOON).await && b.wait_for_peers(2, SOON).await);
    let (first, traffic) = (link(&b, &a).await, Traffic::start(&counter));

    let list = shop.revocation_list([serial(&directory, &of_c)], &IssueOptions::new()).unwrap();
    let file = directory.path().join("revoked.pem");
    std::fs::write(&file, list).unwrap();
    a.revoke(&file).await.unwrap();
    assert_eq!(a.linked(), [b.id().clone()], "it is gone before `revoke` returns");
    b.revoke(&file).await.unwrap();
    until("c has lost all its links", async || c.linked().is_empty()).await;
    until("c is refused", async || told(&c, &a).await.contains("refused our certificate")).await;
    assert!(told(&c, &a).await.contains("revoked"), "{}", told(&c, &a).await);
    assert!(told(&a, &c).await.contains("revoked"), "{}", told(&a, &c).await);
    assert!(a.refusals().contains_key("untrusted"), "{:?}", a.refusals());
    let refused = async || a.refusals().contains_key("certificate");
    until("the refusal of the one that comes again is counted", refused).await;
    traffic.end(&counter).await;
    assert_eq!(link(&b, &a).await, first, "nobody else was disturbed");

    let broken = directory.path().join("broken.pem");
    std::fs::write(&broken, "nothing").unwrap();
    assert!(matches!(a.revoke(&broken).await, Err(CertsError::Unusable { .. })));
    let empty = shop.revocation_list([""; 0], &IssueOptions::new()).unwrap();
    std::fs::write(&file, empty).unwrap();
    a.revoke(&file).await.unwrap();
    until("c is let in again", async || a.linked().len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_when_the_peers_certificate_expires_unless_it_was_rotated() {
    let shop = authority();
    let short = |name: &str| {
        let options = IssueOptions::new().valid_for(Duration::from_secs(5));
        shop.issue(&name.parse().unwrap(), &options).unwrap()
    };
    let a = start(issue(&shop, "a"), &[], NodeConfig::default()).await;
    let (expiring, rotated) = (
        start(short("b"), &[&a], NodeConfig::default()).await,
        start(short("c"), &[&a], NodeConfig::default()).await,
    );
    assert!(a.wait_for_peers(2, SOON).await);
    let first = link(&a, &rotated).await;
    rotated.rotate(issue(&shop, "c")).await.unwrap();
    let lost = async || !a.linked().contains(&expiring.id());
    until("the link with the expired one ends", lost).await;
    assert!(told(&a, &expiring).await.contains("expired"), "{}", told(&a, &expiring).await);
    until("it is told", async || told(&expiring, &a).await.contains("expired")).await;
    assert_eq!(link(&a, &rotated).await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_past_its_date_is_ignored_or_enforced_as_one_likes() {
    let (shop, directory) = (authority(), TempDir::new().unwrap());
    let file = directory.path().join("revoked.pem");
    let list = |lasts| {
        let options = IssueOptions::new().valid_for(lasts);
        std::fs::write(&file, shop.revocation_list([""; 0], &options).unwrap()).unwrap();
    };
    list(Duration::from_secs(5));
    let lenient = issue(&shop, "a").with_revocation_lists(&file).unwrap();
    let strict = issue(&shop, "b").with_list_dates(ListDates::Enforced);
    let a = start(lenient, &[], NodeConfig::default()).await;
    let b = start(strict.with_revocation_lists(&file).unwrap(), &[], NodeConfig::default()).await;
    let c = start(issue(&shop, "c"), &[&a, &b], NodeConfig::default()).await;
    assert!(c.wait_for_peers(2, SOON).await);
    let with_c = |node: &Node| node.linked().contains(&c.id());
    until("all are linked", async || with_c(&a) && with_c(&b)).await;
    until("b lets go of whom it cannot check", async || !with_c(&b)).await;
    assert!(told(&b, &c).await.contains("revocation list"), "{}", told(&b, &c).await);
    assert!(with_c(&a), "a takes the list for what it says");
    // Setting other dates keeps the lists, and other lists keep the dates.
    list(HOUR);
    b.revoke(&file).await.unwrap();
    until("a newer list helps", async || with_c(&b)).await;
}

#[tokio::test]
async fn an_age_that_is_out_of_bounds_is_refused() {
    for age in [Duration::from_millis(999), Duration::from_secs(366 * 24 * 3600 + 1)] {
        let config = NodeConfig { link_age_max: age, ..NodeConfig::default() };
        let started = Node::builder().credentials(issue(&authority(), "a")).config(config).start();
        assert!(matches!(started.await, Err(StartError::LinkAge(found)) if found == age));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_go_on_over_the_connections_that_replace_theirs() {
    let shop = authority();
    let config = NodeConfig { link_age_max: Duration::from_secs(2), ..NodeConfig::default() };
    let (a, b, counter) = pair(&shop, &config).await;
    let first = link(&b, &a).await;
    let bytes = vec![7; 1 << 20];
    let (mut echoed, before) = (0, b.renewals());
    while b.renewals() < before + 9 {
        let echo = counter.ask_within(SOON, |reply| Count::Echo(bytes.clone(), reply)).await;
        assert!(echo.unwrap() == bytes);
        echoed += 1;
        if echoed == 3 {
            b.rotate(issue(&shop, "b")).await.unwrap();
            a.rotate(issue(&shop, "a")).await.unwrap();
        }
    }
    assert!(first.is_some() && link(&b, &a).await == first, "{}", told(&b, &a).await);
    assert_eq!((a.refusals().len(), b.refusals().len()), (0, 0), "{:?}", b.refusals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_has_no_large_message_delivered_any_more() {
    let (shop, directory) = (authority(), TempDir::new().unwrap());
    let (a, b, counter) = pair(&shop, &NodeConfig::default()).await;
    let asking = |bytes: usize| {
        let counter = counter.clone();
        async move { counter.ask_within(SOON, |reply| Count::Echo(vec![7; bytes], reply)).await }
    };
    // Twice, as the first finds the bulk lane closed.
    for _ in 0..2 {
        assert!(asking(2 << 20).await.unwrap().len() == 2 << 20);
    }
    let under_way = tokio::spawn(asking(32 << 20));
    let of_b = serial(&directory, &b.credentials().unwrap());
    let list = shop.revocation_list([of_b], &IssueOptions::new()).unwrap();
    let file = directory.path().join("revoked.pem");
    std::fs::write(&file, list).unwrap();
    a.revoke(&file).await.unwrap();
    let asked = under_way.await.unwrap();
    assert!(asked.is_err(), "a peer that was let go of was answered");
    assert!(a.linked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_replaced_again_and_again_leave_the_link_as_it_was() {
    let network = MemoryNetwork::new();
    let config = NodeConfig { link_age_max: SOON, ..NodeConfig::default() };
    let start = |name: &str, seeds: &[&str]| {
        let identity = Identity::new("shop".parse().unwrap(), name.parse().unwrap());
        let node = Node::builder().transport(network.transport(identity)).listen(name);
        node.join(seeds.iter().copied()).config(config.clone()).start()
    };
    let a = start("a", &[]).await.unwrap();
    let counter = a.spawn(Counter, ()).await.unwrap();
    a.register("counter", &counter).await.unwrap();
    let b = start("b", &["a"]).await.unwrap();
    let counter = b.resolve::<Count>("counter").await.unwrap();
    let (first, mut watch) = (link(&b, &a).await, counter.watch());
    for number in 0..240 {
        counter.tell(Count::Next(number)).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(10), &mut watch).await.is_err());
    }
    assert_eq!(counter.ask(Count::Total).await.unwrap(), 240);
    assert_eq!(link(&b, &a).await, first);
    // Two lanes, each some 40 to 51 s old when it is replaced.
    let of_two = b.renewals();
    assert!((80..140).contains(&of_two), "{of_two}");
    // And a third, once there is something for it; both ways, from end to end of its connections.
    let bytes = vec![7; 200 << 10];
    for number in 240..480 {
        counter.tell(Count::Next(number)).await.unwrap();
        if number % 8 == 0 {
            let echo = counter.ask(|reply| Count::Echo(bytes.clone(), reply)).await.unwrap();
            assert!(echo == bytes);
        }
        assert!(tokio::time::timeout(Duration::from_secs(10), &mut watch).await.is_err());
    }
    assert_eq!(counter.ask(Count::Total).await.unwrap(), 480);
    assert_eq!(link(&b, &a).await, first);
    // Two lanes come to 120 at most.
    let of_three = b.renewals() - of_two;
    assert!((130..200).contains(&of_three), "{of_three}");
    assert_eq!((a.refusals().len(), b.refusals().len()), (0, 0));
}
