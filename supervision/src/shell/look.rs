use tokio::{sync::oneshot, time::Instant};

use super::{Request, Shell};
use crate::{
    ChildKind, ChildSnapshot, ChildState, SupervisorRef, SupervisorSnapshot, engine::State,
};

impl Shell {
    /// What can be seen of this supervisor and its children, but not of theirs.
    pub(super) fn look(&self) -> SupervisorSnapshot {
        let now = self.now();
        let children = self.engine.children().map(|(id, child)| {
            let member = &self.members[&id];
            let (state, since) = match (child.state(), member.unresponsive) {
                (State::Up, Some(found)) => (ChildState::Unresponsive, found.since),
                (State::Up, None) => (ChildState::Running, child.since()),
                (State::Down, _) => (ChildState::Down, child.since()),
                (State::Starting, _) => (ChildState::Starting, child.since()),
                (State::Waiting { .. }, _) => (ChildState::Waiting, child.since()),
                (State::Stopping { .. }, _) => (ChildState::Stopping, child.since()),
            };
            ChildSnapshot {
                name: child.name().clone(),
                kind: member.spec.start.kind(),
                restart: child.rules().restart,
                state,
                state_for: now.saturating_sub(since),
                restarts: child.restarts(),
                last_failure: member.last_failure.clone(),
                mailbox: member.spec.mailbox.as_ref().and_then(|depth| depth()),
                actor: member.actor.as_ref().map(|actor| actor.get_id().to_string()),
                supervisor: None,
            }
        });
        SupervisorSnapshot {
            name: self.name.clone(),
            strategy: self.config.strategy,
            dynamic: self.config.dynamic,
            intensity: self.config.intensity,
            stopping: self.engine.ending().is_some(),
            up_for: now,
            children: children.collect(),
        }
    }

    /// The same with the supervisors below, as far as they answer in time.
    pub(super) fn look_deep(
        &mut self,
        deadline: Instant,
        reply: oneshot::Sender<SupervisorSnapshot>,
    ) {
        let mut seen = self.look();
        // Who asks waits a little longer than those who are asked, so that one supervisor that
        // does not answer costs its own part of the picture only.
        let now = Instant::now();
        let deadline_below = now + deadline.saturating_duration_since(now).mul_f64(0.75);
        let asked: Vec<_> = self
            .engine
            .children()
            .enumerate()
            .filter_map(|(index, (id, _))| {
                let member = &self.members[&id];
                let actor = member.actor.as_ref()?;
                if member.spec.start.kind() != ChildKind::Supervisor {
                    return None;
                }
                let (reply, answer) = oneshot::channel();
                let request = Request::Snapshot { deadline: deadline_below, reply };
                actor.send_message(request).ok()?;
                Some((index, answer))
            })
            .collect();
        if asked.is_empty() {
            let _ = reply.send(seen);
            return;
        }
        self.tasks.spawn(async move {
            for (index, answer) in asked {
                if let Ok(Ok(below)) = tokio::time::timeout_at(deadline, answer).await {
                    seen.children[index].supervisor = Some(Box::new(below));
                }
            }
            let _ = reply.send(seen);
        });
    }

    pub(super) fn find_supervisor(&self, name: &str) -> Option<SupervisorRef> {
        let (id, child) = self.engine.find(name)?;
        let member = &self.members[&id];
        if member.spec.start.kind() != ChildKind::Supervisor {
            return None;
        }
        let path = self.lineage.path_of(child.name());
        let actor = member.actor.clone()?;
        Some(SupervisorRef::at(child.name().clone(), path, actor, &self.lineage))
    }
}
