//! A service that was started where it can be found.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::directory::{Directory, DirectoryError};
use crate::host::ServiceRef;

/// A service that was started here and made known. Dropping it leaves the service running.
#[derive(Clone)]
pub struct Hosted {
    service: ServiceRef,
    directory: Arc<dyn Directory>,
}

impl Hosted {
    pub(super) fn new(service: ServiceRef, directory: Arc<dyn Directory>) -> Self {
        Self { service, directory }
    }

    pub(super) async fn register(&self) -> Result<(), DirectoryError> {
        let registered = self.directory.register(self.service.view().clone()).await;
        if registered.is_err() {
            self.service.stop().await;
        }
        registered
    }

    /// Has it be given no more work, lets it finish what it has for at most `within`, and stops it.
    /// Whether it has finished all.
    ///
    /// A call that comes late all the same is not executed, and is tried elsewhere by its caller.
    pub async fn stop(&self, within: Duration) -> bool {
        let begun = Instant::now();
        self.directory.deregister(self.service.view().clone()).await;
        let left = within.saturating_sub(begun.elapsed());
        let is_idle = self.service.view().until_idle(left).await;
        self.service.stop().await;
        is_idle
    }
}

impl Deref for Hosted {
    type Target = ServiceRef;

    fn deref(&self) -> &ServiceRef {
        &self.service
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hosted").field(&self.service).finish()
    }
}
