use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use umbel_actors::wire::Deliver;

/// How it is found out whether an actor can be given work.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum HealthCheck {
    /// Through its mailbox: one that is at work on the same message for too long fails, and so does
    /// one that is not there, between two lives. Costs nothing to an actor that gets on.
    #[default]
    Mailbox,
    /// By [`HealthCheck::custom`].
    Custom(Custom),
    /// Not at all: it is healthy as long as it is registered.
    None,
}

/// A check of the user's own.
#[derive(Clone)]
pub struct Custom(Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>);

impl HealthCheck {
    /// A check of one's own: `check` is called for each question, and says whether all is well. One
    /// that panics fails; one that takes longer than its time fails, and is dropped.
    ///
    /// ```
    /// use umbel_cluster::{HealthCheck, Offer};
    ///
    /// # async fn ping() -> std::io::Result<()> { Ok(()) }
    /// let check = HealthCheck::custom(|| async { ping().await.is_ok() });
    /// let offer = Offer { check, ..Offer::default() };
    /// # let _ = offer;
    /// ```
    pub fn custom<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self::Custom(Custom(Arc::new(move || Box::pin(check()))))
    }

    pub(super) async fn run(self, actor: Arc<dyn Deliver>) -> bool {
        match self {
            Self::Mailbox => {
                actor.gets_on().await;
                true
            }
            Self::Custom(Custom(check)) => check().await,
            Self::None => true,
        }
    }
}

impl fmt::Debug for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mailbox => "Mailbox",
            Self::Custom(_) => "Custom",
            Self::None => "None",
        })
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom")
    }
}
