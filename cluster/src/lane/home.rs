//! What a lane needs of its node.

use std::sync::Arc;

use umbel_actors::codec::Limits;
use umbel_actors::wire::{ActorPath, Charge, Deliver, Imported, WireError};
use umbel_actors::{DeadLetter, Traces};

/// What a lane needs of its node.
pub(crate) trait Home: Send + Sync + 'static {
    /// Makes an actor of this node reachable.
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath;

    /// What a path means on this node.
    fn import(&self, path: &ActorPath) -> Result<Imported, WireError>;

    /// An actor of this node that is reachable.
    fn actor(&self, id: u64) -> Option<Arc<dyn Deliver>>;

    /// Something was published on another node. The charge is dropped when it lies in no queue beyond
    /// the queue's own bound.
    fn publication(&self, publication: &Publication<'_>, charge: Charge);

    /// What connects messages with traces, if anything does.
    fn traces(&self) -> Option<Arc<dyn Traces>> {
        None
    }

    /// A message came to nothing.
    fn dead_letter(&self, letter: DeadLetter);
}

/// What was published on another node.
pub(crate) struct Publication<'a> {
    pub(crate) topic: &'a str,
    pub(crate) schema: u32,
    pub(crate) payload: &'a [u8],
    pub(crate) limits: Limits,
}
