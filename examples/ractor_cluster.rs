//! A program written for `ractor_cluster`, on the links of two nodes, across the kill of one.
//!
//! ```sh
//! cargo run -p umbel-examples --example ractor_cluster
//! ```
//!
//! The counter of a restaurant finds the kitchen's cook by a process group, sends it orders and asks
//! it questions, as any program of ractor_cluster would. The kitchen is a process of its own. It is
//! killed; the question that waits ends, and with the next kitchen the counter goes on. Certificates,
//! failure detection and reconnecting are the nodes'.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;
use umbel_cluster::{Authority, Credentials, IssueOptions, Node, Overwrite};
use umbel_ractor_cluster::RactorCluster;

/// What was written for ractor_cluster. Nothing in it knows of Umbel.
mod restaurant {
    use ractor::{Actor, ActorProcessingErr, ActorRef, RactorErr, RpcReplyPort, call, cast};
    use ractor_cluster::RactorClusterMessage;

    const COOKS: &str = "cooks";

    #[derive(RactorClusterMessage)]
    pub(crate) enum Cook {
        Order(String),
        #[rpc]
        Ready(RpcReplyPort<String>),
        #[rpc]
        WhenDoYouClose(RpcReplyPort<String>),
    }

    struct Chef;

    #[derive(Default)]
    pub(crate) struct Stove {
        dishes: Vec<String>,
        unanswered: Vec<RpcReplyPort<String>>,
    }

    impl Actor for Chef {
        type Msg = Cook;
        type State = Stove;
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<Cook>, (): ()) -> Result<Stove, ActorProcessingErr> {
            Ok(Stove::default())
        }

        async fn handle(
            &self,
            _: ActorRef<Cook>,
            message: Cook,
            stove: &mut Stove,
        ) -> Result<(), ActorProcessingErr> {
            match message {
                Cook::Order(dish) => stove.dishes.push(dish),
                Cook::Ready(reply) => reply.send(stove.dishes.join(" and "))?,
                // A chef does not talk about that.
                Cook::WhenDoYouClose(reply) => stove.unanswered.push(reply),
            }
            Ok(())
        }
    }

    pub(crate) async fn open_kitchen() -> Result<(), ractor::SpawnErr> {
        let (chef, _) = Actor::spawn(None, Chef, ()).await?;
        ractor::pg::join(COOKS.to_owned(), vec![chef.get_cell()]);
        Ok(())
    }

    pub(crate) fn cook() -> Option<ActorRef<Cook>> {
        ractor::pg::get_members(&COOKS.to_owned()).pop().map(Into::into)
    }

    pub(crate) async fn order(
        cook: &ActorRef<Cook>,
        dishes: [&str; 2],
    ) -> Result<String, RactorErr<Cook>> {
        for dish in dishes {
            cast!(cook, Cook::Order(dish.to_owned()))?;
        }
        call!(cook, Cook::Ready)
    }

    pub(crate) async fn ask_when_it_closes(
        cook: ActorRef<Cook>,
    ) -> Result<String, RactorErr<Cook>> {
        call!(cook, Cook::WhenDoYouClose)
    }
}

/// The kitchen's process: this program again.
async fn kitchen(directory: &Path, counter: &str) -> Result<(), Box<dyn Error>> {
    restaurant::open_kitchen().await?;
    let node = Node::builder()
        .credentials(load(directory, "kitchen")?)
        .listen("127.0.0.1:0")
        .join([counter])
        .rider(RactorCluster::new())
        .start()
        .await?;
    // Until the counter is closed, however that happens: the pipe from it ends then.
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    node.leave(Duration::from_secs(1)).await;
    Ok(())
}

fn load(directory: &Path, name: &str) -> Result<Credentials, Box<dyn Error>> {
    let file = |name: String| directory.join(name);
    let (certificate, key) = (file(format!("{name}.pem")), file(format!("{name}-key.pem")));
    Ok(Credentials::load(certificate, key, file("ca.pem".to_owned()))?)
}

fn open(directory: &Path, counter: &Node) -> Result<Child, Box<dyn Error>> {
    let mut kitchen = Command::new(std::env::current_exe()?);
    kitchen.arg(directory).arg(counter.address().ok_or("it listens")?);
    Ok(kitchen.stdin(std::process::Stdio::piped()).kill_on_drop(true).spawn()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let [_, directory, counter] = &std::env::args().collect::<Vec<_>>()[..] {
        return kitchen(Path::new(directory), counter).await;
    }
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let authority = Authority::create("restaurant".parse()?)?;
    for name in ["counter", "kitchen"] {
        let credentials = authority.issue(&name.parse()?, &IssueOptions::new())?;
        credentials.save(directory, Overwrite::Replace)?;
    }
    let lane = RactorCluster::new();
    let counter = Node::builder()
        .credentials(load(directory, "counter")?)
        .listen("127.0.0.1:0")
        .rider(lane.clone())
        .start()
        .await?;

    let mut process = open(directory, &counter)?;
    let first = lane.ready_changed(&[]).await;
    // A peer that is ready has told of its groups.
    let cook = restaurant::cook().ok_or("no cook in the group")?;
    let ready = restaurant::order(&cook, ["soup", "bread"]).await?;
    println!("the first kitchen made {ready}");
    assert_eq!(ready, "soup and bread");

    let asked = tokio::spawn(restaurant::ask_when_it_closes(cook.clone()));
    // Answered after the question has come there.
    restaurant::order(&cook, ["tea", "cake"]).await?;
    let since = Instant::now();
    process.kill().await?;
    let lost = asked.await?;
    println!("the kitchen was killed; the question that waited: {}", lost.unwrap_err());

    let _process = open(directory, &counter)?;
    let mut ready = lane.ready_changed(&first).await;
    while ready.is_empty() {
        ready = lane.ready_changed(&ready).await;
    }
    let took = since.elapsed();
    let cook = restaurant::cook().ok_or("no cook in the group")?;
    let dishes = restaurant::order(&cook, ["rice", "peas"]).await?;
    println!("the second kitchen, ready {took:?} after the kill, made {dishes}");
    assert_eq!(dishes, "rice and peas");
    counter.leave(Duration::from_secs(1)).await;
    println!("the counter closed");
    Ok(())
}
