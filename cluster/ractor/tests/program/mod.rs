//! A program written for ractor_cluster. It knows nothing of Umbel, nor of any network.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call, call_t, cast};
use ractor_cluster::RactorClusterMessage;

const TILLS: &str = "tills";

#[derive(RactorClusterMessage)]
pub(crate) enum Till {
    Take(u64),
    #[rpc]
    Total(RpcReplyPort<u64>),
    #[rpc]
    Process(RpcReplyPort<u32>),
    #[rpc]
    Never(RpcReplyPort<u64>),
}

struct Clerk;

#[derive(Default)]
pub(crate) struct Drawer {
    total: u64,
    ignored: Vec<RpcReplyPort<u64>>,
}

impl Actor for Clerk {
    type Msg = Till;
    type State = Drawer;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Till>, (): ()) -> Result<Drawer, ActorProcessingErr> {
        Ok(Drawer::default())
    }

    async fn handle(
        &self,
        _: ActorRef<Till>,
        message: Till,
        drawer: &mut Drawer,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Till::Take(amount) => drawer.total += amount,
            Till::Total(reply) => reply.send(drawer.total)?,
            Till::Process(reply) => reply.send(std::process::id())?,
            Till::Never(reply) => drawer.ignored.push(reply),
        }
        Ok(())
    }
}

/// Opens a till that all nodes find by its process group.
pub(crate) async fn open() -> ActorRef<Till> {
    let (till, _) = Actor::spawn(None, Clerk, ()).await.unwrap();
    ractor::pg::join(TILLS.to_owned(), vec![till.get_cell()]);
    till
}

/// The tills of other nodes.
pub(crate) fn remote() -> Vec<ActorRef<Till>> {
    let members = ractor::pg::get_members(&TILLS.to_owned());
    members.into_iter().filter(|till| !till.get_id().is_local()).map(Into::into).collect()
}

/// Takes some money at a till of another node; whose process that is.
pub(crate) async fn trade(till: &ActorRef<Till>) -> Result<u32, ractor::RactorErr<Till>> {
    let before = call!(till, Till::Total)?;
    cast!(till, Till::Take(20))?;
    cast!(till, Till::Take(22))?;
    assert_eq!(call_t!(till, Till::Total, 20_000)?, before + 42);
    call!(till, Till::Process)
}

/// Asks what is never answered.
pub(crate) async fn wait_for_ever(till: &ActorRef<Till>) -> Result<u64, ractor::RactorErr<Till>> {
    call!(till, Till::Never)
}
