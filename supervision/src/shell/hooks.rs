use std::{future::Future, pin::Pin, sync::Arc};

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, Message, SpawnErr, SupervisionEvent,
};
use tokio::{sync::oneshot, time::Instant};

use super::{Lineage, Shell, waiter::Reply};
use crate::{
    ChildError, ChildSnapshot, Exit, StartError, Supervisor, SupervisorRef, SupervisorSnapshot,
    engine::{ChildId, Ending, Input},
    spec::Spec,
};

/// The actor around a [`Shell`].
struct Hooks;

/// What a supervisor is asked, by references to it and by its own tasks.
pub(crate) enum Request {
    /// A task has left a report.
    Report,
    /// The engine wants to know the time.
    Tick,
    Stop,
    /// Whether it answers.
    Ping(oneshot::Sender<()>),
    /// A child that is probed does not answer.
    Unresponsive(ChildId, ActorId),
    StartChild(Arc<Spec>, oneshot::Sender<Result<ActorCell, ChildError>>),
    RestartChild(Arc<str>, oneshot::Sender<Result<ActorCell, ChildError>>),
    TerminateChild(Arc<str>, oneshot::Sender<Result<(), ChildError>>),
    DeleteChild(Arc<str>, oneshot::Sender<Result<(), ChildError>>),
    WhichChildren(oneshot::Sender<Vec<ChildSnapshot>>),
    Snapshot {
        deadline: Instant,
        reply: oneshot::Sender<SupervisorSnapshot>,
    },
    FindSupervisor(Arc<str>, oneshot::Sender<Option<SupervisorRef>>),
}

impl Message for Request {}

type Launching = Pin<Box<dyn Future<Output = Result<SupervisorRef, StartError>> + Send>>;

/// Spawns a supervisor: linked if it has a parent, with a lineage if that is a supervisor, too.
///
/// Boxed, for a supervisor's start contains the starts of supervisors.
pub(crate) fn launch(
    declaration: Supervisor,
    parent: Option<(ActorCell, Option<Lineage>)>,
) -> Launching {
    Box::pin(async move {
        let name = declaration.name.clone();
        let (parent, lineage) = match parent {
            Some((parent, lineage)) => (Some(parent), lineage),
            None => (None, None),
        };
        let lineage = lineage
            .unwrap_or_else(|| Lineage::root(declaration.name.clone(), declaration.events_kept));
        declaration.audience.let_in(&lineage.events, &lineage.path);
        let reference = |cell| SupervisorRef::new(name.clone(), cell, &lineage);
        let arguments = (declaration, lineage.clone());
        let spawned = match parent {
            None => Actor::spawn(None, Hooks, arguments).await,
            Some(parent) => Actor::spawn_linked(None, Hooks, arguments, parent).await,
        };
        match spawned {
            Ok((actor, _)) => Ok(reference(actor.get_cell())),
            Err(SpawnErr::StartupFailed(error)) => Err(match error.downcast::<StartError>() {
                Ok(error) => *error,
                Err(error) => {
                    StartError::Spawn { supervisor: name, source: SpawnErr::StartupFailed(error) }
                }
            }),
            Err(source) => Err(StartError::Spawn { supervisor: name, source }),
        }
    })
}

impl Actor for Hooks {
    type Msg = Request;
    type State = Shell;
    type Arguments = (Supervisor, Lineage);

    async fn pre_start(
        &self,
        myself: ActorRef<Request>,
        (declaration, lineage): (Supervisor, Lineage),
    ) -> Result<Shell, ActorProcessingErr> {
        let mut shell = Shell::new(declaration, lineage, myself)?;
        shell.boot().await?;
        Ok(shell)
    }

    async fn handle(
        &self,
        _: ActorRef<Request>,
        request: Request,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        shell.serve(request).await;
        shell.verdict()
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Request>,
        event: SupervisionEvent,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        let ended = event.actor_id().zip(Exit::from_event(&event));
        // With it goes the state of a supervisor that was killed, and what that had under way.
        drop(event);
        if let Some((actor, exit)) = ended {
            shell.actor_ended(actor, exit).await;
        }
        shell.verdict()
    }

    async fn post_stop(
        &self,
        _: ActorRef<Request>,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        shell.end().await;
        match shell.gave_up.take() {
            Some(gave_up) => Err(gave_up.into()),
            None => Ok(()),
        }
    }
}

impl Shell {
    async fn serve(&mut self, request: Request) {
        match request {
            Request::Report => self.take_next_report().await,
            Request::Tick => {
                self.alarm.rang();
                self.run(Input::Tick).await;
            }
            Request::Stop => self.run(Input::End).await,
            Request::Ping(reply) => {
                let _ = reply.send(());
            }
            Request::Unresponsive(child, actor) => self.unresponsive(child, actor),
            Request::StartChild(spec, reply) => {
                if let Some(why) = spec.senseless() {
                    let (supervisor, child) = (self.name.clone(), spec.name.clone());
                    let _ = reply.send(Err(ChildError::Declaration { supervisor, child, why }));
                    return;
                }
                let ticket = self.ticket(spec.name.clone(), Reply::Actor(reply));
                let commands = self.add(spec, ticket);
                self.execute_all(commands).await;
            }
            Request::RestartChild(name, reply) => {
                let ticket = self.ticket(name.clone(), Reply::Actor(reply));
                self.run(Input::Restart { name, ticket }).await;
            }
            Request::TerminateChild(name, reply) => {
                let ticket = self.ticket(name.clone(), Reply::Done(reply));
                self.run(Input::Terminate { name, ticket }).await;
            }
            Request::DeleteChild(name, reply) => {
                let ticket = self.ticket(name.clone(), Reply::Done(reply));
                self.run(Input::Delete { name, ticket }).await;
            }
            Request::WhichChildren(reply) => {
                let _ = reply.send(self.look().children);
            }
            Request::Snapshot { deadline, reply } => self.look_deep(deadline, reply),
            Request::FindSupervisor(name, reply) => {
                let _ = reply.send(self.find_supervisor(&name));
            }
        }
    }

    /// Ends the actor when its children are gone for good.
    fn verdict(&mut self) -> Result<(), ActorProcessingErr> {
        match self.ended {
            None => Ok(()),
            Some(Ending::GaveUp(_)) => {
                Err(self.gave_up.take().expect("who gives up says why").into())
            }
            Some(_) => {
                self.myself.stop(Some("shutdown".to_owned()));
                Ok(())
            }
        }
    }
}
