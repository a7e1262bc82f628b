//! Two nodes over mutual TLS: ask, registry, topic, and a stranger that is refused.
//!
//! ```sh
//! cargo run -p umbel-examples --example two_nodes
//! ```
//!
//! Both nodes live in this process, with an authority of their own in memory: nothing is written. In
//! two processes it is the same, with `Node::dev` on one machine, or credentials from `umbel certs`.

use std::error::Error;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, AskError, Message, Reply};
use umbel_cluster::{Authority, Change, IssueOptions, Node};

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Pilot {
    Guide(String, Reply<String>),
}

#[derive(Message, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[message(remote)]
struct Weather {
    wind_knots: u32,
}

struct HarbourPilot;

impl Actor for HarbourPilot {
    type Msg = Pilot;
    type State = u32;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Pilot>, (): ()) -> Result<u32, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Pilot>,
        Pilot::Guide(ship, reply): Pilot,
        berth: &mut u32,
    ) -> Result<(), ActorProcessingErr> {
        *berth += 1;
        reply.send(format!("{ship}, take berth {berth}"));
        Ok(())
    }
}

async fn node(
    authority: &Authority,
    name: &str,
    join: Option<String>,
) -> Result<Node, Box<dyn Error>> {
    let credentials = authority.issue(&name.parse()?, &IssueOptions::new())?;
    let node = Node::builder().credentials(credentials).listen("127.0.0.1:0").join(join);
    Ok(node.start().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let authority = Authority::create("sea".parse()?)?;
    let harbour = node(&authority, "harbour", None).await?;
    let ship = node(&authority, "ship", harbour.address()).await?;

    // Found by name, from wherever.
    let pilot = harbour.spawn(HarbourPilot, ()).await?;
    harbour.register("pilot", &pilot).await?;
    let pilot = ship.resolve::<Pilot>("pilot").await?;
    println!("the ship found {pilot} on node {}", pilot.node().unwrap_or("(its own)"));
    let berth = pilot.ask(|reply| Pilot::Guide("Pequod".into(), reply)).await?;
    println!("asked over mutual TLS: {berth}");
    assert_eq!(berth, "Pequod, take berth 1");

    // A topic reaches whoever subscribed, on every node.
    let mut forecast = ship.topic::<Weather>("weather")?.subscribe()?;
    let station = harbour.topic::<Weather>("weather")?;
    // Interest travels as everything does: publish until it has come.
    while station.publish(Weather { wind_knots: 24 }).await?.nodes == 0 {
        tokio::task::yield_now().await;
    }
    let weather = forecast.recv().await;
    println!("heard on the topic: {weather:?}");
    assert_eq!(weather, Some(Weather { wind_knots: 24 }));

    // The right name and the right cluster, but another authority.
    let forger = Authority::create("sea".parse()?)?;
    let stranger = node(&forger, "ship-2", harbour.address()).await?;
    let why = loop {
        let seeds = stranger.peers().await?.seeds;
        if let Some(why) = seeds.into_iter().find_map(|seed| seed.last_error) {
            break why;
        }
        tokio::task::yield_now().await;
    };
    println!("a stranger was refused; it says: {why}");
    assert!(stranger.linked().is_empty() && harbour.linked().len() == 1);

    // When a node goes, so does what it registered; and whoever asks is told.
    let mut pilots = ship.watch::<Pilot>("pilot");
    harbour.leave(Duration::from_secs(1)).await;
    assert!(matches!(pilots.changed().await, Change::Removed(_)));
    println!("the harbour closed; pilots left: {}", pilots.instances().len());
    let berth = pilot.ask(|reply| Pilot::Guide("Pequod".into(), reply)).await;
    println!("asked again: {berth:?}");
    assert_eq!(berth, Err(AskError::Unreachable("harbour".into())));
    Ok(())
}
