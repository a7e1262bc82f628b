//! A program written for ractor_cluster, in real processes that are killed and stopped.

mod program;
mod support;

use std::time::Duration;

use ractor::{Actor, ActorRef};
use ractor_cluster::{NetworkStream, NodeServer, NodeServerMessage};
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use support::{LONG, Possessions, Process, Shop};

/// The child's side; a test that does nothing unless the environment says what to be.
#[test]
fn child() {
    let Some(what) = support::child() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match &what.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["umbel", directory, seed] => {
                support::be_node(directory.into(), seed, program::open()).await;
            }
            ["plain", address] => {
                let _till = program::open().await;
                let server = plain_server("b").await;
                let stream = TcpStream::connect(address).await.unwrap();
                plain_connection(&server, stream, false);
                support::parent_lets_go().await;
            }
            other => panic!("{other:?}"),
        }
    });
}

async fn plain_server(name: &str) -> ActorRef<NodeServerMessage> {
    let (cookie, host) = ("a cookie".to_owned(), format!("{name}.host"));
    let server = NodeServer::new(0, cookie, name.to_owned(), host, None, None)
        .with_listen_addr(std::net::Ipv4Addr::LOCALHOST.into());
    Actor::spawn(None, server, ()).await.unwrap().0
}

fn plain_connection(server: &ActorRef<NodeServerMessage>, stream: TcpStream, is_server: bool) {
    let (peer_addr, local_addr) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
    let stream = Box::new(NetworkStream::Raw { peer_addr, local_addr, stream });
    server.cast(NodeServerMessage::ConnectionOpened { stream, is_server }).unwrap();
}

#[tokio::test]
async fn the_program_runs_on_ractor_clusters_own_sockets() {
    // Taken only so that no other test's tills are there.
    let shop = Shop::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let process = Process::start(&format!("plain|{}", listener.local_addr().unwrap()));
    let server = plain_server("a").await;
    plain_connection(&server, listener.accept().await.unwrap().0, true);
    shop.until("a till", || !program::remote().is_empty()).await;
    assert_eq!(program::trade(&program::remote()[0]).await.unwrap(), process.id());
    drop(process);
    shop.until("the till is gone", || program::remote().is_empty()).await;
    server.stop_and_wait(None, None).await.unwrap();
    shop.node.leave(LONG).await;
}

#[tokio::test]
async fn the_program_runs_on_our_links_across_the_kill_and_restart_of_its_peer() {
    let shop = Shop::open().await;
    let first = shop.process();
    shop.until_ready(1).await;
    // Ready means that its actors and groups are known: nothing is to be waited for.
    let till = program::remote().pop().unwrap();
    assert_eq!(program::trade(&till).await.unwrap(), first.id());
    let asked = tokio::spawn({
        let till = till.clone();
        async move { program::wait_for_ever(&till).await }
    });
    let first_life = shop.lane.ready();
    assert_eq!(program::trade(&till).await.unwrap(), first.id());

    first.signal(Signal::KILL);
    assert!(asked.await.unwrap().is_err(), "what was asked of it ends");
    shop.until_ready(0).await;
    shop.until("its actors have left their groups", || program::remote().is_empty()).await;
    assert!(program::trade(&till).await.is_err());

    let second = shop.process();
    shop.until_ready(1).await;
    assert!(shop.lane.ready()[0].incarnation > first_life[0].incarnation);
    assert_eq!(program::trade(&program::remote()[0]).await.unwrap(), second.id());
    assert!(program::trade(&till).await.is_err(), "the old reference stays dead");
    shop.node.leave(LONG).await;
}

#[tokio::test]
async fn a_stopped_process_is_found_by_our_failure_detector_and_is_ready_again_when_it_goes_on() {
    let shop = Shop::open().await;
    let process = shop.process();
    shop.until_ready(1).await;
    let till = program::remote().pop().unwrap();
    process.signal(Signal::STOP);
    let asked = tokio::time::timeout(LONG, program::wait_for_ever(&till)).await;
    assert!(asked.expect("ractor_cluster alone would wait for ever").is_err());
    shop.until_ready(0).await;
    process.signal(Signal::CONT);
    shop.until_ready(1).await;
    assert_eq!(program::trade(&program::remote()[0]).await.unwrap(), process.id());
    shop.node.leave(LONG).await;
}

#[tokio::test]
async fn a_new_life_has_the_lane_at_once_while_the_old_one_hangs() {
    let shop = Shop::open().await;
    let first = shop.process();
    shop.until_ready(1).await;
    let first_life = shop.lane.ready();
    first.signal(Signal::STOP);
    let second = shop.process();
    shop.until("the next life is ready", || {
        let ready = shop.lane.ready();
        ready.len() == 1 && ready != first_life
    })
    .await;
    shop.until("one till", || program::remote().len() == 1).await;
    let tills = program::remote();
    assert_eq!(program::trade(&tills[0]).await.unwrap(), second.id());
    // When it goes on it finds itself fenced.
    first.signal(Signal::CONT);
    shop.until("it was refused", || shop.node.refusals().contains_key("fenced")).await;
    assert_eq!(program::trade(&tills[0]).await.unwrap(), second.id());
    shop.node.leave(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_unclean_restart_the_lane_is_ready_within_two_seconds_and_nothing_piles_up() {
    let shop = Shop::open().await;
    let restarts = std::env::var("UMBEL_RESTARTS").map_or(5, |count| count.parse().unwrap());
    let mut process = shop.process();
    shop.until_ready(1).await;
    let settled = Possessions::now();
    let (mut from_kill, mut from_start) = (Vec::new(), Vec::new());
    for round in 1..=restarts {
        let (before, killed) = (shop.lane.ready(), Instant::now());
        process.signal(Signal::KILL);
        process = shop.process();
        // The new life may be ready before anybody has looked at the end of the old one.
        shop.until("the next life is ready", || {
            let ready = shop.lane.ready();
            ready.len() == 1 && ready != before
        })
        .await;
        from_kill.push(killed.elapsed());
        let started = shop.lane.ready()[0].incarnation.0;
        let now = shop.node.system().clock().now().as_micros() as u64;
        from_start.push(Duration::from_micros(now.saturating_sub(started)));
        shop.until("one till", || program::remote().len() == 1).await;
        let tills = program::remote();
        assert_eq!(program::trade(&tills[0]).await.unwrap(), process.id(), "round {round}");
    }
    println!("of {restarts} restarts, in milliseconds:");
    println!("  kill to ready  {}", figures(&mut from_kill));
    println!("  start to ready {}", figures(&mut from_start));
    let slowest = from_kill.last().unwrap();
    assert!(*slowest <= Duration::from_secs(2), "{slowest:?}");
    settled.again().await;
    shop.node.leave(LONG).await;
}

fn figures(times: &mut [Duration]) -> String {
    times.sort();
    let millis = |at: usize| times[at].as_secs_f64() * 1e3;
    let (median, last) = (times.len() / 2, times.len() - 1);
    format!("min {:.0}, median {:.0}, max {:.0}", millis(0), millis(median), millis(last))
}
