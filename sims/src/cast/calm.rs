//! Whether a talker is to leave things as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a talker is to leave things as they are: to tell, ask and publish only. Nodes that are not looked
/// at in the same instant can be seen to agree only on what does not change. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calm(Arc<AtomicBool>);

impl Calm {
    #[cfg(all(unix, feature = "command"))]
    pub(crate) fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
