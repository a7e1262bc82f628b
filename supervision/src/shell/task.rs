use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ractor::{ActorCell, ActorRef, SpawnErr};
use tokio::sync::{mpsc, watch};

use super::{Lineage, Request, hooks, member::Member};
use crate::{
    ChildKind, Happening, Shutdown, StartError,
    engine::ChildId,
    spec::{Start, Starting},
};

/// What an operation on a child has come to.
pub(super) struct Report {
    pub(super) child: ChildId,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Started(Result<ActorCell, SpawnErr>),
    /// A start was given up before it was through; nothing of it lives.
    CalledBack,
    Stopped {
        killed: bool,
    },
}

/// Leaves a report for the supervisor, and wakes it. When it does not take messages any more (it
/// is in `post_stop`), it waits for reports directly.
pub(super) fn report(
    reporter: &mpsc::UnboundedSender<Report>,
    myself: &ActorRef<Request>,
    child: ChildId,
    outcome: Outcome,
) {
    if reporter.send(Report { child, outcome }).is_ok() {
        let _ = myself.send_message(Request::Report);
    }
}

/// After how long it is told that a start waits for what is left of the incarnation before: OTP's
/// default for a shutdown, in which an actor should be through with everything.
const LINGERS_AFTER: Duration = Duration::from_secs(5);

/// A start that is under way.
pub(super) struct UnderWay {
    start: Starting,
    /// Made when it is needed: most starts are through before anybody could call them back.
    call_back: Option<watch::Sender<bool>>,
    /// How long it is waited for once it has been called back; `None`: as long as it takes.
    patience: Option<Duration>,
}

pub(super) fn begin_start(
    member: &Member,
    myself: &ActorRef<Request>,
    lineage: &Lineage,
) -> UnderWay {
    let (spec, supervisor) = (&member.spec, myself.get_cell());
    match &spec.start {
        // An actor whose `pre_start` is not through has nothing yet that could end gracefully.
        Start::Actor(start) => {
            let remains = spec.remains.clone().filter(|remains| remains.are_there());
            let start: Starting = if let Some(remains) = remains {
                let (start, name, lineage) = (start.clone(), spec.name.clone(), lineage.clone());
                Box::pin(async move {
                    told_if_long(remains.gone(), &lineage, &name).await;
                    start(supervisor).await
                })
            } else {
                unless_panics(|| start(supervisor))
            };
            UnderWay { start, call_back: None, patience: Some(Duration::ZERO) }
        }
        // A supervisor may have started children, and stops them in order when called back.
        Start::Supervisor(make) => {
            let (call_back, called_back) = watch::channel(false);
            let (name, below) = (spec.name.clone(), member.below.clone());
            let above = lineage.clone();
            let lineage = lineage.below(&name, called_back, below.clone());
            let start = || -> Starting {
                let declaration = make();
                Box::pin(async move {
                    if let Some(below) = below {
                        // Not beside those that an incarnation before has left when it was killed.
                        tokio::select! {
                            biased;
                            () = told_if_long(below.gone(), &above, &name) => {}
                            () = lineage.called_back() => {
                                let error = StartError::Cancelled { supervisor: name };
                                return Err(SpawnErr::StartupFailed(Box::new(error)));
                            }
                        }
                    }
                    match hooks::launch(declaration, Some((supervisor, Some(lineage)))).await {
                        Ok(supervisor) => Ok(supervisor.cell()),
                        Err(error) => Err(SpawnErr::StartupFailed(Box::new(error))),
                    }
                })
            };
            let patience = match spec.shutdown {
                Shutdown::Infinity => None,
                Shutdown::Timeout(patience) => Some(patience),
                Shutdown::BrutalKill => Some(Duration::ZERO),
            };
            UnderWay { start: unless_panics(start), call_back: Some(call_back), patience }
        }
    }
}

/// Waits until what is left of a child's last incarnation is `gone`, and tells once if that is long.
async fn told_if_long(gone: impl Future<Output = ()>, lineage: &Lineage, child: &Arc<str>) {
    let (mut gone, waited) = (pin!(gone), LINGERS_AFTER);
    if tokio::time::timeout(waited, &mut gone).await.is_ok() {
        return;
    }
    tracing::warn!(
        supervisor = %lineage.path, child = %child,
        "child is not started: what its last incarnation owned is not dropped after {waited:?}"
    );
    lineage.tell(|| Some(child), || Happening::Lingering { waited });
    gone.await;
}

/// The closures that make a start are the caller's: a panic of theirs is a start that failed.
fn unless_panics(make: impl FnOnce() -> Starting) -> Starting {
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
        let error = SpawnErr::StartupFailed(panic_text(&*panic).into());
        Box::pin(std::future::ready(Err(error)))
    })
}

impl UnderWay {
    /// What calls it back, when true is sent.
    pub(super) fn call_back(&mut self) -> watch::Sender<bool> {
        self.call_back.get_or_insert_with(|| watch::Sender::new(false)).clone()
    }

    /// Runs the start as far as it goes without waiting.
    pub(super) async fn first_poll(&mut self) -> Option<Result<ActorCell, SpawnErr>> {
        poll_fn(|cx| match self.poll_start(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Runs the start to its end, unless it is called back and that end does not come in time.
    pub(super) async fn finish(mut self) -> Outcome {
        let (mut call_back, patience) = (self.call_back().subscribe(), self.patience);
        let given_up = async move {
            let called_back = call_back.wait_for(|called_back| *called_back).await.is_ok();
            match patience {
                Some(patience) if called_back => tokio::time::sleep(patience).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = poll_fn(|cx| self.poll_start(cx)) => Outcome::Started(result),
            () = given_up => Outcome::CalledBack,
        }
    }

    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Result<ActorCell, SpawnErr>> {
        match catch_unwind(AssertUnwindSafe(|| self.start.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(SpawnErr::StartupFailed(panic_text(&*panic).into()))),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

/// Stops an actor as declared, and returns when it has ended: whether it was killed. `overdue` is
/// called if it had a time to stop and did not.
///
/// A kill takes effect where the actor next waits. One that never does (an endless loop without
/// an `await`) cannot be ended by anybody, and is waited for without limit: starting its
/// successor beside it would break "one incarnation at a time".
pub(super) async fn stop(
    actor: ActorCell,
    kind: ChildKind,
    shutdown: Shutdown,
    overdue: impl FnOnce(),
) -> bool {
    let patience = match shutdown {
        Shutdown::BrutalKill => Some(Duration::ZERO),
        Shutdown::Timeout(patience) => Some(patience),
        Shutdown::Infinity => None,
    };
    if shutdown != Shutdown::BrutalKill {
        // A supervisor that stops by message keeps answering questions while it does.
        let asked = kind == ChildKind::Supervisor && actor.send_message(Request::Stop).is_ok();
        if !asked {
            actor.stop(Some("shutdown".to_owned()));
        }
        if actor.wait(patience).await.is_ok() {
            return false;
        }
        overdue();
    }
    actor.kill();
    let _ = actor.wait(None).await;
    true
}
