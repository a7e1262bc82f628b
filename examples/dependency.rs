//! A tree that survives a failing dependency, with back-off.
//!
//! ```sh
//! cargo run -p umbel-examples --example dependency
//! ```
//!
//! A shop quotes prices that it gets from a price service over TCP. The service goes down and comes
//! back. Meanwhile the actor that holds the connection is started again and again, after longer and
//! longer waits; the shop serves what needs no prices all along, and in the end quotes prices again,
//! at the same address.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, AskError, Backoff, Message, Reply, Strategy, Supervisor,
    System,
};
use umbel_supervision::{Happening, Observed};

/// The price service: answers each line with the number of its letters. While it is down, it hangs
/// up on whoever calls or is connected.
async fn price_service(listener: TcpListener, up: watch::Receiver<bool>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut up = up.clone();
        if !*up.borrow() {
            continue;
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = up.wait_for(|up| !up) => {}
                _ = serve(stream) => {}
            }
        });
    }
}

async fn serve(stream: TcpStream) -> Result<(), Error> {
    let mut stream = BufStream::new(stream);
    stream.write_all(b"ready\n").await?;
    stream.flush().await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(format!("{}\n", line.trim().len()).as_bytes()).await?;
        stream.flush().await?;
        line.clear();
    }
    Ok(())
}

#[derive(Message)]
enum Prices {
    Quote(String, Reply<u32>),
}

/// Holds the connection. Without one it is of no use, so it ends: that there will be another is the
/// supervisor's business.
struct PriceClient {
    service: SocketAddr,
}

impl Actor for PriceClient {
    type Msg = Prices;
    type State = BufStream<TcpStream>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Prices>,
        (): (),
    ) -> Result<BufStream<TcpStream>, ActorProcessingErr> {
        let mut stream = BufStream::new(TcpStream::connect(self.service).await?);
        read_line(&mut stream).await?;
        Ok(stream)
    }

    async fn handle(
        &self,
        _: ActorRef<Prices>,
        Prices::Quote(item, reply): Prices,
        stream: &mut BufStream<TcpStream>,
    ) -> Result<(), ActorProcessingErr> {
        stream.write_all(format!("{item}\n").as_bytes()).await?;
        stream.flush().await?;
        reply.send(read_line(stream).await?.parse()?);
        Ok(())
    }
}

async fn read_line(stream: &mut BufStream<TcpStream>) -> Result<String, Error> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(Error::new(ErrorKind::UnexpectedEof, "the price service hung up")),
        _ => Ok(line.trim_end().to_owned()),
    }
}

#[derive(Message)]
enum Shop {
    Hours(Reply<&'static str>),
}

struct Clerk;

impl Actor for Clerk {
    type Msg = Shop;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Shop>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Shop>,
        Shop::Hours(reply): Shop,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        reply.send("nine to five");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let service = listener.local_addr()?;
    let (switch, up) = watch::channel(true);
    tokio::spawn(price_service(listener, up));

    let system = System::new("shop");
    let backoff = Backoff::exponential(Duration::from_millis(20), Duration::from_millis(200));
    let prices = system.child("prices", move || (PriceClient { service }, ())).backoff(backoff);
    let clerk = system.child("clerk", || (Clerk, ()));
    let (quotes, desk) = (prices.handle().clone(), clerk.handle().clone());
    // Enough restarts for as long as the service may be away: beyond them the shop itself gives up.
    let shop = Supervisor::new("shop", Strategy::OneForOne)
        .intensity(1_000, Duration::from_secs(60))
        .child(prices)
        .child(clerk);
    let shop = system.supervise(shop).await?;
    let mut events = shop.events();

    let quote = || quotes.ask(|reply| Prices::Quote("kettle".into(), reply));
    println!("a kettle is {}", quote().await?);

    println!("the price service goes down");
    switch.send(false)?;
    // It may answer once more before it hangs up.
    let failed: AskError = loop {
        if let Err(why) = quote().await {
            break why;
        }
    };
    println!("a kettle: {failed}");

    // The supervisor waits longer and longer between its attempts, and serves the others meanwhile.
    let mut failed_starts = 0;
    while failed_starts < 3 {
        let Some(Observed::Event(event)) = events.next().await else { break };
        failed_starts += u32::from(matches!(event.what, Happening::StartFailed { .. }));
        println!("{event}");
    }
    println!("the shop is open {}", desk.ask(Shop::Hours).await?);
    println!("{}", shop.snapshot().await?);

    println!("the price service is back");
    switch.send(true)?;
    // Waits until there is somebody to ask, for at most the deadline of an ask.
    println!("a kettle is {}", quote().await?);

    println!("{}", system.shutdown(Duration::from_secs(1)).await);
    Ok(())
}
