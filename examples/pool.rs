//! A dynamic supervisor as a connection pool.
//!
//! ```sh
//! cargo run -p umbel-examples --example pool
//! ```
//!
//! Each connection is a child of a dynamic supervisor. The pool grows up to its bound and shrinks; a
//! connection that breaks is replaced, and whoever holds its address does not notice; one whose
//! server no longer answers is found by a probe.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Message, Probe, Reply, Supervisor, SupervisorRef,
    System,
};
use umbel_supervision::ChildError;

/// A server that returns each byte plus one, hangs up at 0, and never answers to 255.
async fn serve(listener: TcpListener, connections: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            while let Ok(byte @ 1..) = stream.read_u8().await {
                if byte < u8::MAX && stream.write_u8(byte + 1).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[derive(Message)]
enum Query {
    Next(u8, Reply<u8>),
}

struct Connection {
    server: SocketAddr,
}

impl Actor for Connection {
    type Msg = Query;
    type State = TcpStream;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Query>, (): ()) -> Result<TcpStream, ActorProcessingErr> {
        Ok(TcpStream::connect(self.server).await?)
    }

    async fn handle(
        &self,
        _: ActorRef<Query>,
        Query::Next(byte, reply): Query,
        stream: &mut TcpStream,
    ) -> Result<(), ActorProcessingErr> {
        stream.write_u8(byte).await?;
        reply.send(stream.read_u8().await?);
        Ok(())
    }
}

/// The pool as its users see it.
struct Pool {
    system: System,
    server: SocketAddr,
    connections: SupervisorRef,
    addresses: Vec<Address<Query>>,
    turn: usize,
}

impl Pool {
    async fn start(
        system: &System,
        server: SocketAddr,
        max: usize,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let supervisor = Supervisor::dynamic("connections")
            .children_max(max)
            .intensity(100, Duration::from_secs(1));
        let connections = system.supervise(supervisor).await?;
        Ok(Self { system: system.clone(), server, connections, addresses: Vec::new(), turn: 0 })
    }

    async fn grow(&mut self) -> Result<(), ChildError> {
        let server = self.server;
        let name = format!("connection-{}", self.addresses.len() + 1);
        let probe = Probe::within(Duration::from_millis(200)).every(Duration::from_millis(50));
        let child = self.system.child(name, move || (Connection { server }, ())).probe(probe);
        let address = child.handle().clone();
        self.connections.start_child(child).await?;
        self.addresses.push(address);
        Ok(())
    }

    async fn shrink(&mut self) -> Result<(), ChildError> {
        let name = format!("connection-{}", self.addresses.len());
        self.connections.terminate_child(name).await?;
        self.addresses.pop();
        Ok(())
    }

    /// The connections take turns.
    fn next(&mut self) -> Address<Query> {
        self.turn = (self.turn + 1) % self.addresses.len();
        self.addresses[self.turn].clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let connected = Arc::new(AtomicUsize::new(0));
    tokio::spawn(serve(listener, connected.clone()));

    let system = System::new("client");
    let mut pool = Pool::start(&system, server, 4).await?;
    for _ in 0..4 {
        pool.grow().await?;
    }
    println!("a fifth connection: {}", pool.grow().await.expect_err("four are the bound"));

    for byte in 1..=100 {
        assert_eq!(pool.next().ask(|reply| Query::Next(byte, reply)).await?, byte + 1);
    }
    println!("100 answers over {} connections", connected.load(Ordering::Relaxed));

    for (byte, what) in [(0, "the server hangs up"), (u8::MAX, "the server does not answer")] {
        let connection = pool.next();
        let life = connection.watch();
        let failed = connection.ask(|reply| Query::Next(byte, reply)).await;
        println!("{what}: {}", failed.expect_err("there is no answer"));
        println!("the connection {}", life.await);
        // The same address, another connection.
        assert_eq!(connection.ask(|reply| Query::Next(1, reply)).await?, 2);
    }
    println!("{}", pool.connections.snapshot().await?);
    assert_eq!(connected.load(Ordering::Relaxed), 6, "two were replaced");

    pool.shrink().await?;
    println!("{} connections are left", pool.connections.count_children().await?.active);
    println!("{}", system.shutdown(Duration::from_secs(1)).await);
    Ok(())
}
