//! A tree that survives crashes, with back-off, and addresses that outlive them.
//!
//! ```sh
//! cargo run -p umbel-examples --example supervised
//! ```
//!
//! A till crashes whenever a bill is to be shared among nobody. Its supervisor starts it again, each
//! time after a longer wait; the customers keep their address and notice no more than that. What has
//! to outlive a crash, the day's takings, is in the hands of another actor.

use std::time::Duration;

use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, Backoff, Message, Reply, Strategy,
    Supervisor, System,
};

#[derive(Message)]
enum Ledger {
    Take(u64, Reply<u64>),
}

/// Keeps the day's takings.
struct Bookkeeper;

impl Actor for Bookkeeper {
    type Msg = Ledger;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ledger>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Ledger>,
        Ledger::Take(pence, reply): Ledger,
        takings: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *takings += pence;
        reply.send(*takings);
        Ok(())
    }
}

#[derive(Message)]
enum Till {
    /// Answers with the takings so far.
    Sell(u64, Reply<u64>),
    /// Answers with each one's share.
    Share(u64, u64, Reply<u64>),
}

struct Cashier {
    ledger: Address<Ledger>,
}

impl Actor for Cashier {
    type Msg = Till;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Till>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Till>,
        message: Till,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // The ledger answers the customer: the reply travels on.
            Till::Sell(pence, reply) => self.ledger.tell(Ledger::Take(pence, reply)).await?,
            Till::Share(pence, among, reply) => {
                reply.send(pence.checked_div(among).ok_or("a bill shared among nobody")?);
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new("shop");
    let ledger = system.child("ledger", || (Bookkeeper, ()));
    let book = ledger.handle().clone();
    let till = system
        .child("till", move || (Cashier { ledger: book.clone() }, ()))
        .backoff(Backoff::exponential(Duration::from_millis(20), Duration::from_secs(1)));
    let customer = till.handle().clone();
    let shop = Supervisor::new("shop", Strategy::OneForOne)
        .intensity(5, Duration::from_secs(5))
        .child(ledger)
        .child(till);
    let shop = system.supervise(shop).await?;

    for round in 1..=3 {
        let takings = customer.ask(|reply| Till::Sell(250, reply)).await?;
        println!("sold for 2.50; the takings are {takings}");
        assert_eq!(takings, 250 * round, "what the ledger holds outlives the till's crashes");

        let life = customer.watch();
        let share = customer.ask(|reply| Till::Share(1000, 0, reply)).await;
        println!("shared a bill among nobody: {}", share.expect_err("it has no answer"));
        // The asker may know of the crash before the till's mailbox is closed: what came into it in
        // between would end with it, as `Closed`. Once this life is over, the next question waits
        // until the till is open again. The address is still the same.
        println!("the till {}", life.await);
        let share = customer.ask(|reply| Till::Share(1000, 4, reply)).await;
        println!("shared it among four: {share:?}");
        assert_eq!(share, Ok::<u64, AskError>(250));
    }

    let tree = shop.snapshot().await?;
    println!("\n{tree}");
    let till = tree.children.iter().find(|child| &*child.name == "till");
    assert_eq!(till.map(|till| till.restarts), Some(3), "one restart for each crash");

    let report = system.shutdown(Duration::from_secs(1)).await;
    assert!(report.killed.is_empty(), "all stopped when they were asked to");
    Ok(())
}
