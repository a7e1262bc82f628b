use std::{fmt, sync::Arc, time::Duration};

use ractor::ActorCell;
use tokio::{
    sync::{broadcast, oneshot},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    ChildCount, ChildError, ChildSnapshot, ChildSpec, Event, EventStream, StopReport,
    SupervisorGone, SupervisorSnapshot,
    shell::{Lineage, Overdue, Request},
};

/// A running supervisor. Cheap to clone; dropping it stops nothing.
///
/// A reference is to one incarnation: when a nested supervisor has been restarted, get a new one
/// by [`supervisor`](Self::supervisor).
#[derive(Clone)]
pub struct SupervisorRef {
    name: Arc<str>,
    path: Arc<str>,
    actor: ActorCell,
    events: broadcast::WeakSender<Event>,
    overdue: Overdue,
}

/// How long a tree whose time is up is looked at before it is killed.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// How long what was killed is waited for, in case it is busy without ever awaiting.
const KILL_TAKES: Duration = Duration::from_millis(200);

/// How long a snapshot waits for supervisors below that do not answer.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(1);

impl SupervisorRef {
    pub(crate) fn new(name: Arc<str>, actor: ActorCell, lineage: &Lineage) -> Self {
        Self::at(name, lineage.path.clone(), actor, lineage)
    }

