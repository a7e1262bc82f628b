//! An actor, and a question to it.
//!
//! ```sh
//! cargo run -p umbel-examples --example hello
//! ```

use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply, System};

#[derive(Message)]
enum Greet {
    Hello(String, Reply<String>),
}

struct Greeter;

impl Actor for Greeter {
    type Msg = Greet;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Greet>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Greet>,
        Greet::Hello(name, reply): Greet,
        seen: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *seen += 1;
        reply.send(format!("hello {name}, you are #{seen}"));
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new("hello");
    let greeter = system.spawn(Greeter, ()).await?;
    for name in ["Ada", "Grace", "Barbara"] {
        println!("{}", greeter.ask(|reply| Greet::Hello(name.into(), reply)).await?);
    }
    Ok(())
}
