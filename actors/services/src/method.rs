//! What a service can be asked.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A method of a service: its request is the type itself.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use umbel_services::Method;
///
/// /// What an item costs, in cents.
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Price {
///     item: String,
/// }
///
/// impl Method for Price {
///     const NAME: &'static str = "price";
///     const IDEMPOTENT: bool = true;
///     type Answer = u64;
/// }
/// ```
pub trait Method: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The method's name, unique in its service.
    const NAME: &'static str;

    /// Whether it may be executed more than once for one call. Only then is a call tried again that
    /// may have been executed.
    const IDEMPOTENT: bool = false;

    /// What it answers.
    type Answer: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
}
