use std::sync::Arc;

use ractor::ActorCell;
use tokio::sync::oneshot;

use super::Shell;
use crate::{
    ChildError,
    engine::{ChildId, Refusal, Ticket},
};

/// Who waits for the answer to a request about a child.
pub(super) struct Waiter {
    child: Arc<str>,
    reply: Reply,
}

pub(super) enum Reply {
    Actor(oneshot::Sender<Result<ActorCell, ChildError>>),
    Done(oneshot::Sender<Result<(), ChildError>>),
}

impl Shell {
    pub(super) fn ticket(&mut self, child: Arc<str>, reply: Reply) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.waiters.insert(ticket, Waiter { child, reply });
        ticket
    }

    /// Whoever asked may have stopped waiting; that is no error.
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Result<ChildId, Refusal>) {
        let Some(Waiter { child, reply }) = self.waiters.remove(&ticket) else { return };
        let answer = answer.map_err(|refusal| {
            let failure = match refusal {
                Refusal::StartFailed => self.failure.take().map(|(_, error)| error),
                _ => None,
            };
            let children_max = self.config.children_max;
            ChildError::new(self.name.clone(), child, children_max, refusal, failure)
        });
        match reply {
            Reply::Done(reply) => {
                let _ = reply.send(answer.map(drop));
            }
            Reply::Actor(reply) => {
                let actor = answer.map(|id| {
                    let member = self.members.get(&id).expect("a started child is a known child");
                    member.actor.clone().expect("a started child has an actor")
                });
                let _ = reply.send(actor);
            }
        }
    }
}
