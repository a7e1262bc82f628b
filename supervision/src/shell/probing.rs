//! How children are asked whether they still answer.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use ractor::{ActorCell, ActorId, ActorStatus};
use tokio::{
    sync::oneshot,
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{Request, Shell};
use crate::{
    Happening, Probe,
    engine::ChildId,
    spec::{Answer, Ping, Start},
};

/// The task that asks one incarnation again and again. It ends with this value.
pub(super) struct Probing(AbortHandle);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An incarnation that has not answered in time: it was killed, but may not have ended yet.
#[derive(Clone, Copy)]
pub(super) struct Unresponsive {
    /// When that was found out, in the engine's time.
    pub(super) since: Duration,
    /// How long it had not answered for.
    pub(super) within: Duration,
}

impl Shell {
    /// Has the new incarnation of a child asked whether it answers, if that was declared.
    pub(super) fn begin_probing(&mut self, child: ChildId) {
        let member = self.members.get_mut(&child).expect("an adopting child is a known child");
        let (spec, actor) = (&member.spec, member.actor.clone());
        let (Some(probe), Some(actor)) = (spec.probe, actor) else { return };
        let ping = match (&spec.ping, &spec.start) {
            (Some(ping), _) => ping.clone(),
            (None, Start::Supervisor(_)) => supervisor_ping(),
            (None, Start::Actor(_)) => panic!("a declaration without a ping is refused"),
        };
        let myself = self.myself.clone();
        let task = self.tasks.spawn(async move {
            until_unresponsive(probe, &actor, || ping(actor.clone())).await;
            // Refused by a supervisor that is on its way out: it stops its children anyway.
            let _ = myself.send_message(Request::Unresponsive(child, actor.get_id()));
        });
        member.probing = Some(Probing(task));
    }

    /// An incarnation has not answered in time.
    pub(super) fn unresponsive(&mut self, child: ChildId, actor: ActorId) {
        // It may have ended meanwhile, or be about to be stopped, which kills it if need be.
        if self.incarnations.get(&actor) != Some(&child) {
            return;
        }
        let since = self.now();
        let member = self.members.get_mut(&child).expect("an incarnation is of a known child");
        let (Some(probe), Some(actor), None) =
            (member.spec.probe, &member.actor, &member.operation)
        else {
            return;
        };
        let within = probe.within;
        actor.kill();
        member.unresponsive = Some(Unresponsive { since, within });
        let name = &member.spec.name;
        tracing::warn!(supervisor = %self.lineage.path, child = %name, "no answer for {within:?}");
        self.tell(Some(child), || Happening::Unresponsive { within });
    }
}

/// Returns when a question was not answered in time.
async fn until_unresponsive(probe: Probe, actor: &ActorCell, ask: impl Fn() -> Answer) {
    loop {
        tokio::time::sleep(probe.every).await;
        // What is on its way out takes no messages any more, and is left to its `post_stop`.
        if !answers_within(probe.within, ask()).await && actor.get_status() < ActorStatus::Draining
        {
            return;
        }
    }
}

/// How late a timer may be on a machine that is merely busy.
const LATE: Duration = Duration::from_millis(100);

/// Waits for an answer, in four parts: a part whose end comes much too late does not count. It
/// was not the child that stood still then, but the whole program (stopped, swapped out, starved),
/// and none of its children should pay for that.
async fn answers_within(within: Duration, answer: impl Future<Output = ()>) -> bool {
    let mut answer = pin!(answer);
    let (mut part, mut due) = (1, Instant::now());
    while part <= 4 {
        due += within / 4;
        if timeout_at(due, answer.as_mut()).await.is_ok() {
            return true;
        }
        if due.elapsed() > LATE.max(within / 4) {
            due = Instant::now();
        } else {
            part += 1;
        }
    }
    false
}

/// A supervisor answers between any two things that it does, for it waits for no child.
fn supervisor_ping() -> Ping {
    Arc::new(|actor| {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            if actor.send_message(Request::Ping(reply)).is_ok() {
                let _ = answer.await;
            }
        })
    })
}