    pub(crate) fn at(name: Arc<str>, path: Arc<str>, actor: ActorCell, lineage: &Lineage) -> Self {
        let (events, overdue) = (lineage.events.downgrade(), lineage.overdue.clone());
        Self { name, path, actor, events, overdue }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The actor that it is, to link, watch or kill it. A plain `stop` of it is as graceful as
    /// [`stop`](Self::stop), but it does not answer requests meanwhile.
    pub fn cell(&self) -> ActorCell {
        self.actor.clone()
    }

    /// Stops its children in reverse start order, each as declared, then itself; returns when all
    /// are gone. That takes as long as its children take: none longer than its
    /// [`Shutdown`](crate::Shutdown) says.
    ///
    /// Under a supervisor, ask that one to terminate it instead: to its parent, this is a normal
    /// end, after which a permanent child is restarted.
    pub async fn stop(&self) {
        if self.actor.send_message(Request::Stop).is_err() {
            self.actor.stop(None);
        }
        // Without a limit, it returns only when the actor has ended.
        let _ = self.actor.wait(None).await;
    }

    /// As [`stop`](Self::stop), but within `deadline` in all: whoever lives then is killed, with all
    /// that is below. Says who did not stop in time.
    ///
    /// A kill takes effect where an actor next awaits: this waits for that for another 200 ms.
    pub async fn stop_within(&self, deadline: Duration) -> StopReport {
        // Of stops that nobody reported.
        self.overdue.take_below(&self.path);
        let mut report = StopReport::default();
        if timeout(deadline, self.stop()).await.is_err() {
            let until = Instant::now() + LAST_LOOK;
            let looking = self.ask(|reply| Request::Snapshot { deadline: until, reply });
            match timeout_at(until, looking).await {
                Ok(Ok(seen)) => report.add_living(&seen, &self.path),
                _ => report.overdue.push(self.path.clone()),
            }
            self.actor.kill();
            let _ = self.actor.wait(Some(KILL_TAKES)).await;
        }
        let killed = self.overdue.take_below(&self.path);
        report.overdue.splice(0..0, killed);
        report.overdue.dedup();
        report
    }

    /// Returns when it has ended, for whatever reason; at once if it has already.
    pub async fn ended(&self) {
        let _ = self.actor.wait(None).await;
    }

    /// Adds a child as the youngest and starts it; returns when it is up.
    ///
    /// # Errors
    /// If the name is taken, the supervisor full or stopping, or the child does not start: then
    /// it is forgotten. A future that is dropped does not take the request back.
    pub async fn start_child<H>(&self, child: ChildSpec<H>) -> Result<ActorCell, ChildError> {
        let spec = Arc::new(child.into_spec());
        self.ask_child(|reply| Request::StartChild(spec, reply)).await
    }

    /// Stops a child as declared; returns when it has stopped. It stays declared, to be restarted
    /// or deleted, unless it is temporary or its supervisor dynamic: then it is forgotten. A
    /// child that waits for a restart waits no more; one that is down stays so.
    ///
    /// # Errors
    /// If there is no such child.
    pub async fn terminate_child(&self, name: impl Into<Arc<str>>) -> Result<(), ChildError> {
        let name = name.into();
        self.ask_child(|reply| Request::TerminateChild(name, reply)).await
    }

    /// Starts a child that is down: terminated, or transient and ended normally. Returns when it
    /// is up.
    ///
    /// # Errors
    /// If there is no such child, it is not down, or it does not start: then it stays down.
    pub async fn restart_child(&self, name: impl Into<Arc<str>>) -> Result<ActorCell, ChildError> {
        let name = name.into();
        self.ask_child(|reply| Request::RestartChild(name, reply)).await
    }

    /// Forgets a child that is down, and drops its declaration.
    ///
    /// # Errors
    /// If there is no such child, or it is not down.
    pub async fn delete_child(&self, name: impl Into<Arc<str>>) -> Result<(), ChildError> {
        let name = name.into();
        self.ask_child(|reply| Request::DeleteChild(name, reply)).await
    }

    /// Its children in start order, but not theirs.
    ///
    /// # Errors
    /// If it is gone, or in its last steps.
    pub async fn which_children(&self) -> Result<Vec<ChildSnapshot>, SupervisorGone> {
        self.ask(Request::WhichChildren).await
    }

    /// How many children it has, by kind and by whether they run.
    ///
    /// # Errors
    /// If it is gone, or in its last steps.
    pub async fn count_children(&self) -> Result<ChildCount, SupervisorGone> {
        Ok(ChildCount::of(&self.which_children().await?))
    }

    /// The whole tree below it. A supervisor below that does not answer within a second appears
    /// without its children.
    ///
    /// # Errors
    /// If it is gone, or in its last steps.
    pub async fn snapshot(&self) -> Result<SupervisorSnapshot, SupervisorGone> {
        let deadline = Instant::now() + SNAPSHOT_PATIENCE;
        self.ask(|reply| Request::Snapshot { deadline, reply }).await
    }

    /// The present incarnation of a child that is a supervisor; `None` if there is no such child,
    /// it is no supervisor, or it is not up.
    ///
    /// # Errors
    /// If this supervisor is gone, or in its last steps.
    pub async fn supervisor(
        &self,
        name: impl Into<Arc<str>>,
    ) -> Result<Option<SupervisorRef>, SupervisorGone> {
        let name = name.into();
        self.ask(|reply| Request::FindSupervisor(name, reply)).await
    }

    /// The events of its tree from now on; those from its start on are had from
    /// [`Supervisor::events`](crate::Supervisor::events), before it. A stream that is not read holds nothing up; it drops
    /// its oldest events, and says how many.
    pub fn events(&self) -> EventStream {
        let events = match self.events.upgrade() {
            Some(events) => events.subscribe(),
            // The tree is gone: a stream that ends at once.
            None => broadcast::channel(1).1,
        };
        EventStream::new(events, self.path.clone())
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, SupervisorGone> {
        let gone = || SupervisorGone { supervisor: self.name.clone() };
        let (reply, answer) = oneshot::channel();
        self.actor.send_message(request(reply)).map_err(|_| gone())?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| gone()),
            // The state of a killed supervisor, and with it the other end of `answer`, travels to
            // its parent, and is dropped only there.
            () = self.ended() => Err(gone()),
        }
    }

    async fn ask_child<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, ChildError>>) -> Request,
    ) -> Result<T, ChildError> {
        match self.ask(request).await {
            Ok(answer) => answer,
            Err(SupervisorGone { supervisor }) => Err(ChildError::SupervisorGone { supervisor }),
        }
    }
}

impl fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorRef")
            .field("path", &self.path)
            .field("actor", &self.actor.get_id())
            .finish()
    }
}
