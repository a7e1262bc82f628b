//! Why a call came to nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::failure::Failure;

/// Why a call got no answer. [`CallError::executed`] says what became of the request.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallError {
    /// No instance of the service could be given work in time. Not executed.
    #[error("no instance of service {service:?} can be given work (waited {waited:?})")]
    NotFound {
        /// The service.
        service: String,
        /// How long one was waited for.
        waited: Duration,
    },
    /// The service has no such method. Not executed.
    #[error("service {service:?} has no method {method:?}, but {}", .known.join(", "))]
    NoSuchMethod {
        /// The service.
        service: String,
        /// What was asked for.
        method: String,
        /// The methods that it has.
        known: Vec<String>,
    },
    /// The request is not what the method takes. Not executed.
    #[error("not a request of {method:?}: {why}")]
    BadRequest {
        /// The method.
        method: String,
        /// What is wrong.
        why: String,
    },
    /// As many requests wait as may, or so many that this one could not be served in time. Not
    /// executed.
    #[error("service {service:?} is busy: {waiting} requests wait; the request was not executed")]
    Busy {
        /// The service.
        service: String,
        /// How many wait.
        waiting: usize,
    },
    /// It waited too long, in the queue or for room on the way there. Not executed.
    #[error("the request waited for {waited:?} and was not executed")]
    Expired {
        /// How long.
        waited: Duration,
    },
    /// The service ended before it took up the request. Not executed.
    #[error("service {service:?} ended before it took up the request")]
    Stopped {
        /// The service.
        service: String,
    },
    /// The instance's node cannot be reached. Not executed.
    #[error("node {node} cannot be reached; the request was not sent")]
    Unreachable {
        /// The node.
        node: String,
    },
    /// A middleware let it not pass. Not executed.
    #[error("refused by {by}: {why}")]
    Rejected {
        /// The middleware.
        by: String,
        /// Why.
        why: String,
        /// After how long it may pass, where that is known.
        again_after: Option<Duration>,
    },
    /// The deadline passed. Whether it was executed is unknown; where it was under way, it has been
    /// cancelled.
    #[error("no answer within {within:?}; whether the request was executed is unknown")]
    TimedOut {
        /// The deadline.
        within: Duration,
    },
    /// The service, or the link to it, was lost while the request was there. Whether it was executed
    /// is unknown.
    #[error("lost on the way: {why}; whether the request was executed is unknown")]
    Lost {
        /// How.
        why: String,
    },
    /// The method panicked. It was executed up to there.
    #[error("the method panicked: {why}")]
    Panicked {
        /// The panic's text.
        why: String,
    },
    /// A [`tower`] layer failed with an error of its own. Whether it was executed is unknown.
    #[error("a layer failed: {why}")]
    Layer {
        /// The layer's error.
        why: String,
    },
    /// The service says that it could not be done. Executed.
    #[error("{0}")]
    Failed(Failure),
    /// The service has answered, but the answer is not what was expected. Executed.
    #[error("the request was executed, but its answer is not what was expected: {why}")]
    BadAnswer {
        /// What is wrong.
        why: String,
    },
}

/// Whether a request was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It was not, and will not be.
    No,
    /// It is not known.
    Unknown,
    /// It was.
    Yes,
}

impl CallError {
    /// What became of the request, in all attempts of its call.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::NotFound { .. }
            | Self::NoSuchMethod { .. }
            | Self::BadRequest { .. }
            | Self::Busy { .. }
            | Self::Expired { .. }
            | Self::Stopped { .. }
            | Self::Unreachable { .. }
            | Self::Rejected { .. } => Executed::No,
            Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::Panicked { .. }
            | Self::Layer { .. } => Executed::Unknown,
            Self::Failed(_) | Self::BadAnswer { .. } => Executed::Yes,
        }
    }

    /// Whether to try the call again: it may go better then, and does no harm. What may have been
    /// executed is tried again where it is idempotent only.
    #[must_use]
    pub fn may_be_tried_again(&self, is_idempotent: bool) -> bool {
        match self {
            // Another try comes to the same.
            Self::NoSuchMethod { .. } | Self::BadRequest { .. } | Self::Rejected { .. } => false,
            // It has been waited for already, for as long as the caller would.
            Self::NotFound { .. } => false,
            Self::Failed(failure) => failure.is_transient,
            why => match why.executed() {
                Executed::No => true,
                Executed::Unknown => is_idempotent,
                Executed::Yes => false,
            },
        }
    }

    /// Whether it says that the service does not do well, and not that the request was not right:
    /// what a circuit breaker counts.
    #[must_use]
    pub fn is_the_services(&self) -> bool {
        match self {
            Self::NoSuchMethod { .. } | Self::BadRequest { .. } | Self::Rejected { .. } => false,
            Self::Failed(failure) => failure.is_transient,
            _ => true,
        }
    }

    /// The variant's name, for figures and logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::NoSuchMethod { .. } => "no_such_method",
            Self::BadRequest { .. } => "bad_request",
            Self::Busy { .. } => "busy",
            Self::Expired { .. } => "expired",
            Self::Stopped { .. } => "stopped",
            Self::Unreachable { .. } => "unreachable",
            Self::Rejected { .. } => "rejected",
            Self::TimedOut { .. } => "timed_out",
            Self::Lost { .. } => "lost",
            Self::Panicked { .. } => "panicked",
            Self::Layer { .. } => "layer",
            Self::Failed(_) => "failed",
            Self::BadAnswer { .. } => "bad_answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_executed_is_tried_again_where_it_is_idempotent_only() {
        let lost = CallError::Lost { why: "a link".into() };
        let timed_out = CallError::TimedOut { within: Duration::from_secs(1) };
        for unknown in [lost, timed_out, CallError::Panicked { why: "oops".into() }] {
            assert_eq!(unknown.executed(), Executed::Unknown);
            assert!(!unknown.may_be_tried_again(false));
            assert!(unknown.may_be_tried_again(true));
        }
    }

    #[test]
    fn what_was_not_executed_is_tried_again_unless_it_would_come_to_the_same() {
        let busy = CallError::Busy { service: "s".into(), waiting: 1 };
        let stopped = CallError::Stopped { service: "s".into() };
        let unreachable = CallError::Unreachable { node: "b".into() };
        for again in [busy, stopped, unreachable] {
            assert!(again.may_be_tried_again(false), "{again}");
        }
        let bad = CallError::BadRequest { method: "m".into(), why: "no".into() };
        let none = CallError::NoSuchMethod {
            service: "s".into(),
            method: "m".into(),
            known: vec!["a".into(), "b".into()],
        };
        assert_eq!(none.to_string(), "service \"s\" has no method \"m\", but a, b");
        for same in [bad, none] {
            assert!(!same.may_be_tried_again(true), "{same}");
        }
    }

    #[test]
    fn a_failure_is_an_answer_unless_it_calls_itself_transient() {
        let failed = CallError::Failed(Failure::new("sold out"));
        assert_eq!(failed.executed(), Executed::Yes);
        assert!(!failed.may_be_tried_again(true) && !failed.is_the_services());
        let transient = CallError::Failed(Failure::new("locked").transient());
        assert!(transient.may_be_tried_again(false) && transient.is_the_services());
    }
}
