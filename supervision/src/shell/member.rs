use std::sync::Arc;

use ractor::ActorCell;
use tokio::sync::watch;

use super::{
    Brood,
    probing::{Probing, Unresponsive},
};
use crate::{ChildKind, spec::Spec};

/// A child as the shell sees it: its declaration, and its present incarnation.
pub(super) struct Member {
    pub(super) spec: Arc<Spec>,
    pub(super) actor: Option<ActorCell>,
    /// Who lives under it, if it is a supervisor.
    pub(super) below: Option<Brood>,
    pub(super) operation: Option<Operation>,
    pub(super) starts: u64,
    pub(super) last_failure: Option<String>,
    pub(super) probing: Option<Probing>,
    /// If its last incarnation has not answered in time.
    pub(super) unresponsive: Option<Unresponsive>,
}

/// What is under way with a child and will be reported.
pub(super) enum Operation {
    Start { call_back: watch::Sender<bool>, called_back: bool },
    Stop,
}

impl Member {
    pub(super) fn new(spec: Arc<Spec>) -> Self {
        let is_supervisor = spec.start.kind() == ChildKind::Supervisor;
        Self {
            spec,
            below: is_supervisor.then(Brood::default),
            actor: None,
            operation: None,
            starts: 0,
            last_failure: None,
            probing: None,
            unresponsive: None,
        }
    }

    /// The operation has been reported; was it a start that had been called back?
    pub(super) fn finish_operation(&mut self) -> bool {
        matches!(self.operation.take(), Some(Operation::Start { called_back: true, .. }))
    }
}

impl Operation {
    pub(super) fn start(call_back: watch::Sender<bool>) -> Self {
        Self::Start { call_back, called_back: false }
    }

    /// Tells a start that it is no longer wanted.
    pub(super) fn call_back(&mut self) {
        match self {
            Self::Start { call_back, called_back } => {
                *called_back = true;
                call_back.send_replace(true);
            }
            Self::Stop => panic!("a child that is being stopped is not stopped once more"),
        }
    }
}
