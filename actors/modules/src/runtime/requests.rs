//! The HTTP requests that an instance which is to stop has under way.

use tokio::time::Instant;
#[cfg(feature = "http")]
use umbel_http::Retired;

/// The HTTP requests that an instance which is to stop has under way: none where there is no HTTP.
#[derive(Default)]
pub(super) struct Requests {
    #[cfg(feature = "http")]
    pub(super) retired: Option<Retired>,
}

impl Requests {
    /// Waits until they have ended. Whether they have, before `until`.
    pub(super) async fn finish(&self, until: Instant) -> bool {
        #[cfg(feature = "http")]
        if let Some(retired) = &self.retired {
            return retired.idle(until.saturating_duration_since(Instant::now())).await;
        }
        let _ = until;
        true
    }
}
