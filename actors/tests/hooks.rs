//! Hooks that are not `async` functions.

use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Exit, Message, Myself, Reply, System};

/// Does its work before it returns a future, not in one.
struct Hasty;

#[derive(Message)]
enum Haste {
    Own(Reply<String>),
    Panic,
}

impl Actor for Hasty {
    type Msg = Haste;
    type State = String;
    type Arguments = ();

    fn pre_start(
        &self,
        myself: ActorRef<Haste>,
        (): (),
    ) -> impl Future<Output = Result<String, ActorProcessingErr>> + Send {
        std::future::ready(Ok(myself.system().name().to_owned()))
    }

    fn handle(
        &self,
        myself: ActorRef<Haste>,
        message: Haste,
        system: &mut String,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        match message {
            Haste::Own(reply) => reply.send(format!("{system}: {}", myself.address())),
            Haste::Panic => panic!("in haste"),
        }
        std::future::ready(Ok(()))
    }
}

#[tokio::test]
async fn a_hook_that_works_before_it_returns_its_future_is_a_hook_like_any_other() {
    let system = System::new("swift");
    let hasty = system.spawn(Hasty, ()).await.unwrap();
    assert_eq!(hasty.ask(Haste::Own).await.unwrap(), format!("swift: {hasty}"));
    let watch = hasty.watch();
    hasty.tell(Haste::Panic).await.unwrap();
    assert_eq!(watch.await, Exit::Failed("panicked: in haste".into()));
}
