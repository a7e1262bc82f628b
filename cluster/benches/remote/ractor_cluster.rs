//! Two nodes of ractor_cluster; the actor is found by its process group.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::{
    IncomingEncryptionMode, NetworkStream, NodeServer, NodeServerMessage, RactorClusterMessage,
    client_connect_enc,
};
use tokio::net::TcpListener;

use super::{Payload, Peer, Tally, tls};

#[derive(RactorClusterMessage)]
enum Note {
    Tell(Vec<u8>),
    #[rpc]
    Ask(Vec<u8>, RpcReplyPort<Vec<u8>>),
    #[rpc]
    Counted(u64, RpcReplyPort<u64>),
}

struct State {
    tally: Tally,
    awaited: Option<(u64, RpcReplyPort<u64>)>,
}

impl State {
    fn tell_when_counted(&mut self) {
        if let Some((tells, reply)) =
            self.awaited.take_if(|(tells, _)| *tells <= self.tally.counted())
        {
            reply.send(tells).expect("the asker waits");
        }
    }
}

struct Counter;

impl Actor for Counter {
    type Msg = Note;
    type State = State;
    type Arguments = Tally;

    async fn pre_start(
        &self,
        _: ActorRef<Note>,
        tally: Tally,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { tally, awaited: None })
    }

    async fn handle(
        &self,
        _: ActorRef<Note>,
        note: Note,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match note {
            Note::Tell(payload) => {
                state.tally.count(&Payload(payload));
                state.tell_when_counted();
            }
            Note::Ask(payload, reply) => reply.send(payload)?,
            Note::Counted(tells, reply) => {
                state.awaited = Some((tells, reply));
                state.tell_when_counted();
            }
        }
        Ok(())
    }
}

/// One end. Its own listener takes any free port, which it does not tell; so it is given
/// connections as that listener would.
async fn node(name: &str, files: &Path) -> ActorRef<NodeServerMessage> {
    let server = NodeServer::new(
        0,
        "a cookie".to_owned(),
        name.to_owned(),
        "localhost".to_owned(),
        Some(IncomingEncryptionMode::Tls(tls::acceptor(files))),
        None,
    );
    let server = server.with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Actor::spawn(None, server, ()).await.expect("it starts").0
}

/// ractor keeps groups for the whole process, and the client is one process for all rounds.
fn group(address: &str) -> String {
    format!("counter of {address}")
}

#[derive(Clone)]
pub(crate) struct RactorCluster {
    node: ActorRef<NodeServerMessage>,
    counter: ActorRef<Note>,
}

impl Peer for RactorCluster {
    const NAME: &'static str = "ractor_cluster";
    const SLOWNESS: u64 = 4;

    async fn serve(files: &Path, tally: Tally) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let node = node("server", files).await;
        let (counter, _) = Actor::spawn(None, Counter, tally).await.expect("it starts");
        ractor::pg::join(group(&address), vec![counter.get_cell()]);
        let acceptor = tls::acceptor(files);
        tokio::spawn(async move {
            let (stream, peer_addr) = listener.accept().await.expect("someone comes");
            stream.set_nodelay(true).expect("it is a socket");
            let local_addr = stream.local_addr().expect("it is a socket");
            let stream = acceptor.accept(stream).await.expect("they agree");
            let stream = Box::new(NetworkStream::TlsServer { peer_addr, local_addr, stream });
            let opened = NodeServerMessage::ConnectionOpened { stream, is_server: true };
            node.cast(opened).expect("it lives");
        });
        address
    }

    async fn connect(files: &Path, address: String) -> Self {
        let node = node("client", files).await;
        client_connect_enc(&node, &address, tls::connector(files), tls::server_name())
            .await
            .expect("it listens");
        loop {
            let members = ractor::pg::get_members(&group(&address));
            if let Some(counter) = members.into_iter().find(|actor| !actor.get_id().is_local()) {
                return Self { node, counter: counter.into() };
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn tell(&self, payload: Payload) {
        self.counter.cast(Note::Tell(payload.0)).expect("it lives");
    }

    async fn ask(&self, payload: Payload) -> Payload {
        match self.counter.call(|reply| Note::Ask(payload.0, reply), None).await {
            Ok(CallResult::Success(answer)) => Payload(answer),
            _ => panic!("it answers"),
        }
    }

    async fn counted(&self, tells: u64) {
        let counted = self.counter.call(|reply| Note::Counted(tells, reply), None).await;
        assert!(matches!(counted, Ok(CallResult::Success(_))), "it answers");
    }

    async fn end(self) {
        self.node.stop_and_wait(None, None).await.expect("it stops");
    }
}
