//! Death watch: being told when and why an actor ended.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Why an actor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Exit {
    /// It stopped, by itself or because it was asked to.
    Stopped,
    /// It returned an error or panicked; the text says which, in at most [`Exit::REASON_BYTES_MAX`].
    /// Over a link, the text is cut further, as the cluster's documentation says.
    Failed(String),
    /// It was killed, or its task was cancelled.
    Killed,
    /// There was no such actor when the watch began.
    NoSuchActor,
    /// Its node is no longer linked to ours; whether the actor lives is unknown.
    NodeDown,
    /// Its node watches as many actors for ours as it may; whether the actor lives is unknown.
    TooManyWatches,
}

impl Exit {
    /// The most bytes of the text of [`Exit::Failed`]. Everybody who watches gets a copy of it.
    pub const REASON_BYTES_MAX: usize = 4096;

    /// The same with no more text than it may have.
    pub(crate) fn cut(mut self) -> Self {
        if let Self::Failed(why) = &mut self
            && why.len() > Self::REASON_BYTES_MAX
        {
            why.truncate(why.floor_char_boundary(Self::REASON_BYTES_MAX));
            why.shrink_to_fit();
        }
        self
    }

    /// Whether the actor ended as planned: OTP's reasons `normal` and `shutdown`.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Killed => f.write_str("killed"),
            Self::NoSuchActor => f.write_str("no such actor"),
            Self::NodeDown => f.write_str("its node is down"),
            Self::TooManyWatches => f.write_str("its node takes no more watches"),
        }
    }
}

/// Ends when the watched incarnation of an actor has ended, and says why.
///
/// A restarted actor is a new incarnation: watch its address again to be told of that one's end.
/// Dropping it ends the watch.
#[derive(Debug)]
#[must_use = "a watch tells nothing unless it is awaited"]
pub struct Watch {
    ended: oneshot::Receiver<Exit>,
    otherwise: Exit,
}

impl Watch {
    /// A watch that is told by `ended`, and says `otherwise` where that is dropped in silence.
    pub fn new(ended: oneshot::Receiver<Exit>, otherwise: Exit) -> Self {
        Self { ended, otherwise }
    }

    pub(crate) fn over(exit: Exit) -> Self {
        let (told, ended) = oneshot::channel();
        drop(told);
        Self { ended, otherwise: exit }
    }
}

impl Future for Watch {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Exit> {
        Pin::new(&mut self.ended)
            .poll(cx)
            .map(|told| told.unwrap_or_else(|_| self.otherwise.clone()))
    }
}
